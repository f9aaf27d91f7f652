"""The settings of a node about access: who may speak as a member, and who may do what.

`raftline server` has them from its options, a `Node` in a program from its keywords.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..access.expiry import ends_of, warning
from ..access.login import Access
from ..access.roles import ANONYMOUS
from ..access.secret import MODES, PeerAuth, read_peer_auth
from ..access.tls import Tls, TlsFiles, tls_of_node
from ..common.address import is_loopback
from ..common.config import ConfigError, as_option


@dataclass(frozen=True)
class AccessSettings:
    """The settings of access; None and False: not set. `called` returns the name of a setting where
    it was set, for messages: `--tls-cert` or `tls_cert`."""

    host: str
    insecure: bool = False
    secret: Path | None = None
    secret_mode: str | None = None
    users: Path | None = None
    anonymous: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    tls_only: bool = False
    tls_require: bool = False
    tls_crl: Path | None = None
    called: Callable[[str], str] = as_option

    def check(self) -> None:
        """Check that nobody who is to be kept out can speak as a member, unless that was stated to
        be meant.

        Raises:
            ConfigError: members prove nothing, and others can reach the node, or its users are to
                be the only ones who may do something; or a setting is for users, and there are
                none; or a word is none of those there are.
        """
        called = self.called
        for name, word, words in (
            ("secret_mode", self.secret_mode, MODES),
            ("anonymous", self.anonymous, tuple(ANONYMOUS)),
        ):
            if word not in (None, *words):
                raise ConfigError(f"{called(name)}: {word!r} is none of: {', '.join(words)}")
        if self.users is None and self.anonymous is not None:
            raise ConfigError(
                f"{called('anonymous')} is for those who are not logged in; it takes "
                f"{called('users')} FILE"
            )
        if self.proves_members or self.insecure:
            return
        if not is_loopback(self.host):
            raise ConfigError(self._why_open())
        if self.users is not None and self._role_of_others != "admin":
            raise ConfigError(
                f"{called('anonymous')} {self.anonymous} keeps nobody of this machine out while "
                "members prove nothing: whoever speaks as one is asked for no right, and changes "
                f"every key. So {self._proofs}; where that is meant, add {called('insecure')}"
            )

    def _why_open(self) -> str:
        called = self.called
        if self.secret is None:
            return (
                f"{called('host')} {self.host} lets others reach this node, and whoever does could "
                f"speak as a member: {self._proofs}; where that is meant, add {called('insecure')}"
            )
        return (
            f"{called('secret_mode')} offer hears members that prove nothing, and others can reach "
            f"this node; leave it out, or add {called('insecure')} while the secret is turned on "
            "node by node"
        )

    @property
    def _proofs(self) -> str:
        secret, only, ca = map(self.called, ("secret", "tls_only", "tls_ca"))
        return f"add {secret} FILE (`raftline secret FILE` makes one), or {only} and {ca} FILE"

    @property
    def proves_members(self) -> bool:
        """Whether nothing is taken in the name of a member that proved nothing."""
        if self.tls_only and self.tls_ca is not None:
            return True  # a member has to show a certificate
        return self.secret is not None and self.secret_mode != "offer"

    @property
    def is_protected(self) -> bool:
        """Whether anybody is kept out: then the node's files and its console are for its owner."""
        return (self.users, self.secret, self.tls_cert) != (None, None, None)

    def warnings(self) -> Iterator[str]:
        """Yield what to print at the start: that the node is more open than it may seem, or its
        certificates end soon."""
        called = self.called
        for setting, path in (("tls_cert", self.tls_cert), ("tls_ca", self.tls_ca)):
            ends_s = ends_of(path) if path is not None else None
            if ends_s is not None and (said := warning(f"{called(setting)} {path}", ends_s)):
                yield f"[!] {said}"
        if self.secret_mode == "offer":
            yield (
                f"[!] {called('secret_mode')} offer hears members that prove nothing: this node is "
                "as open as without a secret. Leave it out once `unproven` in status is empty"
            )
        if self.users is None:
            if not is_loopback(self.host) and not self.insecure:
                who = "that reaches this node"
                if self.tls_require:
                    who = "with a certificate of the CA"
                yield (
                    f"[!] without {called('users')} every client {who} may do everything: read and "
                    "change all keys, copy the state, remove members"
                )
            return
        if not self.proves_members and self._role_of_others != "admin":
            yield (
                f"[!] members prove nothing ({called('insecure')}): whoever speaks as one is asked "
                f"for no right, whatever {called('users')} says"
            )
        if self.anonymous is None and self._role_of_others == "admin":
            yield (
                "[!] who is not logged in may do everything, as only this machine reaches this "
                f"node; {called('anonymous')} none has everybody log in"
            )

    def proofs(self) -> tuple[PeerAuth, Tls | None]:
        """Return what members have to prove to the node, and how it speaks TLS, None: it does not.

        Raises:
            ConfigError: a file for it can't be used, or a setting that goes with it is missing.
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
        """Return the users and what others may do; None if everybody may do everything.

        Raises:
            ConfigError: the file can't be used, or a library is not here.
        """
        if self.users is None:
            return None
        return Access(self.users, ANONYMOUS[self._role_of_others])

    @property
    def _role_of_others(self) -> str:
        """The role of who is not logged in."""
        return self.anonymous or ("admin" if is_loopback(self.host) else "none")
