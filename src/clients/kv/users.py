"""`kv.users`: the users and roles of the cluster, listed and changed, for threads and for tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...common.public import public
from ..calls.methods import of_tasks, of_threads
from ..calls.user_calls import UserCalls


class BaseUsers:
    """The users of one cluster."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask
        self._calls = UserCalls()


@public("raftline.api")
class Users(BaseUsers):
    """The users and roles of the cluster: `kv.users.list()` returns them,
    `kv.users.add("bob", "his password", ["reader"])` adds a user. A change holds on all nodes.

    Raises, from a change:
        Refused: nothing was changed.
        OutcomeUnknown: it may or may not take effect; list the users to see.
    """

    list = of_threads(UserCalls.list)
    add = of_threads(UserCalls.add)
    set_password = of_threads(UserCalls.set_password)
    remove = of_threads(UserCalls.remove)
    grant = of_threads(UserCalls.grant)
    revoke = of_threads(UserCalls.revoke)
    add_role = of_threads(UserCalls.add_role)
    remove_role = of_threads(UserCalls.remove_role)
    grant_role = of_threads(UserCalls.grant_role)
    revoke_role = of_threads(UserCalls.revoke_role)


@public("raftline.aio", "Users")
class AioUsers(BaseUsers):
    """The users and roles of the cluster: `await kv.users.list()` returns them; see
    `raftline.api.Users`."""

    list = of_tasks(UserCalls.list)
    add = of_tasks(UserCalls.add)
    set_password = of_tasks(UserCalls.set_password)
    remove = of_tasks(UserCalls.remove)
    grant = of_tasks(UserCalls.grant)
    revoke = of_tasks(UserCalls.revoke)
    add_role = of_tasks(UserCalls.add_role)
    remove_role = of_tasks(UserCalls.remove_role)
    grant_role = of_tasks(UserCalls.grant_role)
    revoke_role = of_tasks(UserCalls.revoke_role)
