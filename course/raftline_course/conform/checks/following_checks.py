"""Level 3, replication: the log of a follower."""

from __future__ import annotations

from raftline.raft.messages import AppendRejected
from raftline_course.conform.checks.checks import check
from raftline_course.conform.scene import Scene

FIGURE_2 = "Raft §5.3, Figure 2"


@check(3, "append", "A follower appends what fits, and says up to where its log agrees.", FIGURE_2)
def append(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1")])
    scene.append("s2", 1, (1, 1), [(1, "set a 2"), (1, "set a 3")])
    scene.append("s2", 1, (3, 1), commit=3)


@check(3, "append-again", "An AppendEntries that comes twice changes nothing.", FIGURE_2)
def append_again(scene: Scene) -> None:
    scene.follow()
    for _ in range(2):
        scene.append("s2", 1, (0, 0), [(1, "set a 1"), (1, "set a 2")])
    scene.append("s2", 1, (2, 1), [(1, "set a 3")])


@check(
    3,
    "rounds-beyond-2-53",
    "A number is exact up to 2^63-1; a double is up to 2^53.",
    "grammar.md, number",
)
def rounds_beyond_2_53(scene: Scene) -> None:
    scene.follow()
    for number in (2**53 + 1, 2**62 + 1, 2**63 - 1):
        scene.round = number - 1
        line = scene.send_append("s2", 1, (0, 0))
        given = getattr(line.message, "round", None)
        scene.expect(given == number, f"round {number} is answered {line.text[:120]!r}")


@check(
    3,
    "missing",
    "A follower that lacks the entry before says so, with numbers as numbers.",
    "Raft §5.3, Figure 2, receiver 2",
)
def missing(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, f"set a {number}") for number in range(1, 10)])
    for previous in (10, 12, 100):
        answer = scene.rejected("s2", 1, (previous, 1))
        scene.expect(answer.index < previous, f"it asks for entries after {answer.index}")
    scene.append("s2", 1, (9, 1))


@check(
    3,
    "other-term-before",
    "Index and term of the entry before must agree.",
    "Raft §5.3, Figure 2, receiver 2",
)
def other_term_before(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1"), (1, "set a bad")])
    answer = scene.rejected("s3", 2, (2, 2), [(2, "set b 1")])
    scene.expect(answer.index < 2, f"it may agree up to {answer.index}, it says")
    scene.append("s3", 2, (1, 1), [(2, "set a 2"), (2, "set b 1")])


@check(
    3,
    "earlier-leader",
    "A leader of an earlier term is refused, and gets the term.",
    "Raft §5.1, Figure 2, receiver 1",
)
def earlier_leader(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1")])
    scene.append("s3", 2, (1, 1), [(2, "set a 2")])
    line = scene.send_append("s2", 1, (1, 1), [(1, "set a bad")])
    answer = line.message
    scene.expect(
        isinstance(answer, AppendRejected) and answer.term == 2,
        "a leader of term 1 is not refused in term 2",
    )
    scene.append("s3", 2, (2, 2))


@check(
    3,
    "no-cut-without-conflict",
    "Entries go only where one of another term takes their place.",
    "Raft §5.3, Figure 2, receiver 3",
)
def no_cut_without_conflict(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1"), (1, "set a 2"), (1, "set a 3")])
    scene.append("s2", 1, (1, 1))  # an older heartbeat, late
    scene.append("s2", 1, (0, 0), [(1, "set a 1")])  # and older entries
    scene.append("s2", 1, (3, 1))


@check(
    3,
    "conflict",
    "An entry of another term goes, and all after it.",
    "Raft §5.3, Figure 2, receiver 3",
)
def conflict(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1"), (1, "set a 2"), (1, "set a 3")])
    scene.append("s3", 2, (1, 1), [(2, "set a 4")])
    scene.rejected("s3", 2, (3, 1))
    scene.append("s3", 2, (2, 2))


@check(
    3,
    "commit-what-matched",
    "A follower commits no further than the message has shown.",
    "Raft §5.3, Figure 2, receiver 5",
)
def commit_what_matched(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a good"), (1, "set a bad")])
    scene.append("s3", 2, (1, 1), commit=2)  # entry 2 of s3's own log, which follows now
    scene.append("s3", 2, (1, 1), [(2, "set b 1")], commit=2)
    scene.lead([(1, "set a good"), (2, "set b 1")], "s3", 2)
    client = scene.client()
    client.gets("get a", "GET response: good")
    client.gets("get b", "GET response: 1")


@check(
    3,
    "redirect",
    "A follower serves no writes, and names the leader that it hears.",
    "protocol.md, Clients",
)
def redirect(scene: Scene) -> None:
    scene.follow()
    does = scene.client().ask("set a 1")
    port = scene.peers["s2"].port
    should = f"Sorry, I am not the leader. Last leader I heard from is: s2 (127.0.0.1:{port})"
    scene.expect(does == should, f"a write is answered {does!r}, not {should!r}")
    scene.append("s2", 1, (0, 0))
