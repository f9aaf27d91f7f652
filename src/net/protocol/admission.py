"""The rules for the lines of a connection: how long they may be, who may speak for a peer, and
what a user may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ...access.login import Login
from ...access.proof import NONCE_BYTES, WRONG, ProofError, Responder
from ...raft.messages import PeerError
from ...state.user_table import UserTable
from ...wire.commands.authorization import (
    KeysUnknownError,
    as_asked,
    partial_status,
    sees_whole_status,
)
from ...wire.commands.command_table import BEYOND_FLOOR, Request, row_of
from ...wire.commands.identity import EVERYWHERE
from ...wire.commands.parsing import ParsedLine
from ...wire.commands.rights import ADMINISTERS_ALL, UserRole
from ...wire.limits import PEER_LINE_BYTES, STRANGER_LINE_BYTES
from ...wire.operands.lease_operands import TAG_BYTES, with_tag
from ...wire.protocol import is_begun_name
from ...wire.refusal import (
    INVENTED_NAME,
    LINE_TOO_LONG,
    LOGIN_FAILED,
    NO_LEADER,
    NO_USERS,
    NO_USERS_YET,
    OTHER_CLUSTER,
    SHUT_DOWN,
    SPEAKS_ELSEWHERE,
    error,
)
from ...wire.replies.refusals import code_of
from ..peers.build_exchange import HIDDEN, answer_to_build, read_build
from ..peers.peers import Speaker
from .host import AdmissionHost

# Not printed: tools ask for the status repeatedly, and clients ask for codes first.
_UNPRINTED: Final = ("", "status", "codes")
REQUESTS: Final = ("read", "write")  # the kinds of lines that become batches
NAMED_IN_LOG: Final = ("forget", "lease", "session")  # verbs whose entry is not the plain command
SESSION_BYTES = 8  # random bytes in the name of a session, if there are users
SESSION_NAME_MAX = 27  # characters before them: the name has at most 44 (state/sessions.py)


def numbered(sender: str, number: str, command: str) -> str:
    """Return the command of a numbered request, as it is in the log."""
    return f"{sender}#{number}@{command}"


class Admission:
    """The rules for the lines of one connection, which starts as a client's connection."""

    def __init__(
        self,
        host: AdmissionHost,
        speaker: Speaker,
        is_private: Callable[[], bool] = lambda: False,
        address: Callable[[], str] = lambda: "nowhere",
        own_address: Callable[[], str] = lambda: "nowhere",
    ) -> None:
        """`speaker` is the connection: only one at a time speaks for a peer. `is_private` returns
        whether nobody else can read its traffic, `address` returns where it comes from, and
        `own_address` where it has arrived."""
        self._host = host
        self._address = address
        self._own_address = own_address
        self._speaker = speaker
        self.now_s = 0.0  # the time of the last bytes
        self.speaks_for: str | None = None  # the peer, once it has sent a message
        self._login = Login(host.access, is_private, address) if host.access is not None else None
        self._answering: Responder | None = None  # to a peer that proves itself
        self.proven: str | None = None  # the member that has proved itself
        self._asked_build = False  # in a member's name; this needs no proof
        self._cluster = ""  # the identity that the other side announced
        self._expected = ""  # the identity of the only cluster that may serve this client
        # Called with the user that is logged in from now on, "" for none, and whether that user is
        # an admin of all keys.
        self.on_login: Callable[[str, bool], None] = lambda user, is_admin: None

    @property
    def login(self) -> Login | None:
        """The login of this connection; None while this node checks no rights."""
        access = self._host.access
        return self._login if access is not None and access.is_on else None

    def addresses(self) -> tuple[str, str]:
        """Return the addresses of the other side and of this one, "nowhere" if there is none."""
        return self._address(), self._own_address()

    def denial_by_now(self, command: str) -> str:
        """Return why the rights of now refuse a read that was admitted by older rights, or "". Any
        thread may call this."""
        login = self.login
        try:
            return "" if login is None else login.denial_by_now(command)
        except KeysUnknownError:
            return self._host.not_here()

    @property
    def users(self) -> object:
        """The users by whose rights a line is admitted now, for `denial_since`."""
        return None if self._host.access is None else self._host.access.users

    def denial_since(self, users: object, command: str) -> str:
        """Return why the rights of now refuse a read that was admitted by the rights of these
        users, or "". The caller has read already: the state may be one without these rights."""
        return "" if self.users is users else self.denial_by_now(command)

    def reads_by(self, users: UserTable) -> tuple[str, ...]:
        """Return the prefixes of the keys that may be read here by these users. Any thread may call
        this."""
        return EVERYWHERE if self._login is None else self._login.reads_by(users)

    @property
    def is_stranger(self) -> bool:
        """Whether the other side has to log in before it may do anything."""
        login = self.login
        return login is not None and login.identity.role is UserRole.NONE and self.is_nobody

    @property
    def is_nobody(self) -> bool:
        """Whether this node has users, but neither a user nor a member is on this connection."""
        if self.login is None or self.login.identity.user:
            return False
        return self.proven is None and self.speaks_for is None and not self._asked_build

    @property
    def user(self) -> str | None:
        """The user that is logged in here, or "" if nobody is; None if this node has no users."""
        return self.login.identity.user if self.login is not None else None

    @property
    def writer(self) -> str | None:
        """The user whose share of the store the writes of this connection use; None for an admin,
        and without users."""
        login = self.login
        return None if login is None or login.identity.is_admin else login.identity.user

    @property
    def named_in_log(self) -> str:
        """The user that entries of this connection name, "" for none.

        If that user is found to be gone, earlier lines may be admitted that are not in the log yet.
        Their entries name the user still, so that each is refused where it is applied.
        """
        login = self.login
        if login is None or self._host.is_at_floor:
            return ""
        return login.identity.user or login.lost_user

    @property
    def has_rules(self) -> bool:
        """Whether a read or a write may be refused for reasons other than its content."""
        host, access = self._host, self._host.access
        has_users = access is not None and access.is_on
        is_for_one = bool(self._expected)
        is_member = self.proven is not None or host.peer_auth.is_required
        return host.is_down or has_users or is_member or is_for_one

    def longest(self, beginning: bytes) -> int:
        """Return the longest permitted line: a peer's line holds many entries, a client's line one
        key and value, and a stranger's line a login or a proof.

        A sender that only claims to be a peer gets room for one entry of any size (JSON doubles its
        backslashes), and for more once its first message was accepted.
        """
        host = self._host
        name, at, text = beginning.partition(b"@")
        is_peer = at and host.is_peer(name.decode(errors="replace"))
        if not is_peer and text.startswith(b"AppendEntries "):  # a leader it never heard of
            is_peer = not host.hears_from_leader()
        if (is_peer and self.must_prove) or (not is_peer and self.is_stranger):
            return STRANGER_LINE_BYTES
        if not is_peer:
            return host.limits.line_bytes
        return PEER_LINE_BYTES if self.speaks_for else 2 * host.limits.line_bytes

    def admit(self, line: ParsedLine) -> ParsedLine:
        """Return the line as this node serves it: some well-formed lines are refused."""
        host, request = self._host, line.request
        if request.verb == "codes" and not line.problem:
            self._expect(request.command.partition(" ")[2])
        elif self._expected and self._expected != (mine := host.foreigners.mine()):
            return self._refuse(line, OTHER_CLUSTER(mine, self._expected) if mine else NO_LEADER)
        has_rules = self.proven is not None or host.peer_auth.is_required
        if line.kind == "peer" and not has_rules:
            return self._hear(line)
        if has_rules or self.login is not None or line.kind not in REQUESTS:
            admitted = self._admit_apart(line, has_rules=has_rules)
            if admitted is not None:
                return admitted
        if host.is_down and line.kind != "garbled" and line.text != "status":
            return self._refuse(line, SHUT_DOWN)
        if host.is_at_floor and request.verb in BEYOND_FLOOR and (reply := host.why_at_floor()):
            return ParsedLine("local", request, reply=reply)
        if request.verb == "machine" and (reply := host.without_machine(request.command)):
            return ParsedLine("local", request, reply=reply)
        if line.kind not in REQUESTS and request.verb not in _UNPRINTED:
            host.traffic_log.requested(request.sender, line.text)
        return self._refuse(line, line.problem) if line.problem else line

    def _expect(self, cluster: str) -> None:
        """Refuse further lines if this node is of another cluster, or does not know its cluster
        yet: what it took until then could reach another cluster."""
        self._expected = "" if cluster == self._host.foreigners.mine() else cluster

    def _admit_apart(self, line: ParsedLine, *, has_rules: bool) -> ParsedLine | None:
        """Return a line as this node serves it, if it is not a request, or if a rule about its
        sender refuses it; return None for a request that everybody may make."""
        if line.kind == "refused":
            line = self._as_order(line)
        if line.kind == "login":
            return self._log_in(line)
        if line.kind == "proof":
            return self._prove(line)
        if has_rules and (why := self._why_unproven(line)):
            return self._refuse(line, why)
        if self.login is not None and (line := self._allowed(line, self.login)).reply:
            return line
        if line.kind == "build" and not self.must_prove:
            self._note_cluster(line)
        if line.kind == "build" and not self._may_know_version(line.request.sender):
            if self._host.announces_build:
                mine, has_parts = self._host.foreigners.mine(), not self.must_prove
                reply = answer_to_build(mine, HIDDEN, has_parts=has_parts)
                line = replace(line, reply=reply)
            return line
        if line.kind in ("control", "build"):  # answered even by a node that is down
            return line
        return self._hear(line) if line.kind == "peer" else None

    def _may_know_version(self, sender: str) -> bool:
        """Whether the sender is a member, or may read the status, which shows the version."""
        if self.login is None or self.login.identity.role is not UserRole.NONE:
            return True
        return self.proven is not None or (not self.must_prove and self._host.is_peer(sender))

    def _note_cluster(self, line: ParsedLine) -> None:
        """Keep the identity that a peer announces here."""
        sender, build = line.request.sender, read_build(line.text)
        is_peer = self._host.is_peer(sender)
        self._asked_build = self._asked_build or is_peer
        if build is not None:
            self._cluster = build.cluster
            if is_peer:
                self._is_foreign(sender)

    def _is_foreign(self, sender: str) -> bool:
        theirs = self._cluster
        if not theirs or theirs == self._host.foreigners.mine():  # nearly always
            return False
        return self._host.foreigners.refuses(sender, theirs, self._address(), dials=True)

    def _as_order(self, line: ParsedLine) -> ParsedLine:
        """Return a line that is not a command as an order, if this node obeys orders."""
        orders = self._host.orders
        if orders is None or not orders.is_order(line.text):
            return line
        command = line.text.lstrip(" ")
        return ParsedLine("control", replace(line.request, command=command), line.text)

    def why_too_long(self, longest: int) -> str:
        """Return the refusal of a line over its limit."""
        if longest != STRANGER_LINE_BYTES:
            return self._host.limits.line_too_long
        return LINE_TOO_LONG(longest, "No line may be longer before a login, or a member's proof.")

    def certify(self, name: str, *, is_member: bool) -> None:
        """Admit the member or user that a verified certificate names; the name may be ""."""
        member = name if is_member else ""
        self.proven = member or None
        if self._login is not None and not member:
            self._login.by_certificate(name)
            self._report_login(self._login)

    # --- users -------------------------------------------------------------------------------

    def _log_in(self, line: ParsedLine) -> ParsedLine:
        """Take a line of a login."""
        host, request = self._host, line.request
        host.traffic_log.requested(request.sender, request.verb)  # without the password
        reply: str = NO_USERS
        if self.login is not None and host.access is not None and not host.access.users:
            reply = NO_USERS_YET  # not a wrong password: the log may hold them
        elif self.login is not None:
            reply = self.login.take(request)
            self._report_login(self.login)
        if (
            code_of(reply) == LOGIN_FAILED.code
            and self.login is not None
            and host.access is not None
        ):
            tried, failures = self.login.tried, host.access.failures
            if warning := failures.add(tried, self._address(), self.now_s):
                host.warn(warning)
        return ParsedLine("local", request, reply=reply)

    def _report_login(self, login: Login) -> None:
        self.on_login(login.identity.user, login.identity.is_admin)

    def denial_reason(self, command: str) -> str:
        """Return why the user of this connection may not run a command; "" if it may."""
        if self.login is None:
            return ""
        return self.login.denial_reason(command, self._host.keys_of_lease)

    def _allowed(self, line: ParsedLine, login: Login) -> ParsedLine:
        """Return the line if the user may run it, otherwise a line with the refusal."""
        request, keys_of_lease = line.request, self._host.keys_of_lease
        if line.kind in ("peer", "build") or not request.command:
            return line
        right = ADMINISTERS_ALL if line.kind == "control" else None
        try:
            why = login.denial_reason(as_asked(request), keys_of_lease, right)
        except KeysUnknownError:
            return ParsedLine("local", request, line.text, reply=self._host.not_here())
        if not why and request.id and line.kind == "write" and request.verb != "forget":
            why = login.denial_reason("session", keys_of_lease)
            if not (why or is_begun_name(request.sender)):  # others could guess the name
                why = INVENTED_NAME(request.sender)
        is_sent_once = row_of(request.command).handling.is_sent_once and request.verb != "begin"
        if not why and is_sent_once and keys_of_lease("") is None:
            why = self._host.not_here()  # a leader that lacks entries may not know its users yet
        if why:
            return ParsedLine("local", request, line.text, reply=why)
        return line

    def status(self) -> str:
        """Return the reply to `status`, with only the facts that the user may see by now."""
        reply, login = self._host.status(), self.login
        is_whole = login is None or sees_whole_status(login.identity_now())
        return reply if is_whole else partial_status(reply)

    def logged(self, request: Request) -> str:
        """Return the command as it will be in the log: with the client's name if it matters, and
        with the user unless the session names one."""
        if request.verb == "forget":  # its number is only for the reply
            return f"{request.sender}@forget"
        command, user = request.command, self.named_in_log
        if request.verb == "lease" and self.login is not None:
            command = with_tag(command, self._host.new_token(TAG_BYTES))  # for this client only
        if request.id:
            return numbered(request.sender, request.id, command)
        if request.verb == "session":
            return f"{self.session_of(request.sender)}@session {user}".rstrip(" ")
        return f"{user}@{command}" if user else command

    def session_of(self, sender: str) -> str:
        """Return the name of a new session. If there are users it ends in a random token, so that
        nobody else can use up its numbers."""
        if self.login is None:
            return sender
        return f"{sender[:SESSION_NAME_MAX]}.{self._host.new_token(SESSION_BYTES)}"

    # --- proofs ------------------------------------------------------------------------------

    @property
    def must_prove(self) -> bool:
        """Whether lines in a member's name are refused until it has proved itself here."""
        return self.proven is None and self._host.peer_auth.is_required

    @property
    def awaits_proof(self) -> bool:
        """Whether a proof has begun, but has neither succeeded nor failed."""
        return self._answering is not None and self._answering.waits

    def _why_unproven(self, line: ParsedLine) -> str:
        """Return why a line in a member's name is refused for lack of a proof; "" if it is not.

        A connection on which a member proved itself can't speak for another one.
        """
        host, sender = self._host, line.request.sender
        if sender == self.proven or line.kind == "build":
            return ""
        if self.proven is not None and line.kind == "peer":
            return f"{self.proven} proved itself on this connection, and {sender} did not"
        if not host.peer_auth.is_required or not sender:
            return ""
        if line.kind == "peer" or sender == host.name or host.is_peer(sender):
            return f"{sender} proved nothing on this connection, so nothing is taken in its name"
        return ""

    def _prove(self, line: ParsedLine) -> ParsedLine:
        """Take a step of a proof. A node without a secret does not know these lines."""
        host = self._host
        if self._answering is None:
            self._answering = host.peer_auth.responder(host.name, host.new_token(NONCE_BYTES))
        if self._answering is None:
            return self.admit(replace(line, kind="refused"))
        try:
            if self.proven not in (None, line.request.sender):
                raise ProofError(f"{self.proven} proved itself on this connection by a certificate")
            reply = self._answering.take(line.request.sender, line.text)
        except ProofError as problem:
            reply = error(str(problem))
        self.proven = self.proven or self._answering.proven
        if not self.proof_counts:  # the secret was reloaded meanwhile
            self.proven, reply = None, error(WRONG)
        return ParsedLine("proof", line.request, reply=reply)

    @property
    def proof_counts(self) -> bool:
        """Whether the secret of the member's proof, if any, is still valid."""
        by = self._answering.proven_by if self._answering is not None else b""
        return not by or by in self._host.peer_auth.secrets

    def _refuse(self, line: ParsedLine, problem: str) -> ParsedLine:
        orders = self._host.orders
        if orders is not None:
            problem = orders.why_no_order(line.request.sender, line.text) or problem
        return ParsedLine("local", line.request, reply=error(problem))

    def _hear(self, line: ParsedLine) -> ParsedLine:
        """Admit a server's message if its sender may speak for a peer on this connection."""
        host, sender, message = self._host, line.request.sender, line.message
        if host.is_down:
            return replace(line, message=None)
        if self._is_foreign(sender):
            return self._refuse(line, f"{sender} is of another cluster, {self._cluster}")
        if stranger := host.peer_refusal(sender, message):
            return self._refuse(line, f"{stranger}, so it can't say {line.text[:40]}")
        try:
            host.speakers.claim(sender, self._speaker)
        except PeerError:
            return self._refuse(line, SPEAKS_ELSEWHERE(sender))
        if self.speaks_for not in (None, sender):  # one name for each connection
            host.speakers.release(self.speaks_for, self._speaker)
        self.speaks_for = sender
        if message is None or line.problem:
            return self._refuse(line, line.problem)
        host.traffic_log.received(sender, line.text, message)
        return line
