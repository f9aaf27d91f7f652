"""The explanation of a step, with the rules that it breaks in front. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raftline.picture.observe.explain import rules_of
from raftline.picture.observe.facts import Step, Topic
from raftline.picture.observe.step_lines import ExplainedStep, explained

from .findings import Finding
from .laws import LAWS

# Topics that depend on others: entries that must not be taken can't be committed either.
_RESTS: Mapping[Topic, frozenset[Topic]] = {
    Topic.APPEND: frozenset((Topic.COMMIT, Topic.APPLY)),
    Topic.COUNT: frozenset((Topic.COMMIT, Topic.APPLY)),
    Topic.COMMIT: frozenset((Topic.APPLY,)),
}


def judged(step: Step, findings: Sequence[Finding] = ()) -> ExplainedStep:
    """Return a step with the rules that it breaks, then its explanation. A sentence about a broken
    topic is left out.

    `findings` are the results of cluster_facts.py for the step.
    """
    if step.refusal:
        return explained(step)
    findings_here = broken(step)
    topics = {finding.claim for finding in findings_here}
    findings_here += [finding for finding in findings if finding.claim not in topics]
    claims = {claim for one in findings_here for claim in (one.claim, *_RESTS.get(one.claim, ()))}
    reasons = [rule.explain(step) for rule in rules_of(step) if rule.claim not in claims]
    return ExplainedStep(step, [finding.reason for finding in findings_here] + reasons)


def broken(step: Step) -> list[Finding]:
    """Return the rules that a step breaks, judged from the step alone."""
    return [
        Finding(law.claim, text, law.section, law.place)
        for law in LAWS
        if (text := law.check(step))
    ]
