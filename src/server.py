"""A node as a program: `python3 src/server.py s1 10000`, from arguments to exit status."""

from __future__ import annotations

if __name__ == "__main__":  # first, since the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import argparse
import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from raftline.access.secret import PeerAuth
from raftline.access.tls import Tls
from raftline.common import config
from raftline.common.address import Address
from raftline.common.arguments import EXIT_USAGE, Parser
from raftline.common.config import PACES, ConfigError, Configuration, PortRefused
from raftline.common.process import allocator, signals
from raftline.common.process.console import Console, open_closed_streams
from raftline.common.process.quiet_exit import EXIT_INTERRUPTED
from raftline.common.process.signals import Interrupts, raised, threads_without_signals
from raftline.net.asking import OwnTls
from raftline.net.connections.listener import Listener
from raftline.net.peers.reachability import report_reachability
from raftline.node.program import boot, cpu_affinity, joining, settings
from raftline.node.program.joining import advertised, begin_to_join
from raftline.node.program.memory import Shares
from raftline.node.program.node_server import Server
from raftline.node.program.service import Service
from raftline.node.program.startup import Startup, check_member
from raftline.storage.disk import EXIT_SYSTEM, StorageError, exit_status_of
from raftline.wire.commands.parsing import ReadSettings
from raftline.wire.limits import HTTP_CONNECTIONS

STACK_BYTES = 512 << 10  # there is a thread per connection, so there may be thousands
if sys.version_info < (3, 11) or (3, 12) < sys.version_info < (3, 14):
    # In 3.10 each call takes stack of C, and an entry of an extension may nest 2,000. From 3.12 on,
    # Python counts calls of C functions, and JSON of 10,000 brackets may use 1.5 MiB of stack.
    STACK_BYTES = 4 << 20  # address space; only the part that a thread has used takes memory
NO_THREAD = "can't start new thread"  # Python's message
MORE_THREADS = (
    "raise the limit of its user (ulimit -u) or its container (pids.max), or free some memory"
)


def main(
    argv: Sequence[str] | None = None,
    *,
    parser_of: Callable[[], Parser] = boot.parser,
    console_of: Callable[..., Console] = Console,
    server_of: Callable[[argparse.Namespace], Callable[..., Server]] = lambda arguments: Server,
) -> int:
    """Run one node. Return 0 after a clean stop, 2 for wrong arguments or a port in use, 3 for
    files that it must not start from, 4 if its disk failed, 70 if an invariant broke, 71 if the
    system had no thread or no descriptor for the start.

    With `parser_of`, `console_of` and `server_of`, another program can add arguments, and use its
    own console and server, as the course's node does. `server_of` may raise ConfigError for
    arguments that do not fit together.
    """
    open_closed_streams()
    loaded = settings.read(parser_of(), argv, os.environ)
    arguments = loaded.arguments
    if arguments.print_config:
        print(*loaded.lines(), sep="\n")
        return 0
    threading.stack_size(STACK_BYTES)
    again = functools.partial(settings.load, parser_of(), argv, os.environ)
    try:
        with threads_without_signals():
            stamp = local_time if arguments.log_times else None
            console = console_of(sys.stdout, arguments.verbose, stamp=stamp)
        return _run(Service(loaded, again, console, local_time), console, server_of)
    except RuntimeError as error:
        if str(error) != NO_THREAD:
            raise
        print(f"[!] {NO_THREAD}, so the node did not start; {MORE_THREADS}", file=sys.stderr)
        return EXIT_SYSTEM


def local_time() -> str:
    """Return the time of day for the console (--log-times), with its offset from UTC:
    2026-01-31T12:00:00.000+01:00. No decision depends on it."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _run(
    service: Service,
    console: Console,
    server_of: Callable[[argparse.Namespace], Callable[..., Server]],
) -> int:
    """Serve, or print why that is impossible. Return the exit status."""
    try:
        with raised(ending=()):  # the node handles signals itself
            return _boot(service, console, server_of)
    except (ConfigError, PortRefused) as error:
        return _refuse(service, console, str(error), exit_status_of(error, EXIT_USAGE))
    except StorageError as error:
        return _refuse(service, console, str(error), exit_status_of(error))
    except OSError as error:
        return _refuse(service, console, config.complaint(error), exit_status_of(error))
    except KeyboardInterrupt:  # before the node existed
        return EXIT_INTERRUPTED
    finally:
        console.close()


def _refuse(service: Service, console: Console, message: str, status: int) -> int:
    console.close()
    print(*service.lines_of(f"[!] {message}"), sep="\n", file=sys.stderr)
    return status


def _boot(
    service: Service,
    console: Console,
    server_of: Callable[[argparse.Namespace], Callable[..., Server]],
) -> int:
    """Read the configuration, take the port, recover the files, and serve."""
    allocator.give_back_soon()
    arguments = service.arguments
    make_server = server_of(arguments)
    peer_auth, tls = boot.access_settings(arguments).proofs()
    shares = boot.shares(arguments)
    port, configuration = boot.start_settings(arguments)
    console.say(str(configuration.path))
    with contextlib.ExitStack() as stack:
        stack.callback(signals.unbound)  # last
        start = stack.enter_context(contextlib.ExitStack())
        if configuration.added:
            start.callback(joining.withdraw, configuration)
        listener = stack.enter_context(contextlib.closing(_listening(arguments, port, shares)))
        listed = configuration.members.get(arguments.name)
        stack.enter_context(contextlib.closing(service)).open_door(listed)
        interrupts = stack.enter_context(contextlib.closing(Interrupts()))
        with threads_without_signals():
            signals.end_with_starter(interrupts.stop)
        server = _server_of(arguments, configuration, console, make_server, peer_auth, tls, shares)
        server.recover()
        _report_place(arguments, port, configuration, server, listener, console.say)
        allocator.collect_seldom()  # the recovered state stays
        service.attach(server, interrupts)
        where = (arguments.host, port)
        console.say(f"[*] Server started on {where} with timeout {_timeout_s(server):.1f} seconds")
        for line in shares.lines(server.name, listener.connections_max):
            console.say(line)
        with threads_without_signals():
            if arguments.join:
                _join(arguments, port, configuration, tls, server, console.say)
        chooser = cpu_affinity.core_chooser() if arguments.cores == "one" else None
        if chooser is not None:
            server.rest = chooser.rest
        server.begin(listener)
        start.pop_all()  # the node is up, so its line in the configuration stays
        service.began(server)
        return server.wait()


def _timeout_s(server: Server) -> float:
    """Return the election timeout. A node that need not wait stands at once, and has the shortest
    one from then on."""
    view = server.node.view
    return max(view.election_at_ms - view.now_ms, view.options.election_timeout_ms) / 1000


def _listening(arguments: argparse.Namespace, port: int, shares: Shares) -> Listener:
    """Take the port, with room for as many connections as the arguments and the system allow."""
    return Listener(
        arguments.host,
        port,
        shares.connections,
        arguments.io,
        shares.half_lines_bytes,
        other_files=0 if arguments.http is None else HTTP_CONNECTIONS,
    )


def _join(
    arguments: argparse.Namespace,
    port: int,
    configuration: Configuration,
    tls: Tls | None,
    server: Server,
    say: Callable[[str], None],
) -> None:
    """Start asking the cluster to add this node, with the node's own TLS."""
    mine = advertised(server.name, arguments.host, port, configuration, arguments.advertise)
    own = OwnTls(tls) if tls is not None else None
    begin_to_join(server.name, mine, arguments.join, own, server.node, server.foreigners, say)


def _report_place(
    arguments: argparse.Namespace,
    port: int,
    configuration: Configuration,
    server: Server,
    listener: Listener,
    say: Callable[[str], None],
) -> None:
    """Report the node's place in its cluster, whether others reach it, and what they may do."""
    view = server.node.view
    place = check_member(view, configuration)
    for note in (*place, *boot.access_settings(arguments).warnings()):
        say(note)
    report_reachability(
        server.name,
        Address(arguments.host, port),
        configuration,
        view.membership.addresses,
        listener.bound,
        say,
        advertised=arguments.advertise,
    )


def _server_of(
    arguments: argparse.Namespace,
    configuration: Configuration,
    console: Console,
    make_server: Callable[..., Server],
    peer_auth: PeerAuth,
    tls: Tls | None,
    shares: Shares,
) -> Server:
    """Return the node for the arguments, not started yet."""
    settings = boot.access_settings(arguments)
    startup = Startup(
        arguments.name,
        configuration,
        console.say,
        joins=bool(arguments.join),
        never_ran=arguments.new,
        is_private=settings.is_protected,
        floor=arguments.floor,
    )
    return make_server(
        startup,
        PACES[arguments.pace],
        console,
        readings=ReadSettings(arguments.reads, arguments.follower_reads),
        compact_bytes=arguments.compact_at,
        history=(arguments.history_events, arguments.history_bytes),
        watches_max=shares.watches,
        max_bytes=arguments.max_bytes,
        course_console=arguments.course_console,
        record=arguments.record,
        access=settings.access(),
        peer_auth=peer_auth,
        tls=tls,
    )


if __name__ == "__main__":
    raise SystemExit(main())
