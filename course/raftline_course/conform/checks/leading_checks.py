"""Level 3, replication: the duties of a leader."""

from __future__ import annotations

from raftline.raft.messages import AppendEntries, Message, RequestVote
from raftline_course.conform.checks.checks import check
from raftline_course.conform.played.rules import KitFollower
from raftline_course.conform.played.wires import silent
from raftline_course.conform.scene import Scene
from raftline_course.conform.transcript import Line

LATER = 5  # terms
ROUNDS = 3  # later heartbeats, after which earlier messages have no more effect


def later_rounds(scene: Scene, peer: str, since: int) -> AppendEntries:
    """Wait until the leader has sent a peer a few AppendEntries; return the last of them."""
    for _ in range(ROUNDS):
        line = scene.await_line(
            lambda line: line.other == peer and isinstance(line.message, AppendEntries),
            f"s1 leads, and sends {peer} no heartbeats",
            since,
        )
        since = line.number + 1
    assert isinstance(line.message, AppendEntries)
    return line.message


def stands_again(
    scene: Scene,
    term: int,
    since: int,
    missing: str = "no peer answers for many election timeouts, and s1 leads on",
) -> RequestVote:
    """Wait until a leader of this term asks for votes of a later one. A peer may get the requests
    of this term late."""
    return scene.await_message(RequestVote, missing, lambda message: message.term > term, since)


@check(
    3,
    "applied-once",
    "Each committed entry is applied once, in order.",
    "Raft §5.3, Figure 2, all servers",
)
def applied_once(scene: Scene) -> None:
    scene.follow()
    log = [(1, "incr n")] * 3
    for index, entry in enumerate(log):
        scene.append("s2", 1, (index, int(index > 0)), [entry], commit=index)
    scene.append("s2", 1, (3, 1), commit=3)
    scene.lead(log)
    client = scene.client()
    for number in range(4, 8):
        client.gets("incr n", f"INCR response: {number}")
    client.gets("get n", f"GET response: {number}")


@check(
    3, "not-before-a-quorum", "A write is answered when a quorum holds it, not before.", "Raft §5.3"
)
def not_before_a_quorum(scene: Scene) -> None:
    scene.start()
    term = scene.lead()
    client = scene.client()
    client.gets("set a 1", "SET response: a set to 1")
    scene.all_do(KitFollower.deaf(scene.all_hold()))
    mark = client.say("client1@set a 2")
    scene.await_message(
        AppendEntries, "the write is sent to nobody", lambda message: bool(message.entries), mark
    )
    _no_reply_until(scene, term, mark)
    scene.expect(not _promised(scene, mark), "a write is acknowledged that no other server holds")


def _no_reply_until(scene: Scene, term: int, since: int) -> None:
    """Wait until the leader has noticed that no peer answers: two more heartbeats, or its end."""

    def stood(line: Line) -> bool:
        return isinstance(line.message, RequestVote) and line.message.term > term

    scene.await_line(
        lambda line: (
            stood(line)
            or (
                isinstance(line.message, AppendEntries)
                and not line.message.entries
                and line.message.term == term
            )
        ),
        "s1 neither continues its heartbeats nor steps down",
        since,
    )
    scene.await_line(
        lambda line: stood(line) or line.text.startswith("Sorry, "),
        "no peer answers for many election timeouts, and s1 leads on",
        since,
    )


def _promised(scene: Scene, since: int) -> bool:
    return any(
        line.way == "<" and " response" in line.text for line in scene.transcript.lines[since:]
    )


@check(
    3,
    "one-of-two-is-enough",
    "An entry that a quorum holds is committed; a silent server stops nothing.",
    "Raft §5.3",
)
def one_of_two_is_enough(scene: Scene) -> None:
    scene.start()
    scene.lead()
    scene.peers["s3"].cut()
    client = scene.client()
    client.gets("set a 1", "SET response: a set to 1")
    client.gets("set a 2", "SET response: a set to 2")


@check(
    3,
    "answers-name-an-index",
    "An answer counts up to the index that it names.",
    "Raft §5.3, Figure 2, leaders",
)
def answers_name_an_index(scene: Scene) -> None:
    scene.start()
    term = scene.lead()
    client = scene.client()
    client.gets("set a 1", "SET response: a set to 1")
    held = scene.all_hold()
    for peer in scene.peers.values():
        follower = KitFollower(held)
        follower.ack_max = len(held)  # it has the write not yet
        peer.rule = follower
    mark = client.say("client1@set a 2")
    message = later_rounds(scene, "s2", mark)
    scene.expect(not client.has_reply(mark), "a write is acknowledged by answers to heartbeats")
    scene.expect(message.term == term, "s1 no longer leads, though both peers answer")
    scene.all_do(KitFollower(held))
    client.hears("s1@SET response: a set to 2")


@check(
    3,
    "own-term-alone",
    "Only an entry of the leader's own term is committed by counting.",
    "Raft §5.4.2, Figure 8",
)
def own_term_alone(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1"), (1, "set a 2")])
    for peer in scene.peers.values():
        peer.rule = KitFollower([(1, "set a 1"), (1, "set a 2")])
        peer.rule.ack_max = 2  # all entries of an earlier term, and none of its own
    mark = scene.let_stand("s2", 1)
    scene.await_leader(mark)
    client = scene.client()
    client.say("client1@set b 1")  # an entry of its own term, were it without a no-op
    message = later_rounds(scene, "s2", scene.transcript.end)
    scene.expect(
        message.commit_index < 2,
        f"entry {message.commit_index}, of an earlier term, is committed by counting",
    )


@check(
    3,
    "older-with-its-own",
    "With an entry of its own term a leader commits all before it.",
    "Raft §5.4.2",
)
def older_with_its_own(scene: Scene) -> None:
    scene.start()
    scene.lead([(1, "set a 1"), (1, "set a 2")])
    client = scene.client()
    client.gets("set b 1", "SET response: b set to 1")
    client.gets("get a", "GET response: 2")


@check(
    3,
    "backs-up",
    "A leader finds where a follower's log agrees, and sends all from there.",
    "Raft §5.3",
)
def backs_up(scene: Scene) -> None:
    scene.start()
    log = [(1, f"set a {number}") for number in range(1, 6)]
    scene.be_led()
    scene.append("s2", 1, (0, 0), log)
    differs = KitFollower([(1, "set a 1"), *[(1, "set a 2")]])
    scene.peers["s2"].rule = KitFollower(list(log))
    scene.peers["s3"].rule = differs
    scene.await_leader(scene.let_stand("s2", 1))
    client = scene.client()
    client.gets("set b 1", "SET response: b set to 1")
    scene.await_line(lambda line: len(differs.entries) >= 6, "s3 never gets the entries it lacks")
    scene.expect(differs.entries[:5] == log, f"s3 was sent {differs.entries[:5]}")


@check(3, "sent-again", "What was lost on the way is sent again.", "Raft §5.3")
def sent_again(scene: Scene) -> None:
    scene.start()
    scene.lead()
    client = scene.client()
    client.gets("set a 1", "SET response: a set to 1")
    held = scene.all_hold()
    lost = _Lossy(held)
    scene.all_do(lost)
    client.gets("set a 2", "SET response: a set to 2")


class _Lossy(KitFollower):
    """A follower that loses the first three messages that hold entries."""

    lost = 0

    def __call__(self, message: Message) -> str | None:
        if isinstance(message, AppendEntries) and message.entries and self.lost < 3:
            self.lost += 1
            return None
        return super().__call__(message)


@check(
    3,
    "quorum-checked",
    "A leader that no quorum answers for an election timeout steps down.",
    "thesis §6.2",
)
def quorum_checked(scene: Scene) -> None:
    scene.start()
    term = scene.lead()
    client = scene.client()
    client.gets("set a 1", "SET response: a set to 1")
    scene.all_do(silent)
    mark = client.say("client1@set a 2")
    stands_again(scene, term, mark)
    does = client.reply("word that its write has an unknown outcome").partition("@")[2]
    scene.expect(does.startswith("Sorry, "), f"the write is answered {does!r}")


@check(3, "deposed", "A leader that hears of a later term follows at once.", "Raft §5.1")
def deposed(scene: Scene) -> None:
    scene.start()
    term = scene.lead()
    scene.client().gets("set a 1", "SET response: a set to 1")
    held = scene.all_hold()
    scene.append("s3", term + 1, (len(held), held[-1][0]), [(term + 1, "set a 2")])
    does = scene.client("client2").ask("set a 3")
    scene.expect(does.startswith("Sorry, I am not the leader"), f"a write is answered {does!r}")


@check(
    3,
    "replaced-write",
    "A write is acknowledged when its own entry is applied, not another one at its index.",
    "Raft §5.3, Figure 2, leaders",
)
def replaced_write(scene: Scene) -> None:
    scene.start()
    term = scene.lead()
    scene.client().gets("set a 1", "SET response: a set to 1")
    held = scene.all_hold()
    scene.all_do(silent)  # so that nobody holds the write but its leader
    client = scene.client("client2")
    mark = client.say("client2@set a mine")
    scene.await_message(
        AppendEntries, "the write is sent to nobody", lambda message: bool(message.entries), mark
    )
    later = term + LATER  # whatever term it has stood in since, on a slow machine
    other = [(later, "set a other")]
    scene.append("s3", later, (len(held), held[-1][0]), other, commit=len(held) + 1)
    does = client.reply("word that its write has an unknown outcome").partition("@")[2]
    scene.expect(
        does.startswith("Sorry, "),
        f"'set a mine' was replaced by a later leader's entry, and its client hears {does!r}",
    )


@check(
    3,
    "hears-of-a-term",
    "A leader that gets a later term in an answer leads no more.",
    "Raft §5.1",
)
def later_term_in_an_answer(scene: Scene) -> None:
    scene.start()
    term = scene.lead()
    scene.client().gets("set a 1", "SET response: a set to 1")
    later = term + LATER

    def answer_later(message: Message) -> str | None:
        if isinstance(message, AppendEntries):
            return f"GiveEntriesAfterIndex 0 term {later} round {message.round}"
        return None

    mark = scene.transcript.end
    scene.all_do(answer_later)
    missing = f"s1 leads on in term {term} after a peer answered with term {later}"
    asked = stands_again(scene, term, mark, missing)
    scene.expect(asked.term > later, f"it then stands for term {asked.term}, after {later}")
