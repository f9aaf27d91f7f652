"""The key-value state machine, which executes each committed entry once.

It is the same on every node, so it uses no clock, file or lock (paper §2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ...raft import identity
from ...raft.log import Entry
from ...raft.membership import PREFIX, Membership, read
from ...wire.commands.authorization import denial_reason
from ...wire.commands.command_table import BEYOND_FLOOR, COMMANDS
from ...wire.operands.lease_operands import without_tag
from ...wire.operands.operands import not_understood
from ...wire.protocol import ProtocolError
from ...wire.refusal import error
from ..sessions import SessionTable, entry_numbers_of
from ..store import Store
from .key_commands import execute, is_read, set_to
from .machines import Machines

_NOT_OF_THE_STORE: Final = (PREFIX, identity.PREFIX, "machine ")


class ReplicatedState:
    """The pairs, the sessions and the members after the last applied entry.

    Callers hold the lock that guards the pairs.
    """

    def __init__(self, members: Membership, machines: Machines) -> None:
        self.store = Store()
        self.sessions = SessionTable()
        self.machines = machines
        self.members = members
        self.cluster = ""  # the identity
        self.needs = ""  # the parts that later entries may need

    def apply(
        self,
        entries: Sequence[Entry],
        now_s: Callable[[], float] | None = None,
        end_s: float = 0.0,
        *,
        answers: bool = True,
    ) -> list[str]:
        """Execute committed entries in order and return their replies. Stop once `now_s` reaches
        `end_s`; the time is read after each entry that is not a `set`. Stop after an entry that
        sets `to_sum`, too. Without `answers`, the reply to a `set` is "".

        The same entries give the same pairs and replies on every node. Any command is executed or
        answered with `Sorry, `; it never raises an exception (paper §2).
        """
        store, replies = self.store, list[str]()
        store.to_sum = False
        numbers, begin = entry_numbers_of(entries), 0  # where the sets that are not noted yet begin
        for place, (number, entry) in enumerate(zip(numbers, entries, strict=True)):
            store.number, store.term, command = number, entry[1], entry[2]
            if command.startswith("set "):  # nearly always
                words = command.split(" ", 2)
                if len(words) == 3 and words[1]:
                    store.write(words[1], words[2])
                    replies.append(set_to(words[1], words[2]) if answers else "")
                    continue
            if begin < place:
                store.note_sets(numbers[begin:place], entries[begin:place])
            begin = place + 1
            if "@" in command or command.startswith(_NOT_OF_THE_STORE):
                replies.append(self._execute(number, command))
            else:
                replies.append(execute(store, command))
            if now_s is not None and (store.to_sum or now_s() >= end_s):
                break
        if begin < len(replies):
            store.note_sets(numbers[begin : len(replies)], entries[begin : len(replies)])
        return replies

    def command_of(self, entry: str) -> tuple[str, str] | None:
        """Return the command and the user of an entry that would be the next one, None if it would
        not be executed: its session has its reply, or has forgotten it."""
        client, at, bare = entry.partition("@")
        if not at or " " in client:
            return entry, ""
        name, mark, number = client.partition("#")
        if not mark:
            return bare, "" if self.store.is_at_floor else name
        is_number = number.isascii() and number.isdigit() and len(number) < 20
        if not (is_number and self.sessions.is_new(name, int(number))):
            return None
        return bare, self.sessions.user_of(name)

    def _execute(self, entry_number: int, command: str) -> str:
        """Execute the command of one entry, at most once if it has a request number."""
        client, at, bare = command.partition("@")
        if not at or " " in client:  # no client named: the `@` belongs to a key or value
            if command.startswith(PREFIX):
                # An applied entry is committed, so this configuration is never rolled back. A
                # snapshot of the state includes it (§7).
                self.members = read(command) or self.members
            elif command.startswith(identity.PREFIX):
                self._take_identity(identity.read(command))
            if not command.startswith("machine "):
                return execute(self.store, command)
            return self._do(command)
        name, _, number = client.partition("#")
        if not (number.isascii() and number.isdigit() and len(number) < 20):  # int() has a limit
            return self._execute_unnumbered(entry_number, name, bare)
        user = self.sessions.user_of(name)
        if is_read(bare):
            return self._do(bare, user)
        request = without_tag(bare)
        reply = self.sessions.earlier_reply(name, int(number), request)
        if reply is None:
            reply = self._do(bare, user)
            self.sessions.remember(name, int(number), request, reply)
        return reply

    def _execute_unnumbered(self, entry_number: int, name: str, bare: str) -> str:
        """Execute `NAME@session`, with the user who begins the session if one is logged in,
        `NAME@forget`, or the command of the user NAME."""
        if bare == "session":
            return f"SESSION response: {self.sessions.begin(name, entry_number)}"
        if self.store.is_at_floor:  # as other implementations, which know no users
            return self._do(bare)
        if bare.startswith("session "):
            user = bare.removeprefix("session ")
            return f"SESSION response: {self.sessions.begin(name, entry_number, user)}"
        if bare == "forget":
            return self.sessions.forget(name)
        return self._do(bare, name)

    def _take_identity(self, entry: identity.IdentityEntry) -> None:
        """Take the identity and add parts, unless the entry has an identity other than the first
        one, or none."""
        if entry.cluster and not identity.is_foreign(self.cluster, entry.cluster):
            self.cluster = entry.cluster
            self.store.is_at_floor = False
            self.needs = identity.with_parts(self.needs, entry.needs.split())

    def _why_denied(self, command: str, user: str) -> str:
        """Return the refusal of a user's command at this entry, or "". At the floor, a verb
        beyond it is unknown for every user. So is a command that no parser would
        have let pass: an entry never raises."""
        store, verb = self.store, command.partition(" ")[0]
        if verb not in COMMANDS or (store.is_at_floor and verb in BEYOND_FLOOR):
            return ""
        try:
            return denial_reason(store.users.identity(user), command, store.keys_of)
        except ProtocolError:
            return error(not_understood(command))

    def _do(self, bare: str, user: str = "") -> str:
        """Execute a command for a user, or for nobody (""). A user's right may have ended between
        the check of its line and this entry, so it is checked again."""
        if user and self.store.users and (why := self._why_denied(bare, user)):
            return why
        self.store.user = user
        try:
            if bare.startswith("machine "):
                return self.machines.execute(self.store, bare[8:])
            return execute(self.store, bare)
        finally:
            self.store.user = ""
