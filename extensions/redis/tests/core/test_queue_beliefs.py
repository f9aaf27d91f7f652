"""The judge of lists as queues (redis/queue_machine.py)."""

from __future__ import annotations

from collections import Counter

import pytest

from raftline.redis.harness.queue_machine import QueueBeliefs

LIST = r"\slist "


def added(*elements: str) -> QueueBeliefs:
    """Return beliefs of elements whose addition was acknowledged at 1, one after the other."""
    beliefs = QueueBeliefs(Counter(), "w.")
    beliefs.asks("w.elements", elements, 0)
    beliefs.added(elements, 1)
    return beliefs


def test_element_in_no_list_is_lost() -> None:
    beliefs = added("p.1", "p.2")
    beliefs.judge({"w.elements": f"{LIST}p.2 p.1"})
    with pytest.raises(AssertionError, match=r"elements \['p.2'\] are lost"):
        beliefs.judge({"w.elements": f"{LIST}p.1", "web": f"{LIST}p.2"})


def test_lost_answer_of_a_pop_may_have_had_an_element() -> None:
    beliefs = added("p.1", "p.2")
    beliefs.pop_is_open(1)
    beliefs.judge({"w.elements": f"{LIST}p.2"})
    with pytest.raises(AssertionError, match="are lost"):
        beliefs.judge({})


def test_element_is_in_one_place() -> None:
    places = {"w.elements": f"{LIST}p.1", "w.elements/c": f"{LIST}p.1"}
    with pytest.raises(AssertionError, match="in two places"):
        added("p.1").judge(places)


def test_element_is_delivered_once() -> None:
    beliefs = added("p.1")
    beliefs.taken("c", "p.1", 2, 3)
    with pytest.raises(AssertionError, match="delivered to d, and was to c"):
        beliefs.taken("d", "p.1", 4, 5)


def test_element_found_in_a_list_was_moved_there() -> None:
    """It may be there if an answer was lost."""
    added("p.1").found("c", ["p.1"], set(), 2)
    with pytest.raises(AssertionError, match="has not moved it"):
        added("p.1").found("c", ["p.1"], set(), float("inf"))


def test_element_in_the_list_of_its_worker_stays_there() -> None:
    """Unless the worker may have removed it, by a request whose answer was lost."""
    beliefs = added("p.1")
    beliefs.taken("c", "p.1", 2, 3)
    with pytest.raises(AssertionError, match="lost from the list of c"):
        beliefs.found("c", [], {"p.1"}, 4)
    beliefs.ends("p.1")
    beliefs.found("c", ["p.1"], set(), 4)
    beliefs.found("c", [], {"p.1"}, 4)


def test_older_element_of_a_producer_comes_first() -> None:
    """Two workers that ask at the same time may hear in any order."""
    beliefs = added("p.1", "p.2")
    beliefs.taken("c", "p.2", 2, 5)
    beliefs.taken("d", "p.1", 4, 6)
    beliefs = added("p.1", "p.2")
    beliefs.taken("c", "p.2", 2, 3)
    with pytest.raises(AssertionError, match=r"p.1 is delivered after p.2"):
        beliefs.taken("d", "p.1", 4, 6)


def test_queue_with_an_element_is_not_empty() -> None:
    """Another one may be."""
    beliefs = added("p.1")
    beliefs.was_empty("w.elements", 0, 3)
    beliefs.judge({"w.elements": f"{LIST}p.1"})
    beliefs.was_empty("w.elements/late", 2, 3)
    beliefs.judge({"w.elements": f"{LIST}p.1"})
    beliefs.was_empty("w.elements", 2, 3)
    with pytest.raises(AssertionError, match="overlooked"):
        beliefs.judge({"w.elements": f"{LIST}p.1"})


def test_ended_element_is_gone() -> None:
    beliefs = added("p.1")
    beliefs.taken("c", "p.1", 2, 3)
    beliefs.ends("p.1")
    beliefs.ended("p.1")
    beliefs.judge({})
    with pytest.raises(AssertionError, match="after their end"):
        beliefs.judge({"w.elements/c": f"{LIST}p.1"})
