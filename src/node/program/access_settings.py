"""The access settings of a node: who may act as a member, and what each client may do.

`raftline server` gets them from its options, a `Node` in a program from its keyword arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...access.expiry import ends_of, warning
from ...access.login import Access
from ...access.secret import MODES, PeerAuth, read_peer_auth
from ...access.tls import Tls, TlsFiles, tls_of_node
from ...common.address import is_loopback
from ...common.config import ConfigError, as_option
from ...wire.commands.identity import ANONYMOUS


@dataclass(frozen=True)
class AccessSettings:
    """The access settings; None and False: not set. `called` returns the name of a setting as the
    user wrote it, for messages: `--tls-cert` or `tls_cert`."""

    host: str
    insecure: bool = False
    secret: Path | None = None
    secret_mode: str | None = None
    anonymous: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    tls_only: bool = False
    tls_require: bool = False
    tls_crl: Path | None = None
    first_admin: Path | None = None
    called: Callable[[str], str] = as_option

    def check(self) -> None:
        """Check that only members can act as members, unless an insecure setup is confirmed.

        Raises:
            ConfigError: members prove nothing although others can reach the node, or although the
                rights of its clients are restricted; or a word is not a valid value.
        """
        called = self.called
        for name, word, words in (
            ("secret_mode", self.secret_mode, MODES),
            ("anonymous", self.anonymous, tuple(ANONYMOUS)),
        ):
            if word not in (None, *words):
                raise ConfigError(f"{called(name)}: {word!r} is not one of: {', '.join(words)}")
        if self.proves_members or self.insecure:
            return
        if not is_loopback(self.host):
            raise ConfigError(self._why_open())
        if self._checks_rights and self._role_of_others != "admin":
            raise ConfigError(
                f"{called('anonymous')} {self._role_of_others} does not stop clients on this "
                "machine while members prove nothing: a client that poses as a member needs no "
                f"rights, and can change every key. So {self._proofs}; if this is intended, add "
                f"{called('insecure')}"
            )

    def _why_open(self) -> str:
        called = self.called
        if self.secret is None:
            return (
                f"{called('host')} {self.host} lets others reach this node, and anyone who does "
                f"could pose as a member: {self._proofs}; if this is intended, add "
                f"{called('insecure')}"
            )
        return (
            f"{called('secret_mode')} offer accepts members that prove nothing, and others can "
            f"reach this node; leave it out, or add {called('insecure')} while the secret is "
            "turned on node by node"
        )

    @property
    def _proofs(self) -> str:
        secret, only, ca = map(self.called, ("secret", "tls_only", "tls_ca"))
        return f"add {secret} FILE (`raftline secret FILE` makes one), or {only} and {ca} FILE"

    @property
    def proves_members(self) -> bool:
        """Whether only members that prove themselves are accepted as members."""
        if self.tls_only and self.tls_ca is not None:
            return True  # a member has to show a certificate
        return self.secret is not None and self.secret_mode != "offer"

    @property
    def is_protected(self) -> bool:
        """Whether access is restricted; then files and console are only for the node's owner."""
        return self._checks_rights or (self.secret, self.tls_cert) != (None, None)

    @property
    def _checks_rights(self) -> bool:
        """Whether the rights of clients are checked even while the cluster has no users."""
        return (self.anonymous, self.first_admin) != (None, None)

    def warnings(self) -> Iterator[str]:
        """Yield warnings to print at the start: the node is more open than it may seem, or its
        certificates expire soon."""
        called = self.called
        for setting, path in (("tls_cert", self.tls_cert), ("tls_ca", self.tls_ca)):
            ends_s = ends_of(path) if path is not None else None
            if ends_s is not None and (line := warning(f"{called(setting)} {path}", ends_s)):
                yield f"[!] {line}"
        if self.secret_mode == "offer":
            yield (
                f"[!] {called('secret_mode')} offer accepts members that prove nothing: this node "
                "is as open as without a secret. Leave it out once `unproven` in status is empty"
            )
        if not self._checks_rights:
            if not is_loopback(self.host) and not self.insecure:
                who = "that reaches this node"
                if self.tls_require:
                    who = "with a certificate of the CA"
                yield (
                    f"[!] while the cluster has no users, every client {who} may do everything: "
                    "read and change all keys, copy the state, remove members; "
                    f"{called('first_admin')} FILE names a first user"
                )
            return
        if not self.proves_members and self._role_of_others != "admin":
            yield (
                f"[!] members prove nothing ({called('insecure')}): a client that poses as a "
                "member needs no rights, whoever the users are"
            )

    def proofs(self) -> tuple[PeerAuth, Tls | None]:
        """Return what members have to prove to the node, and how it speaks TLS; None means that it
        does not.

        Raises:
            ConfigError: one of the files can't be used, or a setting that belongs to it is missing.
        """
        tls = tls_of_node(
            TlsFiles(self.tls_cert, self.tls_key, self.tls_ca),
            is_only=self.tls_only,
            is_required=self.tls_require,
            crl=self.tls_crl,
            called=self.called,
        )
        peer_auth = read_peer_auth(self.secret, self.secret_mode, self.called)
        if tls is not None and tls.proves_members:
            peer_auth = peer_auth._replace(is_required=True)
        return peer_auth, tls

    def access(self) -> Access | None:
        """Return the users and the rights of others; None if everybody may do everything.

        Raises:
            ConfigError: the file can't be used.
        """
        if not self._checks_rights:
            return None
        return Access(ANONYMOUS[self._role_of_others], first=self.first_admin)

    @property
    def _role_of_others(self) -> str:
        """The role of clients that are not logged in."""
        return self.anonymous or "none"
