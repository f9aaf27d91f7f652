"""Level 1, lines: the requests and replies of clients, to a lone node that leads."""

from __future__ import annotations

from raftline_course.conform.checks.checks import check
from raftline_course.conform.played.clients import KitClient
from raftline_course.conform.scene import Scene

CLIENTS = "protocol.md, Clients"
NAMES = "protocol.md, Names"
ESCAPES = "protocol.md, Escapes"
LIMITS = "protocol.md, Limits and mistakes"
ORDER = "protocol.md, Order"
NOBODY = ("Sorry, I know of no leader", "Sorry, I am not the leader")


def served(scene: Scene, *, started: bool = False) -> KitClient:
    """Start the lone node; return a client once it serves."""
    if not started:
        scene.start()
    until = scene.transcript.lines[-1].at_s + scene.patience_s
    client, problem = scene.client(), "a node that is alone never leads"
    with scene.settings.elections.awaited(problem):
        while client.ask("get nothing").startswith(NOBODY):
            scene.expect(scene.transcript.lines[-1].at_s < until, problem)
    return client


@check(1, "reply-name", "A reply stands after the server's name.", NAMES, size=1)
def reply_name(scene: Scene) -> None:
    client = served(scene)
    client.say("client1@set b 5")
    client.hears("s1@SET response: b set to 5")


@check(1, "id-echo", "A request's number stands in its reply.", NAMES, size=1)
def id_echo(scene: Scene) -> None:
    client = served(scene)
    for number in (0, 17, 2**63 - 1):
        client.say(f"client1#{number}@get b")
        client.hears(f"s1#{number}@GET response, no such key: b")


@check(1, "no-name", "A line without a name is served.", NAMES, size=1)
def no_name(scene: Scene) -> None:
    client = served(scene)
    client.say("get b")
    client.hears("s1@GET response, no such key: b")


@check(1, "first-at", "Only the first @ divides, and only in the first word.", NAMES, size=1)
def first_at(scene: Scene) -> None:
    client = served(scene)
    client.gets("set mail ann@example.org@home", "SET response: mail set to ann@example.org@home")
    client.say("set mail bob@example.org")
    client.hears("s1@SET response: mail set to bob@example.org")
    client.gets("get mail", "GET response: bob@example.org")


@check(1, "get-set-delete", "get, set and delete answer in their words.", CLIENTS, size=1)
def get_set_delete(scene: Scene) -> None:
    client = served(scene)
    client.gets("get b", "GET response, no such key: b")
    client.gets("set b 5", "SET response: b set to 5")
    client.gets("get b", "GET response: 5")
    client.gets("set b 6", "SET response: b set to 6")
    client.gets("delete b", "DELETE response: b deleted")
    client.gets("get b", "GET response, no such key: b")


@check(
    1,
    "delete-absent",
    "Each command has an answer: a state machine never raises.",
    "Raft §2; protocol.md, Clients",
    size=1,
)
def delete_absent(scene: Scene) -> None:
    client = served(scene)
    client.gets("delete b", "DELETE response, no such key: b")
    client.gets("set b 5", "SET response: b set to 5")


@check(1, "value-to-the-byte", "A value is the rest of the line, to the byte.", LIMITS, size=1)
def value_to_the_byte(scene: Scene) -> None:
    client = served(scene)
    for value in ("two words, even  three", " begins with one", "ends with two  ", "é and 漢字"):
        client.gets(f"set poem {value}", f"SET response: poem set to {value}")
        client.gets("get poem", f"GET response: {value}")


@check(1, "empty-value", "A space alone after the key stores the empty value.", LIMITS, size=1)
def empty_value(scene: Scene) -> None:
    client = served(scene)
    client.gets("set k ", "SET response: k set to ")
    client.gets("get k", "GET response: ")


@check(
    1,
    "increments",
    "incr of an absent key begins at 0; of text it is refused.",
    "protocol.md, Conditional and atomic commands",
    size=1,
)
def increments(scene: Scene) -> None:
    client = served(scene)
    client.gets("incr visits", "INCR response: 1")
    client.gets("incr visits 41", "INCR response: 42")
    client.gets("incr visits -50", "INCR response: -8")
    client.gets("set b five", "SET response: b set to five")
    client.refused("incr b")
    client.gets("get b", "GET response: five")


@check(
    1,
    "numbers-beyond-2-53",
    "incr is exact up to 2^63-1, and refuses more; a double is exact up to 2^53.",
    "protocol.md, Conditional and atomic commands",
    size=1,
)
def numbers_beyond_2_53(scene: Scene) -> None:
    client = served(scene)
    client.gets(f"set n {2**53 + 1}", f"SET response: n set to {2**53 + 1}")
    client.gets("incr n", f"INCR response: {2**53 + 2}")
    client.gets(f"incr n {2**63 - 1 - 2**53 - 2}", f"INCR response: {2**63 - 1}")
    client.refused("incr n")
    client.gets("get n", f"GET response: {2**63 - 1}")


@check(1, "escapes", "A key has one form, however it was typed.", ESCAPES, size=1)
def escapes(scene: Scene) -> None:
    client = served(scene)
    client.gets(r"set two\swords a\nb", r"SET response: two\swords set to a\nb")
    client.gets(r"get \x74wo\swords", r"GET response: a\nb")
    client.refused(r"set a\q 1")


@check(1, "in-order", "Replies come in the order of the requests.", ORDER, size=1)
def in_order(scene: Scene) -> None:
    client = served(scene)
    requests, replies = [], []
    for number in range(100):
        requests += [f"client1#{2 * number}@incr n", f"client1#{2 * number + 1}@get n"]
        replies += [
            f"s1#{2 * number}@INCR response: {number + 1}",
            f"s1#{2 * number + 1}@GET response: {number + 1}",
        ]
    client.say(*requests)
    for should in replies:
        client.hears(should)


@check(
    1,
    "pieces",
    "A line may come in several packets, and end in \\r\\n.",
    "protocol.md, The line protocol",
    size=1,
)
def pieces(scene: Scene) -> None:
    client, other = served(scene), scene.client("client2")
    for piece in (b"client1@se", b"t b 5", b"\r"):
        client.wire.send(piece)
        other.gets("get c", "GET response, no such key: c")  # so the piece arrived separately
    client.wire.send(b"\nclient1@get b\r\nclient1@ge")
    for should in ("s1@SET response: b set to 5", "s1@GET response: 5"):
        client.hears(should)
    client.wire.send(b"t b\n")
    client.hears("s1@GET response: 5")


@check(
    1,
    "mistakes",
    "A mistake is answered Sorry, changes nothing, and the connection goes on.",
    LIMITS,
    size=1,
)
def mistakes(scene: Scene) -> None:
    client = served(scene)
    for wrong in ("sing a song", "set a", "get", "get a b", "delete", "incr a x"):
        client.refused(wrong)
    for line in ("4client@get a", "client4#x@get a", f"client4#{2**63}@get a"):
        client.say(line)
        does = client.reply().partition("@")[2]
        scene.expect(does.startswith("Sorry, "), f"{line!r} is answered {does!r}")
    client.gets("get a", "GET response, no such key: a")


@check(
    1,
    "malformed-peers",
    "A malformed line of a peer is answered Sorry, and changes nothing.",
    "protocol.md, By hand",
)
def malformed_peers(scene: Scene) -> None:
    scene.start()
    for text in (
        "RequestVote 1-0",
        "RequestVote one-0-0",
        "AppendEntries one-two-three",
        "AppendEntries 1-0-0-[set a 5]",
        'AppendEntries 1-0-0-[{"index": 7, "term": 1, "command": "set a 1"}]',
        f"RequestVote {2**64}-0-0",
        "PreVote",
    ):
        line = scene.call("s2", text)
        scene.expect(line.text.startswith("Sorry, "), f"{text!r} is answered {line.text!r}")
    scene.granted("s3", 1)


@check(
    1,
    "strangers",
    "A name that is not a member's gets no vote, and moves no term.",
    "protocol.md, Peers",
)
def strangers(scene: Scene) -> None:
    scene.start()
    client = scene.client("s9")
    client.say("s9@RequestVote 5-0-0")
    does = client.reply().partition("@")[2]
    scene.expect(not does.startswith("Count on me"), f"a stranger is answered {does!r}")
    scene.granted("s3", 1)
