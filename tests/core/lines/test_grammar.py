"""docs/develop/grammar.abnf: each line that it allows is understood and written back, no other one.

Lines are derived from the grammar by seeded chance (raftline_testing/grammar_dealers.py).
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from zlib import crc32

import pytest

from raftline.access.proof import WRONG, ProofError, Responder
from raftline.common.extensions import EXTENSIONS, is_there, parts_in
from raftline.net.peers.build_exchange import read_build
from raftline.raft.messages import Denial, PeerError, RequestVoteReply
from raftline.storage import log_lines
from raftline.storage.folder import Folder
from raftline.storage.hard_state import HardStateFile
from raftline.wire import peer_lines
from raftline.wire.commands.command_table import COMMANDS
from raftline.wire.commands.parsing import ReadSettings, parse
from raftline.wire.done_reply import NOT_MET, THEN, DoneReply, done_reply, is_done, with_word
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import NAME, ProtocolError, split_sender
from raftline.wire.replies.replies import RequestOutcome, outcome_of
from raftline_course.controller.orders import ORDERS
from raftline_testing.grammar_dealers import GRAMMAR, derived, positive

MANY = 8  # lines of one rule
TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
PROTOCOL_PAGE = Path(__file__).parents[3] / "docs" / "use" / "protocol.md"
# Any of these in the place of another character is worth a try.
ALPHABET = "aZ09@#-_.;:,=+ \\\"'{}[]()<>/%\t\x01\x7f\x85\u2028é漢😀"

# --- what raftline understands ---------------------------------------------------------------


def formatted_back(line: str) -> str | None:
    """Return a line as raftline writes what it has understood of it; None where it refuses it."""
    try:
        found = parse(line.encode(), Limits(), ReadSettings(), "s1")
    except UnicodeEncodeError:
        return None
    request = found.request
    sender = request.sender + f"#{request.id}" * bool(request.id)
    before = f"{sender}@" if sender else ""
    if found.kind == "peer" and found.message is not None:  # an answer has its message as well
        return before + peer_lines.format_message(found.message)
    if found.kind == "build":
        build = read_build(found.text)
        if build is None:
            return None
        named = f" cluster {build.cluster}" if build.cluster else ""
        parts = [word for word in found.text.split() if word in build.applies]
        told = f" with {' '.join(parts)}" if parts else ""
        return f"{before}Level 1 version {build.version}{told}{named}"
    if found.kind == "proof":
        return line if _is_step_of_a_proof(request.sender, found.text) else None
    if found.problem:
        return None
    return before + request.command + f" read {request.read}" * bool(request.read)


def _is_step_of_a_proof(sender: str, text: str) -> bool:
    """Whether the side that is dialled takes a line for what begins or ends a proof."""
    word, _, rest = text.partition(" ")
    me = rest.partition(" ")[0] if word == "Prove" else "s9"
    answering = Responder(b"secret", me, "0" * 32)
    try:
        if word != "Prove":
            answering.take(sender, f"Prove {me} nonce {'0' * 32}")
        answering.take(sender, text)
    except ProofError as problem:
        return str(problem) == WRONG
    return NAME.fullmatch(me) is not None


OF_A_SESSION = {"session", "forget"}  # they need a name before them
RULES = [
    *(name for name in COMMANDS if name not in OF_A_SESSION),
    "request-line", "session-line", "question",
    "prevote", "request-vote", "append-entries", "install-snapshot", "timeout-now", "read-index",
    "vote", "denial", "appended", "missing", "snapshot-held", "read-at", "build",
]  # fmt: skip


def _line_of(rule: str, chance: random.Random) -> str:
    text = derived(rule, chance)
    of_a_server = rule in RULES[RULES.index("prevote") :]
    return f"{derived('name', chance)}@{text}" if of_a_server else text


@pytest.mark.parametrize("rule", RULES)
def test_a_derived_line_is_accepted_and_round_trips(rule: str) -> None:
    chance = random.Random(f"{rule} 1")
    for _ in range(MANY):
        line = _line_of(rule, chance)
        if all(map(is_there, parts_in(line))):
            assert formatted_back(line) == line


@pytest.mark.parametrize("rule", RULES)
def test_line_outside_the_grammar_is_refused_or_rewritten(rule: str) -> None:
    """A line outside the grammar is refused, or rewritten to one inside it."""
    chance = random.Random(f"{rule} 2")
    broken = 0
    for _ in range(MANY):
        line = _line_of(rule, chance)
        place, drawn = chance.randrange(len(line)), chance.choice(ALPHABET)
        behind = place + chance.randint(0, 1)  # inserted before a character, or in its place
        other = line[:place] + chance.choice([drawn, ""]) + line[behind:]
        if "\n" in other or GRAMMAR.matches("line", other) or GRAMMAR.matches("answer", other):
            continue
        broken += 1
        assert formatted_back(other) != other
    assert broken or MANY < 50  # nearly each line is one that breaks


def test_each_command_and_each_order_has_a_rule() -> None:
    rules = {name for name in GRAMMAR.rules if GRAMMAR.matches("request", f"{name}")}
    bare = {verb for verb, row in COMMANDS.items() if not row.operands.needed}
    bare -= OF_A_SESSION
    assert bare - {"add", "remove", "replace", "promote", "demote", "update"} <= rules | {"lease"}
    assert {*COMMANDS} - OF_A_SESSION <= set(GRAMMAR.rules)
    assert all(GRAMMAR.matches("order", order) for order in ORDERS)


def test_each_word_of_a_denial_is_in_the_grammar() -> None:
    """Any other word is read as `other`."""
    for word in Denial:
        facts = " s3" if word is Denial.HEARS else ""
        assert GRAMMAR.matches("denial-word", word.value + facts)
    chance = random.Random(6)
    for _ in range(MANY):
        text = derived("unknown-word", chance)
        if not GRAMMAR.matches("denial-word", text) and text.split(" ")[0] != "prevote":
            found = peer_lines.read("s1", "s2", f"Not this time term 3 {text}: no")
            assert found == RequestVoteReply("s1", "s2", 3, False, False, Denial.OTHER, "no")


def test_each_word_of_a_done_reply_is_in_the_grammar() -> None:
    """The grammar has no other word."""
    words = {THEN, *NOT_MET, *[word for row in COMMANDS.values() for word in row.not_met]}
    chance = random.Random(7)
    drawn = {derived("otherwise", chance) for _ in range(40 * len(words))}
    assert drawn == words if all(map(is_there, EXTENSIONS)) else drawn >= words
    for word in words:
        reply = with_word("GET", word, "a: b")
        assert GRAMMAR.matches("done", reply)
        assert done_reply(reply) == DoneReply("GET", word, "a: b")
        assert not is_done(reply)
        assert is_done(f"GET response: {reply}")
        assert not is_done(f"Sorry, a{reply}: GET response: b")
        assert (outcome_of(reply) is RequestOutcome.ABSENT) is (word != THEN)


# --- what raftline sends, and keeps ----------------------------------------------------------

# Typed past the parser of a node, to see that the state machine is total.
PAST_THE_PARSER = {"15 2 client4#7@cas lock"}
_SENT = re.compile(r"^(s\d) <- (s\d@.*?)(?: \(lost\)| \(held\))?$", re.MULTILINE)
_APPENDED = re.compile(r"^s\d appends (.*)$", re.MULTILINE)


def test_server_lines_in_transcripts_are_in_the_grammar() -> None:
    """The grammar derives each line that servers send or append in the transcripts."""
    sent = appended = 0
    for page in sorted(TRANSCRIPTS.glob("*.txt")):
        text = page.read_text("utf-8")
        for found in {match[2] for match in _SENT.finditer(text)}:
            assert GRAMMAR.matches("question", found) or GRAMMAR.matches("answer", found), found
            sent += 1
        for found in {match[1] for match in _APPENDED.finditer(text)} - PAST_THE_PARSER:
            assert GRAMMAR.matches("log-line", f"{found}\n"), found
            appended += 1
    assert sent > 200
    assert appended > 100


def test_replies_on_the_protocol_page_are_in_the_grammar() -> None:
    """The grammar derives each reply on the page of the protocol."""
    page = PROTOCOL_PAGE.read_text("utf-8")
    blocks = re.findall(r"```transcript \w+\n(.*?)```", page, re.DOTALL)
    said = [line for block in blocks for line in block.splitlines()]
    questions = r"AppendEntries|PreVote|RequestVote|I am up to date"
    replies = [line for line in said if re.match(rf"s[12](#\d+)?@(?!{questions})", line)]
    assert len(replies) > 60
    for line in replies:
        assert GRAMMAR.matches("reply-line", line) or GRAMMAR.matches("answer", line), line


def test_a_derived_entry_is_read_from_the_log() -> None:
    chance = random.Random(3)
    for _ in range(40):
        numbers = f"{positive(GRAMMAR, chance)} {positive(GRAMMAR, chance)}"
        line = f"{numbers} {derived('command', chance)}\n"
        assert GRAMMAR.matches("log-line", line)
        index = int(line.split(" ")[0])
        term, command = log_lines.read_entry(line.encode(), index, 1)
        assert f"{index} {term} {command}\n" == line


def test_derived_checksums_of_the_log_are_read() -> None:
    chance = random.Random(4)
    for _ in range(10):
        cut = f"{derived('cut', chance)}\n"
        assert log_lines.cut_line(log_lines.read_cut(cut.encode(), 0, 2**63)) == cut.encode()
        assert GRAMMAR.matches(
            "log-line", log_lines.checksum_line(chance.randint(0, 2), 0x1FF).decode()
        )
    for line in (
        "0 0 base s1=localhost:10000 s2=localhost:10001\n",
        "0 0 base\n",
        "17 4 base cluster 9f86d081884c7d65 level 1 s1=h:1,voter s4=h:2,learner\n",
        "17 4 base cluster 9f86d081884c7d65 level 1 s1=h:1\n",
        "17 4 base cluster 9f86d081884c7d65 level 1\n",
        "9 2 base s1=h:1,voter | s2=::1:2,voter\n",
    ):
        assert GRAMMAR.matches("log-line", line)
        index, term, members = log_lines.read_base(line.encode())
        cluster = log_lines.cluster_in_base(line.encode())
        assert log_lines.base_line(members, index, term, cluster) == line.encode()


def test_a_derived_storage_file_is_read_and_written_alike(tmp_path: Path) -> None:
    chance = random.Random(5)
    for number in range(10):
        promise = derived("promise-line", chance)
        mark = f"synced entry {chance.randint(0, 99):019} term {chance.randint(0, 9):019} crc32 0\n"
        data = "".join(map(_with_crc, (promise, mark)))
        name = promise.split(" ")[1]
        (tmp_path / str(number)).mkdir()
        path = tmp_path / str(number) / f"{name}.storage"
        path.write_text(data, "utf-8")
        first, second = data.splitlines(keepends=True)
        assert GRAMMAR.matches("promise-line", first)
        assert GRAMMAR.matches("mark-line", second)
        file = HardStateFile(Folder(path.parent), name)
        found = file.load()
        assert found is not None
        file.save(found)
        assert path.read_text("utf-8") == data


def _with_crc(line: str) -> str:
    body = line.rpartition(" crc32 ")[0]
    return f"{body} crc32 {crc32(body.encode()):08x}\n"


def test_lines_that_only_look_alike_are_not_in_the_grammar() -> None:
    for line in (
        "s1@requestvote 1-0-0",
        "s1@RequestVote 01-0-0",
        "s1@AppendEntries 1-0-0-[]",
        "get  a",
        "GET a",
        "s1@Count on me",
        "client#01@get a",
        "1client@get a",
        r"set a \x41",
        "set a \t",
        "show a b",
    ):
        assert not GRAMMAR.matches("line", line), line
        assert not GRAMMAR.matches("answer", line), line
        assert formatted_back(line) != line
    with pytest.raises((ProtocolError, PeerError)):
        peer_lines.read("s1", "s2", split_sender("s1@requestvote 1-0-0")[2])
