"""The page's requests to the lab, and the answers: both are JSON, so that any worker can pass them
on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

from raftline.raft.membership import Membership
from raftline.raft.node import RawNode, node_from_disk
from raftline_testing.lab_address import GRADED
from raftline_testing.virtual.schedule_key import WrongKey

from .acts import ActRefused
from .lab import Lab
from .laws import LabInvariants
from .plan import Plan, PlanError, plan_in
from .run import Run
from .simulated import schedule_in
from .stories import BY_NAME, STORIES, Story

STORY = "story="
RUN_MS_MAX = 5000  # of virtual time in one request: the page stays in charge

Request = dict[str, Any]


class Page:
    """One lab, and the requests of its page."""

    def __init__(
        self,
        make_node: Callable[..., RawNode] = node_from_disk,
        make_invariants: Callable[[Membership], LabInvariants] = LabInvariants,
    ) -> None:
        self._make_lab = partial(Lab, make_node=make_node, make_invariants=make_invariants)
        self._has_own_core = make_node is not node_from_disk
        self.lab: Run = self._make_lab(Plan())
        # Runs that a person can't change, by the beginning of their addresses.
        self.fixed_runs: dict[str, Callable[[str], tuple[Run, int]]] = {
            "sim=": schedule_in,
            GRADED: _without_core,
        }
        self._story: Story | None = None

    def answer(self, request: str) -> str:
        """Return the facts after a request, or why it was refused."""
        try:
            asked = json.loads(request)
            facts = self._catalogue() if asked["do"] == "list" else self._answer(asked)
        except (ActRefused, PlanError, WrongKey) as error:
            facts = {"problem": str(error), **self._facts()}
        return json.dumps(facts)

    def _answer(self, request: Request) -> dict[str, Any]:
        happened = self._requests()[request["do"]](request)
        return {"happened": happened is not False, **self._facts()}

    def _facts(self) -> dict[str, Any]:
        story = None if self._story is None else {**self._story.as_shown(), "own": self._is_own}
        return {"story": story, **self.lab.facts()}

    def _requests(self) -> dict[str, Callable[[Request], object]]:
        return {
            "open": self._open,
            "look": lambda request: None,
            "step": lambda request: self.lab.step(until_ms=_end_in(request)),
            "notable": lambda request: self.lab.step(until_notable=True, until_ms=_end_in(request)),
            "at": self._go,
            "back": lambda request: self.lab.back(),
            "run": self._run,
            "act": lambda request: self.lab.act(str(request["act"])),
            "show": self._show,
            "judge": self._judge,
            "refuse": self._refuse,
        }

    def _open(self, request: Request) -> None:
        """Open the run of an address, or a story, at its moment."""
        address = str(request["address"])
        fixed = next(
            (run for name, run in self.fixed_runs.items() if address.startswith(name)), None
        )
        if fixed is not None:
            self.lab, at = fixed(address)
            self._story = None
            self.lab.go_to_events(at)
            return
        story, plan = _run_in(address)
        is_whole = story is not None and address == f"{STORY}{story.name}"
        bug = plan.bug if self._has_own_core else 0
        lab = self.lab = self._make_lab(replace(plan, bug=plan.bug - bug))
        self._story = story
        lab.go_to_start()
        if story is not None and is_whole:
            lab.go_to_ms(story.begin_ms)
        if bug:
            told = f"bug {bug} is one of raftline's own core: your raft.py runs without it"
            lab.cluster.world.tell("start", told)

    def _catalogue(self) -> dict[str, Any]:
        """Return the stories by title."""
        return {"stories": [[story.name, story.title] for story in STORIES]}

    @property
    def _is_own(self) -> bool:
        """Whether the reader has made another run of the story."""
        story, lab = self._story, self.lab
        if story is None or not isinstance(lab, Lab):
            return False
        return replace(lab.plan, at=0, done=None) != story.read_plan()

    def _judge(self, request: Request) -> bool:
        """Return whether the world answers the story's question so, in the run that is open."""
        if self._story is None or not isinstance(self.lab, Lab):
            raise PlanError("no story is open")
        return self._story.answer(self._make_lab(self.lab.plan)) == str(request["choice"])

    def _refuse(self, request: Request) -> None:
        raise PlanError(str(request["why"]))

    def _run(self, request: Request) -> bool:
        now_ms = self.lab.world.now_ms
        return self.lab.run_until(min(int(request["until_ms"]), now_ms + RUN_MS_MAX))

    def _go(self, request: Request) -> None:
        """Go to a virtual time of this run."""
        self.lab.go_to_ms(min(int(request["ms"]), self.lab.world.now_ms + RUN_MS_MAX))

    def _show(self, request: Request) -> None:
        """Go to a moment of this run."""
        events, acts = map(int, request["moment"])
        self.lab.go_to((events, acts))


def _run_in(address: str) -> tuple[Story | None, Plan]:
    """Return the story in an address, and the plan that it shows at its moment: `story=crash`, or
    `story=crash;at 60`, or with all lines of a plan that a reader made of the story.

    Raises:
        PlanError: there is no such story, or this is not a plan.
    """
    if not address.startswith(STORY):
        return None, plan_in(address)
    name, _, lines = address.removeprefix(STORY).partition(";")
    story, plan = BY_NAME.get(name), plan_in(lines)
    if story is None:
        raise PlanError(f"there is no story {name!r}")
    if plan == Plan(at=plan.at, done=plan.done):  # a moment alone
        plan = replace(story.read_plan(), at=plan.at, done=plan.done)
    return story, plan


def _end_in(request: Request) -> float:
    """Return the virtual time at which a step ends even if nothing happened."""
    return float(request.get("until_ms", inf))


def _without_core(address: str) -> tuple[Run, int]:
    """Refuse a schedule of the grader: the page has no hand-in for it.

    Raises:
        WrongKey: always.
    """
    raise WrongKey(f"{address} needs a hand-in: press raft.py, and put it there")
