"""`kv.members`: the members of the cluster, listed and changed, for threads and for tasks."""

from __future__ import annotations

from raftline.common.public import public

from ..calls.administration import MemberCalls
from ..calls.methods import Requests, of_tasks, of_threads


@public("raftline.api")
class Members(Requests):
    """The members of the cluster: `kv.members()` lists them, `kv.members.add("s4", "h4:10000")`
    adds one. A change has the time limit of the client, and a new member has to catch up first:
    `kv.within(600).members.add(…)`.

    Raises, from a change:
        Refused: nothing was changed.
        OutcomeUnknown: it may or may not take effect; list the members to see.
    """

    _calls = MemberCalls()
    __call__ = of_threads(MemberCalls.list)
    add = of_threads(MemberCalls.add)
    remove = of_threads(MemberCalls.remove)
    replace = of_threads(MemberCalls.replace)
    promote = of_threads(MemberCalls.promote)
    demote = of_threads(MemberCalls.demote)
    update = of_threads(MemberCalls.update)


@public("raftline.aio", "Members")
class AioMembers(Requests):
    """The members of the cluster: `await kv.members()` lists them, and
    `await kv.members.add("s4", "h4:10000")` adds one; see `raftline.api.Members`."""

    _calls = MemberCalls()
    __call__ = of_tasks(MemberCalls.list)
    add = of_tasks(MemberCalls.add)
    remove = of_tasks(MemberCalls.remove)
    replace = of_tasks(MemberCalls.replace)
    promote = of_tasks(MemberCalls.promote)
    demote = of_tasks(MemberCalls.demote)
    update = of_tasks(MemberCalls.update)
