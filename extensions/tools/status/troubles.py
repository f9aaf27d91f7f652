"""The troubles of a cluster that `raftline status` reports, in one table. Pure.

A trouble has its words in the last line, what to do, an exit status that is never 0, the alarm of
deploy/prometheus/alerts.yml that reports it, and the answer of the node's `/ready`. The table in
docs/use/commands.md names each, and tests compare it, the alarms and `/ready` with this one. To add
a trouble of a member, add a row to MEMBERS, with a fact of the node's status.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from raftline.clients.terminal.exit_status import EXIT_LOGIN, EXIT_TLS
from raftline.wire.refusal import RequestOutcome

EXIT_TROUBLE = int(RequestOutcome.NO_LEADER)
EXIT_UNKNOWN = int(RequestOutcome.REFUSED)  # no node answers, or let us in
READY, NOT_READY = 200, 503
Facts = Mapping[str, Any]


class StatusCheck(NamedTuple):
    """A member as one or two checks show it; facts that are not known are missing."""

    name: str
    now: Facts  # its answer; empty without one
    first: Facts  # the answer of an earlier check
    leader: Facts  # the leader's answer
    led: Facts  # that of the earlier check, if the same leader led the same term
    met: Collection[str]  # names under which a node met a server of another cluster
    is_foreign: bool  # the answer came from another cluster
    has_counts: bool  # all four answers have the numbers of entries
    has_refused: tuple[bool, bool] = (False, False)  # it answered, this time and the earlier, Sorry

    @property
    def leads(self) -> bool:
        return self.leader.get("name") == self.name

    @property
    def has_two(self) -> bool:
        """Whether there were two checks of a follower, and of the same leader."""
        return not self.leads and bool(self.now and self.first and self.leader and self.led)


class Trouble(NamedTuple):
    """One trouble: the words for one node and for several, and what to do."""

    one: str
    several: str
    do: str
    alarm: str  # "" if the nodes can't know it
    ready: int = READY  # the answer of /ready at that node
    holds: Callable[[StatusCheck], bool] = lambda look: False
    takes_entries: bool = True
    follows: bool = True  # the voter is counted as one that follows
    exit_status: int = EXIT_TROUBLE


def _lacks(look: StatusCheck, what: str, *, leads: bool) -> bool:
    return look.now.get("lacks_room_for") == what and look.leads is leads


def _would_refuse(look: StatusCheck) -> bool:
    return _lacks(look, "bytes", leads=False) and look.leader.get("lacks_room_for") != "bytes"


def _has_all_connections(look: StatusCheck) -> bool:
    count, most = look.now.get("connections"), look.now.get("max_connections")
    return isinstance(count, int) and isinstance(most, int) and count >= most


def _differs(look: StatusCheck) -> bool:
    """Whether the member, or the leader, reports that its state differs from that of the others."""
    return _is_named(look, look.now, "differs") or _is_named(look, look.leader, "differs")


def _is_named(look: StatusCheck, facts: Facts, field: str) -> bool:
    names = facts.get(field)
    return isinstance(names, dict) and look.name in names


def _follows_nobody(look: StatusCheck) -> bool:
    facts = (look.now, look.first)
    return look.has_two and all(
        "leader" in each and each["leader"] != look.leader["name"] for each in facts
    )


def _is_ahead(look: StatusCheck) -> bool:
    if not (look.has_two and look.has_counts):
        return False
    return bool(min(look.first["last_index"], look.now["last_index"]) > look.leader["last_index"])


def _lags(look: StatusCheck) -> bool:
    if not (look.has_two and look.has_counts) or look.now.get("arriving_bytes"):
        return False
    last = look.now["last_index"]
    return bool(last == look.first["last_index"] and last < look.led["commit_index"])


def _announces_none(look: StatusCheck) -> bool:
    """Whether the leader twice knew no build of a member that is there. At the floor nobody
    announces one. Nor does the leader take an announcement without a proof."""
    if _proves_nothing(look) or _lacks_tls(look):
        return False
    answers = (bool(look.now), bool(look.first))
    looks = zip((look.leader, look.led), answers, look.has_refused, strict=True)
    return all(
        leader.get("cluster")
        and _is_named(look, leader, "versions")
        and leader["versions"][look.name] is None
        and (answers or refuses)
        for leader, answers, refuses in looks
    )


def _proves_nothing(look: StatusCheck) -> bool:
    """Whether a member answers that does not prove the secret that the leader demands."""
    unproven = look.leader.get("unproven")
    is_demanded = look.leader.get("secret") == "require" and bool(look.now)
    is_named = isinstance(unproven, list) and look.name in unproven
    return is_demanded and is_named and not _lacks_tls(look)


def _lacks_tls(look: StatusCheck) -> bool:
    """Whether the member and the leader do not accept each other's certificates."""
    mine = _is_named(look, look.leader, "certificates_refused")
    return mine or str(look.leader.get("name")) in (look.now.get("certificates_refused") or {})


def _is_foreign(look: StatusCheck) -> bool:
    return look.is_foreign or (look.name in look.met and not look.now)


# Of a member. What stops the writes comes first.
MEMBERS: tuple[Trouble, ...] = (
    Trouble(
        "refuses writes, since its disk is nearly full",
        "refuse writes, since their disks are nearly full",
        "Free space on that disk, or delete or clear keys",
        "RaftlineNoRoom", NOT_READY,
        lambda look: _lacks(look, "disk", leads=True),
    ),
    Trouble(
        "refuses writes, since keys and leases take all of --max-bytes",
        "refuse writes, since keys and leases take all of --max-bytes",
        "Delete or clear keys, or start each node with a larger --max-bytes",
        "RaftlineNoRoom", NOT_READY,
        lambda look: _lacks(look, "bytes", leads=True),
    ),
    Trouble(
        "refuses new leases, since there are as many as there may be",
        "refuse new leases, since there are as many as there may be",
        "Release leases",
        "RaftlineNoRoom", NOT_READY,
        lambda look: _lacks(look, "leases", leads=True),
    ),
    Trouble(
        "has a full disk, and takes no entries",
        "have full disks, and take no entries",
        "Free space on each full disk",
        "RaftlineNoRoom", NOT_READY,
        lambda look: look.now.get("refuses_entries") == "disk" and not look.leads,
        takes_entries=False, follows=False,
    ),
    Trouble(
        "takes no entries until it has taken a snapshot",
        "take no entries until they have taken a snapshot",
        "Read its console: it says why it takes no snapshot",
        "RaftlineNoRoom", NOT_READY,
        lambda look: look.now.get("refuses_entries") == "log" and not look.leads,
        takes_entries=False, follows=False,
    ),
    Trouble(
        "has a nearly full disk, and would refuse writes as the leader",
        "have nearly full disks, and would refuse writes as the leader",
        "Free space on each such disk",
        "RaftlineNoRoom", NOT_READY,
        lambda look: _lacks(look, "disk", leads=False) and not look.now.get("refuses_entries"),
    ),
    Trouble(
        "has a smaller --max-bytes, and would refuse writes as the leader",
        "have a smaller --max-bytes, and would refuse writes as the leader",
        "Start each node with the same --max-bytes",
        "RaftlineNoRoom", NOT_READY,
        _would_refuse,
    ),
    Trouble(
        "has a disk that hangs", "have disks that hang",
        "Replace or repair that disk",
        "RaftlineDiskStandsStill", NOT_READY,
        lambda look: bool(look.now.get("disk_hangs")),
        takes_entries=False, follows=False,
    ),
    Trouble(
        "applies no entries", "apply no entries",
        "Restart that node; its state machine hangs, or a thread of it is gone (docs/repair.md)",
        "RaftlineAppliesNothing", NOT_READY,
        lambda look: bool(look.now.get("applies_nothing")) and not look.now.get("disk_hangs"),
        follows=False,
    ),
    Trouble(
        "has lost files while it ran", "have lost files while they ran",
        "Find out which program removes them (docs/repair.md)",
        "RaftlineFilesLost", READY,
        lambda look: bool(look.now.get("lost_files")),
        follows=False,
    ),
    Trouble(
        "has another secret than the leader", "have other secrets than the leader",
        "Compare the files of --secret (docs/operate/tls-and-secret.md)",
        "RaftlineFollowerBehind", NOT_READY,
        _proves_nothing,
        takes_entries=False, follows=False,
    ),
    Trouble(
        "and the leader do not accept each other's certificates",
        "and the leader do not accept each other's certificates",
        "Correct what the line below says: a name, a clock or a CA "
        "(docs/operate/tls-and-secret.md)",
        "RaftlineFollowerBehind", NOT_READY,
        _lacks_tls,
        takes_entries=False, follows=False,
    ),
    Trouble(
        "does not follow the leader", "do not follow the leader",
        "Check the network between them and the leader",
        "RaftlineFollowerBehind", NOT_READY,
        _follows_nobody,
        takes_entries=False, follows=False,
    ),
    Trouble(
        "is ahead of the leader", "are ahead of the leader",
        "Read both consoles, and keep the files",
        "RaftlineFollowerBehind", READY,
        _is_ahead,
        takes_entries=False, follows=False,
    ),
    Trouble(
        "differs from the others", "differ from the others",
        "Restart each of them while a leader serves: it gets the state again from the others. "
        "Without a leader, start the other voters first (docs/repair.md)",
        "RaftlineReplicaDiffers", NOT_READY,
        _differs,
        takes_entries=False, follows=False,
    ),
    Trouble(
        "and the leader have other states, and no quorum says which is right",
        "and the leader have other states, and no quorum says which is right",
        "Start each voter that does not answer; if all do, find out which is right "
        "(docs/repair.md)",
        "RaftlineReplicasUndecided", READY,
        lambda look: _is_named(look, look.leader, "undecided") and not _differs(look),
    ),
    Trouble(
        "lacks committed entries and gets none", "lack committed entries and get none",
        "Check its console, its disk and its network",
        "RaftlineFollowerBehind", NOT_READY,
        _lags,
        takes_entries=False, follows=False,
    ),
    Trouble(
        "commits nothing, although it leads",
        "commit nothing, although they lead",
        "Check the disks of the voters, and the network between them",
        "RaftlineCommitsNothing", NOT_READY,
        lambda look: look.leads and bool(look.now.get("commits_nothing")),
    ),
    Trouble(
        "has no connection left for clients", "have no connections left for clients",
        "Close connections that are not needed, or raise --max-connections",
        "RaftlineConnectionsTaken", NOT_READY,
        _has_all_connections,
    ),
    Trouble(
        "knows no user, so nobody can log in", "know no user, so nobody can log in",
        "Start the missing nodes, one of them with --first-admin FILE: a leader adds that admin",
        "RaftlineNoAdmin", READY,
        lambda look: bool(look.now.get("lacks_users")),
    ),
    Trouble(
        "announces no build, so it gets no entries", "announce no build, so they get no entries",
        "Start it with raftline, without --floor",
        "RaftlineFollowerBehind", READY,
        _announces_none,
    ),
    Trouble(
        "is of another cluster", "are of another cluster",
        "Correct that address, or stop the node that does not belong there (docs/repair.md)",
        "RaftlineForeignMember", READY,
        _is_foreign,
        takes_entries=False, follows=False,
    ),
    Trouble(
        "is also the name of a server of another cluster",
        "are also the names of servers of another cluster",
        "Stop the server that does not belong there (docs/repair.md); this then passes within a "
        "minute",
        "RaftlineForeignMember", READY,
        lambda look: bool(look.now) and look.name in look.met,
    ),
)  # fmt: skip


def _shut(
    word: str, do: str, alarm: str = "", ready: int = READY, exit_status: int = EXIT_UNKNOWN
) -> Trouble:
    words = f"can't tell whether a leader serves: {word}"
    return Trouble(words, words, do, alarm, ready, exit_status=exit_status)


# Of a node that answers and lets nobody in, by its word in the table. Such a node may serve.
SHUT: Mapping[str, Trouble] = {
    "no login": _shut("no login", "Log in: --user USER"),
    "login failed": _shut(
        "login failed", "Check --user and the password", exit_status=EXIT_LOGIN
    ),
    "not allowed": _shut("not allowed", "Log in as a user who may read"),
    "TLS alone": _shut("TLS alone", "Name the CA: --tls-ca FILE", exit_status=EXIT_TLS),
    "no TLS": _shut("no TLS", "Leave out --tls-ca", exit_status=EXIT_TLS),
    "bad certificate": _shut(
        "bad certificate", "Check --tls-ca, and the node's certificate",
        "RaftlineCertificateEnds", exit_status=EXIT_TLS,
    ),
    "certificate refused": _shut(
        "certificate refused", "Check --tls-cert and --tls-key", exit_status=EXIT_TLS
    ),
    "full": _shut(
        "full", "Close connections that are not needed, or raise --max-connections",
        "RaftlineConnectionsTaken", NOT_READY,
    ),
    "no users yet": _shut(
        "no users yet",
        "Start the missing nodes, one of them with --first-admin FILE: a leader adds that admin",
        "RaftlineNoAdmin",
    ),
    "refuses": _shut("refuses", "Read its answer above; it may be of another version"),
}  # fmt: skip

NOBODY = Trouble(
    "nobody answers at", "nobody answers at",
    "Check the addresses, and start the nodes",
    "RaftlineNodeDown", exit_status=EXIT_UNKNOWN,
)  # fmt: skip
TOO_FEW = Trouble(
    "no leader", "no leader",
    "Start nodes until enough answer",
    "RaftlineNoLeader", NOT_READY,
)  # fmt: skip
NO_VOTES = Trouble(
    "no leader can be elected", "no leader can be elected",
    "Put back the files that were lost, or choose another repair (docs/repair.md)",
    "RaftlineNoLeader", NOT_READY,
)  # fmt: skip
ENOUGH = Trouble(
    "enough to elect one", "enough to elect one",
    "Wait for the election; if it lasts, check the network between the voters",
    "RaftlineNoLeader", NOT_READY,
)  # fmt: skip
ELSEWHERE = Trouble(
    "dialed at another address", "dialed at another address",
    "Correct the addresses in each server-configuration.txt, and restart those nodes",
    "RaftlineNoLeader", NOT_READY,
)  # fmt: skip
WITHOUT_QUORUM = Trouble(
    "no quorum for", "no quorum for",
    "Start nodes until enough answer",
    "RaftlineNodeDown", NOT_READY,
)  # fmt: skip
AWAY = Trouble(
    "no leader answers, and others follow", "no leader answers, and others follow",
    "Check the address of that leader, and the network to it",
    "RaftlineNodeDown",
)  # fmt: skip
# Of the whole cluster.
CLUSTER: tuple[Trouble, ...] = (TOO_FEW, NO_VOTES, ENOUGH, ELSEWHERE, WITHOUT_QUORUM, AWAY, NOBODY)


def troubles_of(look: StatusCheck) -> list[Trouble]:
    """Return the troubles of a member."""
    return [trouble for trouble in MEMBERS if trouble.holds(look)]
