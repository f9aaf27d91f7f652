"""A check that other nodes look for this node at the host and port where it listens."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Mapping

from ...common.address import EVERYWHERE, Address, is_loopback
from ...common.config import Configuration
from ...common.process.guarded_thread import begin_thread
from ...common.process.signals import threads_without_signals

_MOVE = "Correct --advertise; to move a member, use `remove` and `add`"
_ADVICE = "fine behind a proxy, otherwise nobody will find it"


def report_reachability(
    name: str,
    listens: Address,
    configuration: Configuration,
    members: Mapping[str, str],
    bound: str,
    say: Callable[[str], None],
    advertised: Address | None = None,
) -> None:
    """Report why other nodes may not find this one.

    The node listens at `listens`, with the IP address `bound`; `members` are the members in its log
    (name to host:port). `advertised` is the address of `--advertise`; with it, nothing is looked
    up. A host name is looked up in a separate thread, as a name server may be slow.
    """
    sought, source = configuration.members.get(name), str(configuration.path)
    if sought is None and name in members:
        sought, source = Address.parse(members[name]), "the log"
    if sought is None:
        return
    begin = f"[!] {source} says that others reach {name}"
    if advertised is not None:
        if sought != advertised:
            say(
                f"{begin} at {sought}, but --advertise says {advertised}: "
                f"they use the former. {_MOVE}"
            )
        return
    if sought.port != listens.port:
        say(f"{begin} on port {sought.port}, but it listens on {listens.port}: {_ADVICE}")
    if _is_plain(sought.host, listens.host, bound):
        return
    line = f"{begin} at {sought}, but it listens on {listens.host}: {_ADVICE}. Without a proxy, "
    if sought.host.lower() == "localhost" or _is_address(sought.host):
        _report_host(sought, bound, line, say)
        return
    with threads_without_signals():
        begin_thread(
            lambda: _report_host(sought, bound, line, say),
            f"looks up {sought.host}",  # as a thread of dialing.py does
            lambda error: say(f"[!] {name} can't tell whether {sought} is itself: {error!r}"),
        )


def _report_host(sought: Address, bound: str, line: str, say: Callable[[str], None]) -> None:
    addresses = _addresses_of(sought.host)
    if bound in addresses:
        return
    if not addresses and not is_loopback(bound):
        return  # a name that is known elsewhere, such as a load balancer's
    option = "" if addresses and all(map(is_loopback, addresses)) else " --open-to-network"
    advice = f"start it with --host {sought.host}{option}"
    if not any(map(_is_here, addresses)):
        advice = (
            f"{sought.host} is not an address of this machine: correct it there, or start the node "
            "with --host 0.0.0.0 --open-to-network"
        )
    say(line + advice)


def _is_plain(sought: str, host: str, bound: str) -> bool:
    """Whether the hosts agree without a look-up."""
    return (
        sought.lower() == host.lower()
        or sought in EVERYWHERE  # not an address to reach; it means this machine
        or ipaddress.ip_address(bound.partition("%")[0]).is_unspecified
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _addresses_of(host: str) -> set[str]:
    """Return the IP addresses of a host; none if its name is not known here."""
    with contextlib.suppress(OSError, UnicodeError):
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return {str(info[4][0]) for info in infos}
    return set()


def _is_here(address: str) -> bool:
    """Whether this machine has the address: then a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return True
    return False
