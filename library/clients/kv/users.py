"""`kv.users`: the users and roles of the cluster, listed and changed, for threads and for tasks."""

from __future__ import annotations

from raftline.common.public import public

from ..calls.methods import Requests, of_tasks, of_threads
from ..calls.user_calls import UserAdministration


@public("raftline.api")
class Users(Requests):
    """The users and roles of the cluster: `kv.users.list()` returns them,
    `kv.users.add("bob", "his password", ["reader"])` adds a user. A change holds on all nodes.

    Raises, from a change:
        Refused: nothing was changed.
        OutcomeUnknown: it may or may not take effect; list the users to see.
    """

    _calls = UserAdministration()
    list = of_threads(UserAdministration.list)
    add = of_threads(UserAdministration.add)
    set_password = of_threads(UserAdministration.set_password)
    remove = of_threads(UserAdministration.remove)
    grant = of_threads(UserAdministration.grant)
    revoke = of_threads(UserAdministration.revoke)
    add_role = of_threads(UserAdministration.add_role)
    remove_role = of_threads(UserAdministration.remove_role)
    grant_role = of_threads(UserAdministration.grant_role)
    revoke_role = of_threads(UserAdministration.revoke_role)


@public("raftline.aio", "Users")
class AioUsers(Requests):
    """The users and roles of the cluster: `await kv.users.list()` returns them; see
    `raftline.api.Users`."""

    _calls = UserAdministration()
    list = of_tasks(UserAdministration.list)
    add = of_tasks(UserAdministration.add)
    set_password = of_tasks(UserAdministration.set_password)
    remove = of_tasks(UserAdministration.remove)
    grant = of_tasks(UserAdministration.grant)
    revoke = of_tasks(UserAdministration.revoke)
    add_role = of_tasks(UserAdministration.add_role)
    remove_role = of_tasks(UserAdministration.remove_role)
    grant_role = of_tasks(UserAdministration.grant_role)
    revoke_role = of_tasks(UserAdministration.revoke_role)
