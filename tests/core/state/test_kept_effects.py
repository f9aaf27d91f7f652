"""The effects of the kernel's commands, by which a build may call a release alike.

The digest of the kernel differs with any change of its sources, and keeps two builds apart
(common/effects.py). A release belongs into `ALIKE` only if the digest here is the same for both.
"""

from __future__ import annotations

import random
from hashlib import sha256

from raftline.common.effects import ALIKE
from raftline.common.extensions import KERNEL, VERBS
from raftline.logmanager import LogManager
from raftline.raft.identity import identity_command
from raftline.raft.log import Entry
from raftline.state.commands.key_commands import APPLIED
from raftline.storage.snapshot_lines import lines_of
from raftline.wire.refusal import SORRY
from raftline_testing.files.faulty_folder import MemoryFolder

COUNT = 4000
# Of the replies to a log of all commands, and of the state after it.
KEPT = "241147052db28197"
VERIFIER = (
    "SCRAM-SHA-256$4096:Gb7AL4OpLWeK78NXo+gbnw=="
    "$YuBZtvOXZE7penwk4KJp5t8RW8kwcEPoL0ZAKWQYHv8=:qifFMs7ZbBmD1WJSRfVMeA8Be2zpjXeSGq6YS8jCtIU="
)
FORMS = {
    "noop": ("noop",),
    "members": ("members s1=h:1,voter s2=h:2,learner",),
    "cluster": ("cluster 9f86d081884c7d65 level 1",),
    "get": ("get K", "S#N@get K"),
    "set": ("set K V", "S#N@set K V", "S#1@set K V", "alice@set K V"),
    "delete": ("delete K", "S#N@delete K"),
    "setnx": ("setnx K V",),
    "cas": ("cas K V V", "cas K 1 2"),
    "incr": ("incr K", "incr K M", "S#N@incr n M"),
    "append": ("append K V",),
    "lease": ("lease 5", "lease 0.5 00000000000000000000000000000000", "S#N@lease 7"),
    "release": ("release L",),
    "under": ("under L set K V", "under L incr n", "under L append K V"),
    "setex": ("setex K 2.5 V",),
    "expire": ("expire K 3",),
    "persist": ("persist K",),
    "expired": ("expired 1 L", "expired 2 L", "expired 1 L.5000"),
    "txn": (
        "txn set K V ; incr n M", "txn if K exists then append K V else setnx K V",
        "txn if K = V ; n > 3 then delete K ; get K", "txn clear K ; set K V",
        "txn if K unchanged since E then set K V else get K",
    ),
    "clear": ("clear K", "clear a"),
    "stat": ("stat K",),
    "read": ("read K",),
    "sum": ("sum",),
    "session": ("c@session", "c@session", "c@session alice"),
    "forget": ("S@forget",),
    "user-add": (f"user-add alice {VERIFIER} admin", f"user-add bob {VERIFIER} reader"),
    "user-password": (f"user-password alice {VERIFIER}",),
    "users": ("users",),
    "user-remove": ("user-remove bob",),
    "user-grant": ("user-grant alice app", "user-grant alice admin"),
    "user-revoke": ("user-revoke alice app",),
    "role-add": ("role-add app",),
    "role-remove": ("role-remove app",),
    "role-grant": ("role-grant app write a", "role-grant app read b"),
    "role-revoke": ("role-revoke app b",),
}  # fmt: skip
VALUES = ("1", "2", "-7", "9223372036854775807", "", "two words", r"\xff\\", "ä", "x" * 300, "0.5")


def log_of_all_commands() -> list[Entry]:
    """Return commands of each form, drawn by a generator that is the same at each Python."""
    chance = random.Random(7)
    forms = [form for forms in FORMS.values() for form in forms]
    # Users would refuse most of what follows, so theirs come last.
    users = [form for form in forms if form.startswith(("user", "role"))]
    others = [form for form in forms if form not in users]

    def drawn(choices: tuple[str, ...] | list[str]) -> str:
        return choices[int(chance.random() * len(choices))]

    session = "c-1"
    entries = [Entry(1, 1, identity_command("9f86d081884c7d65"))]
    for index in range(2, COUNT):
        form = drawn(others if index < 0.9 * COUNT else users + others)
        lease = f"lease-{max(1, index - int(chance.random() * 200))}"
        if form.startswith("c@session"):
            session = f"c-{index}"
        number = str(int(index - chance.random() * 9))
        drawn_words = {
            "K": drawn(("a", "b", "ab", "n", r"k\s1")), "V": drawn(VALUES), "L": lease,
            "M": drawn(("1", "-3", "9223372036854775807")), "E": str(index - 40),
        }  # fmt: skip
        form = form.replace("S#N@", f"{session}#{number}@").replace("S@", f"{session}@")
        form = form.replace("S#1@", f"{session}#1@")
        words = [drawn_words.get(word, word) for word in form.split(" ")]
        entries.append(Entry(index, 1 + (index > COUNT / 2), " ".join(words)))
    return entries


def played() -> list[str]:
    """Return all replies, and then the lines of the state."""
    manager = LogManager("s1", MemoryFolder(), {"s1": "h:1"})
    replies = [manager.apply([entry])[0] for entry in log_of_all_commands()]
    return [*replies, *lines_of(manager.freeze())]


def effects() -> str:
    """Return the digest of these."""
    return sha256("\n".join(played()).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def test_every_command_of_the_kernel_is_played() -> None:
    verbs = {verb for verb in APPLIED if verb not in VERBS}
    assert verbs <= FORMS.keys() | {"machine"}
    assert FORMS.keys() - verbs <= {"session", "forget"}


def test_every_command_takes_effect_in_that_log() -> None:
    done = {
        entry.command.rpartition("@")[2].partition(" ")[0]
        for entry, reply in zip(log_of_all_commands(), played(), strict=False)
        if reply and not reply.startswith(SORRY)
    }
    assert FORMS.keys() - done == {"noop", "members", "cluster", "expired"}


def test_effects_are_kept() -> None:
    """If one changes, no release before it is alike: say so in CHANGELOG.md."""
    is_kept = effects() == KEPT
    assert is_kept or not ALIKE.get(KERNEL), "an effect changed: empty ALIKE of the kernel"
    assert is_kept, "an effect changed: put the digest of this build into KEPT"


if __name__ == "__main__":
    print(effects())
