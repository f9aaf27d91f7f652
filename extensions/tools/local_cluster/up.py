"""`raftline up`: a cluster in this terminal, from its start to its end."""

from __future__ import annotations

import argparse
import contextlib
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import FrameType, ModuleType
from typing import TYPE_CHECKING

from raftline.common import config
from raftline.common.address import Address
from raftline.common.arguments import Parser, as_number, as_port
from raftline.common.config import ConfigError, Configuration, Pace
from raftline.common.extensions import is_there
from raftline.common.process.quiet_exit import EXIT_INTERRUPTED
from raftline.common.process.signals import WAIT_S_MAX, threads_without_signals

from .. import course
from ..status import status
from ..status.status_report import verdict
from .choosing import check_local, choose, described, local_members, write_down
from .local_cluster import LocalCluster, NobodyReads, NotStarted
from .relay import Relay

if TYPE_CHECKING:
    from raftline.common.arguments import Commands

NODES_MAX = 99
UP_OPTIONS = {
    "--log-times": "the nodes print the time before each line",
    "--course-console": "the nodes print only the messages and votes of the course's figures",
}


STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
LEADER_SECONDS_MAX = {"fast": 30.0, "class": 30.0, "human": 60.0}

EXIT_ALL_DEAD = 1
EXIT_NOT_STARTED = 2


class StopAsked(BaseException):
    """Raised when SIGTERM or SIGHUP asks this process to end."""


def up(
    configuration: Configuration,
    pace: Pace,
    verbose: bool,
    client_wanted: bool,
    options: Sequence[str] = (),
    view_port: int | None = None,
) -> int:
    """Run the cluster until it is asked to stop, and return the exit code.

    The code is 0 after Ctrl-C, or if the reader of its pipe is gone; 1 if all nodes died; 2 if a
    node did not start. With a client in front, it is the client's code, or 3 if no node became
    leader. No node is left running.

    Raises:
        ConfigError: a member is not on this machine, or the options don't fit the members.
    """
    if view_port is not None:
        _viewer().check_library()
    configuration, others = local_members(configuration)
    check_local(configuration)
    program = course.program_of(options, configuration)
    relay = Relay(list(configuration.members), configuration.folder if client_wanted else None)
    cluster = LocalCluster(
        configuration, pace, verbose, relay, options, program
    )  # checks for the folder
    with asked_to_stop():
        try:
            _begin(cluster, others, view_port)
            code = (
                _with_client(cluster)
                if client_wanted
                else _until_stopped(cluster, has_view=view_port is not None)
            )
        except NotStarted as error:
            relay.say(f"[!] {error}")
            code = EXIT_NOT_STARTED
        except NobodyReads:
            code = 0
        except (StopAsked, KeyboardInterrupt):
            code = EXIT_INTERRUPTED if client_wanted else 0
        finally:
            _ignore_signals()  # until the last node has ended
            stopped = cluster.stop()
    if stopped:  # signals work again, since a stopped terminal may block this
        relay.say(f"[*] {_nodes(stopped)} stopped")
    return code


def _viewer() -> ModuleType:
    """Return the module of the view.

    Raises:
        ConfigError: this build has none.
    """
    if not is_there("picture"):
        raise ConfigError("--view: this build has no picture of a cluster")
    from raftline.picture.view import viewer

    return viewer


def _begin(cluster: LocalCluster, others: Sequence[str], view_port: int | None) -> None:
    """Start the nodes. A new configuration is written once their ports are known to be free."""
    cluster.check_ports()
    write_down(cluster.configuration)
    if others:
        cluster.relay.say(f"[*] not started: {', '.join(others)}")
    cluster.start()
    if view_port is not None:
        with threads_without_signals():
            say = partial(_say_for_view, cluster)
            _viewer().in_background(
                cluster.configuration.members, cluster.access, view_port, say, cluster.control
            )


def _say_for_view(cluster: LocalCluster, line: str) -> None:
    """Print a line of the view. The first one has the address of its page, and stays in sight."""
    if cluster.picture:
        cluster.relay.say(line)
    else:
        cluster.picture = line
        cluster.relay.keep_in_sight(line)


def _say_picture(cluster: LocalCluster) -> None:
    """Wait until a node leads, and repeat where the picture is: the lines of an election hide what
    was printed before."""
    seconds = LEADER_SECONDS_MAX[cluster.pace.name]
    cluster.wait_until_up(leader_wanted=True, deadline=time.monotonic() + seconds)
    if cluster.picture and cluster.alive:
        cluster.relay.say(cluster.picture)


def _nodes(count: int) -> str:
    return f"{count} node{'s' * (count != 1)}"


def _until_stopped(cluster: LocalCluster, *, has_view: bool) -> int:
    """Watch the nodes until none is left. A signal, or the end of the reader, raises an
    exception."""
    with threads_without_signals():
        cluster.relay.watch_reader(lambda: cluster.deaths.put(""))
    cluster.wait_until_up(leader_wanted=False, deadline=float("inf"))
    nodes = len(cluster.configuration.members)
    cluster.relay.say(
        f"[*] {_nodes(nodes)} up: {described(cluster.configuration)}; Ctrl-C stops all"
    )
    if has_view:
        _say_picture(cluster)
    while cluster.alive:
        with contextlib.suppress(queue.Empty):
            cluster.report_death(cluster.deaths.get(timeout=WAIT_S_MAX))
            if has_view:
                _say_picture(cluster)
    cluster.relay.say("[!] no node that was started here is left")
    return EXIT_ALL_DEAD


def _with_client(cluster: LocalCluster) -> int:
    """Run a client on this terminal or on piped input, and return its exit code."""
    seconds = LEADER_SECONDS_MAX[cluster.pace.name]
    nodes = cluster.wait_until_up(leader_wanted=True, deadline=time.monotonic() + seconds)
    leader = status.leader_of(nodes)
    members = cluster.configuration.members
    if leader is None or leader.answer is None:
        folder = cluster.configuration.folder
        cluster.relay.say(
            f"[!] no leader within {seconds:g} s; the nodes' output is in {folder}/*.console"
        )
        cluster.relay.say(f"[!] {verdict(nodes).line}")
        return status.EXIT_NO_LEADER
    reachable = sum(node.answer is not None for node in nodes if node.name in members)
    cluster.relay.say(
        f"[*] {'' if reachable == len(members) else f'{reachable} of '}{_nodes(len(members))} up: "
        f"{described(cluster.configuration)}, {leader.name} leads term {leader.answer['term']}"
    )
    if cluster.picture:
        cluster.relay.say(cluster.picture)
    reporter = threading.Thread(
        target=_report_deaths, args=(cluster,), name="reports deaths", daemon=True
    )
    with threads_without_signals():
        reporter.start()
    return _run_client(leader.address, cluster)


def _report_deaths(cluster: LocalCluster) -> None:
    while True:
        name = cluster.deaths.get()
        if cluster.stopping:
            return
        try:
            cluster.report_death(name)
        except NotStarted as error:  # too late to matter: the client is at work
            cluster.relay.say(f"[!] {error}")


def _run_client(address: Address, cluster: LocalCluster) -> int:
    from raftline import client

    arguments = [str(address.port), "1", "--follow", "--host", address.host]
    for other in cluster.configuration.members.values():
        if other != address:
            arguments += ["--also", str(other)]  # where to search when the leader dies
    if sys.stdin is None or not sys.stdin.isatty():
        arguments.append("--screen")
    if cluster.pace is config.HUMAN:
        arguments += ["--timeout", "60"]  # an election may take 18 s, and be repeated
    try:
        return client.main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_NOT_STARTED


@contextlib.contextmanager
def asked_to_stop() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise StopAsked in this block. Afterwards all signals are as
    before."""

    def ask(number: int, frame: FrameType | None) -> None:
        raise StopAsked

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *STOP_SIGNALS)}
    for number in STOP_SIGNALS:
        if before[number] != signal.SIG_IGN:  # `nohup raftline up` outlives its terminal
            signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, *STOP_SIGNALS):
        signal.signal(number, signal.SIG_IGN)


def add_commands(commands: Commands) -> None:
    """Add the command to the command line."""
    up = commands.add_parser(
        "up",
        help="a local cluster in this terminal",
        description="Start a local cluster. Ctrl-C stops all of it, and so does "
        "the end of a pipe's reader: exit code 0. Without -n, --dir and "
        "--base-port it is the cluster of the nearest logs/server-configuration.txt.",
    )
    count = as_number("number of nodes", 1, NODES_MAX)
    up.add_argument("-n", dest="count", type=count, metavar="N", help="nodes s1…sN (3)")
    up.add_argument("--dir", metavar="D", help="where the nodes keep their files (./logs)")
    up.add_argument("--base-port", type=as_port, metavar="P", help="the port of s1 (10000)")
    up.add_argument("--client", action="store_true", help="a client in front; all end with it")
    up.add_argument("--pace", choices=sorted(config.PACES), default="fast")
    up.add_argument("--verbose", action="store_true", help="heartbeats, too")
    _add_flags(up, UP_OPTIONS)
    up.add_argument(
        "--view",
        type=as_port,
        nargs="?",
        const=8765,
        metavar="PORT",
        help="a picture in a browser (port 8765)",
    )
    up.set_defaults(carry_out=_carry_out)


def add_course_options(commands: Commands) -> None:
    """Add the course's options for `up`. This is a separate step, since finding the course takes
    time."""
    up, options = commands.choices["up"], course.up_options()
    for option, port in course.up_ports().items():
        what = options.pop(option)
        up.add_argument(option, type=as_port, nargs="?", const=port, metavar="PORT", help=what)
    _add_flags(up, options)


def _add_flags(parser: Parser, options: Mapping[str, str]) -> None:
    for option, what in options.items():
        parser.add_argument(option, action="store_true", help=what)


def _carry_out(options: argparse.Namespace) -> int:
    configuration = choose(options.dir, options.count, options.base_port)
    all_options = {**UP_OPTIONS, **course.up_options()}
    return up(
        configuration,
        pace=config.PACES[options.pace],
        verbose=options.verbose,
        client_wanted=options.client,
        view_port=options.view,
        options=[word for option in all_options for word in _words_of(option, options)],
    )


def _words_of(option: str, options: argparse.Namespace) -> list[str]:
    """Return the arguments that pass an option of `up` on to a node; none if it was not given."""
    value = getattr(options, option[2:].replace("-", "_"))
    if value or (option == "--controller" and options.view):
        return [option] if isinstance(value, bool) else [option, str(value)]
    return []
