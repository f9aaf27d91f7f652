"""The proof of two members to each other, line by line and by numbers."""

from __future__ import annotations

import contextlib
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.access.proof import ENDED, WRONG, Initiator, ProofError, Responder, mac_of

SECRET = b"0123456789abcdef0123456789abcdef"
N1, N2, N3 = "1" * 32, "2" * 32, "3" * 32


def sides(theirs: bytes = SECRET) -> tuple[Initiator, Responder]:
    """Return s2, which dials, and s1."""
    return Initiator(SECRET, "s2", "s1", N2), Responder(theirs, "s1", N1)


def played(dialing: Initiator, answering: Responder) -> list[str]:
    """Return the lines that the two exchange."""
    lines, text = [], dialing.first
    while text:
        lines += [f"s2@{text}", f"s1@{answering.take('s2', text)}"]
        text = dialing.take(lines[-1].partition("@")[2])
    return lines


def test_both_sides_prove_themselves_in_four_lines() -> None:
    dialing, answering = sides()

    def mac(direction: str) -> str:
        text = f"raftline proof of peers 1\n{direction}\ns2\ns1\n{N2}\n{N1}"
        return hmac.new(SECRET, text.encode(), hashlib.sha256).hexdigest()

    assert played(dialing, answering) == [
        f"s2@Prove s1 nonce {N2}",
        f"s1@Challenge s2 nonce {N1}",
        f"s2@Proof {mac('dials')}",
        f"s1@Proof {mac('answers')}",
    ]
    assert dialing.is_proven
    assert answering.proven == "s2"
    assert not answering.waits


def test_another_secret_proves_nothing_to_either_side() -> None:
    dialing, answering = sides(theirs=b"x" * 32)
    proof = dialing.take(answering.take("s2", dialing.first))
    with pytest.raises(ProofError, match="another secret"):
        answering.take("s2", proof)
    assert answering.proven is None
    forged = mac_of(b"x" * 32, "answers", ("s2", "s1"), (N2, N1))
    with pytest.raises(ProofError, match="another secret"):
        dialing.take(f"Proof {forged}")
    assert not dialing.is_proven


def test_a_recorded_proof_is_worth_nothing_on_another_connection() -> None:
    """A proof covers the nonces of one connection."""
    recorded = played(*sides())
    again = Responder(SECRET, "s1", N3)
    again.take("s2", recorded[0].partition("@")[2])
    with pytest.raises(ProofError, match="for another connection"):
        again.take("s2", recorded[2].partition("@")[2])
    assert again.proven is None
    dialing = Initiator(SECRET, "s2", "s1", N3)
    dialing.take(recorded[1].partition("@")[2])
    with pytest.raises(ProofError, match="for another connection"):
        dialing.take(recorded[3].partition("@")[2])


def test_proof_of_a_member_does_not_prove_who_returns_it() -> None:
    """s1 dials an impostor of s2, which relays the lines to a connection of its own to s1."""
    dialing = Initiator(SECRET, "s1", "s2", N1)
    answering = Responder(SECRET, "s1", N3)
    challenge = answering.take("s2", f"Prove s1 nonce {N1}").replace("s2", "s1")
    proof = dialing.take(challenge)
    with pytest.raises(ProofError, match=WRONG):
        answering.take("s2", proof)
    with pytest.raises(ProofError, match=WRONG):
        dialing.take(proof)


def test_a_name_is_part_of_a_proof() -> None:
    """A compromised member can't pass as another one with a proof that others made."""
    dialing, answering = sides()
    challenge = answering.take("s3", f"Prove s1 nonce {N2}")
    with pytest.raises(ProofError, match=WRONG):
        answering.take("s3", dialing.take(challenge.replace("s3", "s2")))
    assert answering.proven is None


@pytest.mark.parametrize(
    ("sender", "text", "why"),
    [
        ("s2", "Proof " + "0" * 64, "a proof begins with: Prove NAME nonce NONCE"),
        ("s2", f"Prove s1 nonce {N2} more", "a proof begins with"),
        ("s2", f"Prove s3 nonce {N2}", "this is s1, so nobody else is proved to"),
        ("s2", "Prove s1 nonce " + "A" * 32, "a nonce is 32 hexadecimal digits"),
        ("s2", "Prove s1 nonce " + "1" * 31, "a nonce is 32 hexadecimal digits"),
        ("s2", "Prove s1 nonce " + "١" * 32, "a nonce is 32 hexadecimal digits"),
        ("s1", f"Prove s1 nonce {N2}", "s1 proves nothing to itself"),
    ],
)
def test_a_wrong_beginning_ends_the_attempt(sender: str, text: str, why: str) -> None:
    _, answering = sides()
    with pytest.raises(ProofError, match=why):
        answering.take(sender, text)
    with pytest.raises(ProofError, match=ENDED):
        answering.take("s2", f"Prove s1 nonce {N2}")
    assert answering.proven is None


def test_nobody_else_ends_a_proof_and_none_is_made_twice() -> None:
    dialing, answering = sides()
    proof = dialing.take(answering.take("s2", dialing.first))
    with pytest.raises(ProofError, match="nobody else ends it"):
        answering.take("s3", proof)
    with pytest.raises(ProofError, match=ENDED):
        answering.take("s2", proof)
    dialing, answering = sides()
    lines = played(dialing, answering)
    with pytest.raises(ProofError, match=ENDED):
        answering.take("s2", lines[2].partition("@")[2])
    assert answering.proven == "s2"


@pytest.mark.parametrize(
    "text",
    ["", "Challenge s3 nonce " + N1, "Challenge s2 nonce x", "Proof " + "0" * 64, f"Prove s2 {N1}"],
)
def test_the_dialing_side_takes_nothing_but_a_challenge_first(text: str) -> None:
    with pytest.raises(ProofError):
        sides()[0].take(text)


@pytest.mark.parametrize("used", [SECRET, b"b" * 40])
def test_while_a_secret_is_changed_a_proof_by_either_counts(used: bytes) -> None:
    """The answer uses the same secret, since the other side may know only that one."""
    dialing = Initiator(used, "s2", "s1", N2)
    answering = Responder(SECRET, "s1", N1, b"b" * 40)
    played(dialing, answering)
    assert (answering.proven, answering.proven_by, dialing.is_proven) == ("s2", used, True)


@pytest.mark.parametrize("is_equal", [False, True])
def test_nothing_but_the_comparison_in_constant_time_decides(
    monkeypatch: pytest.MonkeyPatch, is_equal: bool
) -> None:
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: is_equal)
    dialing, answering = sides(b"x" * 32 if is_equal else SECRET)
    with contextlib.suppress(ProofError):
        played(dialing, answering)
    assert (answering.proven == "s2") is is_equal
    late = Initiator(SECRET, "s2", "s1", N2)
    late.take(f"Challenge s2 nonce {N1}")
    with contextlib.suppress(ProofError):
        late.take(f"Proof {mac_of(SECRET, 'answers', ('s2', 's1'), (N2, N1))}")
    assert late.is_proven is is_equal


SECRETS_OF_NOBODY = st.binary(min_size=32, max_size=64).filter(lambda one: one != SECRET)
WORDS = st.sampled_from(["Prove", "Challenge", "Proof", "s1", "s2", "nonce", N1, N2, "0" * 64, "é"])
LINES = st.text(max_size=100) | st.lists(WORDS, max_size=6).map(" ".join)


@given(st.lists(st.tuples(st.sampled_from(["s1", "s2", "s3", ""]), LINES), max_size=6))
def test_no_lines_of_somebody_without_the_secret_prove_anything(
    said: list[tuple[str, str]],
) -> None:
    answering = Responder(SECRET, "s1", N1)
    for sender, text in said:
        with contextlib.suppress(ProofError):
            answering.take(sender, text)
    assert answering.proven is None


@given(st.lists(LINES, max_size=6))
def test_answers_without_the_secret_prove_nothing(said: list[str]) -> None:
    """Without the secret, no answers make a proof."""
    dialing = Initiator(SECRET, "s2", "s1", N2)
    for text in said:
        with contextlib.suppress(ProofError):
            dialing.take(text)
    assert not dialing.is_proven


@given(SECRETS_OF_NOBODY)
def test_no_other_secret_proves_anything(secret: bytes) -> None:
    dialing, answering = Initiator(secret, "s2", "s1", N2), Responder(SECRET, "s1", N1)
    with pytest.raises(ProofError):
        played(dialing, answering)
    assert answering.proven is None
