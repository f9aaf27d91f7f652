"""The commands of Redis about a connection and its node. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from raftline.wire.protocol import shown

from .keys import Pattern
from .limits import REDIS_NAME_BYTES, REDIS_PATTERNS
from .notifications import unsubscribe_all
from .programs import (
    CommandContext,
    CommandRefused,
    Program,
    RedisAsk,
    RedisCall,
    Run,
    Steps,
    choose,
    integer,
)
from .replies import OK, SYNTAX, Failure, Pairs, Simple, Value

VERSION: Final = "7.0.0"  # of Redis, whose commands these are
DEFAULT_USER: Final = "default"
# What clients and tools look at. Nothing here can be changed.
_CONFIG: Final[Mapping[str, str]] = {
    "appendfsync": "always",
    "appendonly": "yes",
    "databases": "1",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "notify-keyspace-events": "AKE",
    "save": "",
    "timeout": "0",
}
# All notifications are always on, and a client may ask for some of them.
_IGNORED: Final = ("notify-keyspace-events",)


def facts() -> Steps[dict[str, Any]]:
    """Return the facts of the node's `status`, as far as the user may see them."""
    (reply,) = yield RedisAsk(["status"], "status")
    result: dict[str, Any] = json.loads(reply.partition(": ")[2])
    return result


def _ping(context: CommandContext, words: list[str]) -> Value:
    if len(words) > 2:
        raise CommandRefused("ERR wrong number of arguments for 'ping' command")
    context.session.was_served = True
    if context.session.is_subscribed:
        return ["pong", words[1] if len(words) > 1 else ""]
    return words[1] if len(words) > 1 else Simple("PONG")


def _echo(context: CommandContext, words: list[str]) -> Value:
    return words[1]


def _select(context: CommandContext, words: list[str]) -> Value:
    if integer(words[1], Failure("ERR invalid DB index")) != 0:
        raise CommandRefused("ERR DB index is out of range")
    return OK


def _quit(context: CommandContext, words: list[str]) -> Value:
    context.session.ends = True
    return OK


def _reset(context: CommandContext, words: list[str]) -> Program:
    session = context.session
    yield from unsubscribe_all(context)
    session.end_transaction()
    session.version, session.name, session.is_readonly = 2, "", False
    return Simple("RESET")


def _readonly(context: CommandContext, words: list[str]) -> Value:
    context.session.is_readonly = words[0].upper() == "READONLY"
    return OK


def _time(context: CommandContext, words: list[str]) -> Value:
    seconds, ms = divmod(context.node.now_ms(), 1000)
    return [str(seconds), str(1000 * ms)]


# --- the login -----------------------------------------------------------------------------------


def is_login(call: RedisCall) -> bool:
    """Whether a call may log in."""
    return call.name == "AUTH" or (call.name == "HELLO" and len(call.words) > 2)


def _auth(context: CommandContext, words: list[str]) -> Program:
    """AUTH [USER] PASSWORD"""
    if len(words) > 3:
        raise CommandRefused(SYNTAX)
    user, password = words[1:] if len(words) > 2 else (DEFAULT_USER, words[1])
    yield from _login(user, password)
    return OK


def _login(user: str, password: str) -> Steps[None]:
    """Log in; a refusal ends the program."""
    yield RedisAsk([f"login {user} {password}"], "login")


def _hello(context: CommandContext, words: list[str]) -> Program:
    """HELLO [2|3 [AUTH USER PASSWORD] [SETNAME NAME]]"""
    session, version, place = context.session, context.session.version, 2
    name, login = session.name, None
    if len(words) > 1:
        problem = Failure("ERR Protocol version is not an integer or out of range")
        version = integer(words[1], problem)
        if version not in (2, 3):
            raise CommandRefused("NOPROTO unsupported protocol version")
    while place < len(words):
        option = words[place].upper()
        if option == "AUTH" and place + 2 < len(words):
            login = words[place + 1 : place + 3]
            place += 3
        elif option == "SETNAME" and place + 1 < len(words):
            name = _name(words[place + 1])
            place += 2
        else:
            raise CommandRefused(f"ERR Syntax error in HELLO option '{words[place]}'")
    if login is not None:
        yield from _login(*login)
    status = yield from facts()
    session.version, session.name = version, name
    return Pairs(
        "map",
        [
            ("server", "redis"),
            ("version", VERSION),
            ("proto", version),
            ("id", session.number),
            ("mode", "cluster"),
            ("role", "master" if status["role"] == "leader" else "replica"),
            ("modules", []),
        ],
    )


# --- CLIENT --------------------------------------------------------------------------------------


def _name(text: str) -> str:
    if not all(["!" <= each <= "~" for each in text]):
        problem = "Client names cannot contain spaces, newlines or special characters."
        raise CommandRefused(f"ERR {problem}")
    if len(text) > REDIS_NAME_BYTES:
        raise CommandRefused(f"ERR Client names have at most {REDIS_NAME_BYTES} bytes.")
    return text


def _set_name(context: CommandContext, words: list[str]) -> Value:
    context.session.name = _name(words[2])
    return OK


def _set_info(context: CommandContext, words: list[str]) -> Value:
    fact = words[2].lower()
    if fact not in ("lib-name", "lib-ver"):
        raise CommandRefused(f"ERR Unrecognized option '{words[2]}'")
    context.session.facts[fact] = _name(words[3])
    return OK


def _address(text: str) -> str:
    """Return an address as Redis writes it: `127.0.0.1:6379`, `[::1]:6379`."""
    host, _, port = text.partition(" port ")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if port else "?:0"


# redis-py 5 fails without these numbers.
_NOT_COUNTED: Final = "age=0 idle=0 qbuf=0 qbuf-free=0 argv-mem=0 obl=0 oll=0 omem=0 tot-mem=0"


def _described(context: CommandContext, words: list[str]) -> Value:
    session = context.session
    address, own = map(_address, session.addresses())
    told = "".join([f" {fact}={text}" for fact, text in session.facts.items()])
    multi, watched = -1 if session.queue is None else len(session.queue), len(session.watched)
    patterns = sum([is_pattern for _, is_pattern in session.channels])
    subscribed = f"sub={len(session.channels) - patterns} psub={patterns}"
    return (
        f"id={session.number} addr={address} laddr={own} name={session.name} db=0 {subscribed}"
        f" multi={multi} watch={watched} {_NOT_COUNTED} resp={session.version}{told}\n"
    )


def _list(context: CommandContext, words: list[str]) -> Value:
    """CLIENT LIST [TYPE KIND | ID NUMBER ...]: this connection, if it is one of those."""
    match [word.upper() for word in words[2:]]:
        case []:
            is_listed = True
        case ["TYPE", kind] if kind in _KINDS:
            is_listed = kind == ("PUBSUB" if context.session.subscriptions else "NORMAL")
        case ["ID", _, *_]:
            problem = Failure("ERR Invalid client ID")
            is_listed = context.session.number in [integer(word, problem) for word in words[3:]]
        case ["TYPE", _]:
            raise CommandRefused(f"ERR Unknown client type '{shown(words[3])}'")
        case _:
            raise CommandRefused(SYNTAX)
    return _described(context, words) if is_listed else ""


_KINDS: Final = ("NORMAL", "MASTER", "REPLICA", "SLAVE", "PUBSUB")
_CLIENT: Final[Mapping[str, tuple[int, Run]]] = {
    "GETNAME": (2, lambda context, words: context.session.name or None),
    "ID": (2, lambda context, words: context.session.number),
    "INFO": (2, _described),
    "LIST": (-2, _list),
    "NO-EVICT": (3, lambda context, words: OK),
    "NO-TOUCH": (3, lambda context, words: OK),
    "SETINFO": (4, _set_info),
    "SETNAME": (3, _set_name),
}


def _client(context: CommandContext, words: list[str]) -> Program | Value:
    return choose(words, "CLIENT", _CLIENT, context)


# --- the node ------------------------------------------------------------------------------------


def _config_get(context: CommandContext, words: list[str]) -> Value:
    if len(words) - 2 > REDIS_PATTERNS:
        raise CommandRefused(f"ERR a command has at most {REDIS_PATTERNS} patterns")
    fitting: set[str] = set()
    for word in words[2:]:
        fitting.update(filter(Pattern(word.lower()).fits, _CONFIG))
    return Pairs("map", [(name, text) for name, text in _CONFIG.items() if name in fitting])


def _config_set(context: CommandContext, words: list[str]) -> Value:
    """CONFIG SET NAME VALUE ...: nothing can be changed, but to set what holds is not a mistake."""
    for name, value in zip(words[2::2], words[3::2], strict=False):
        if name.lower() not in _CONFIG:
            raise CommandRefused(
                f"ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
            )
        if name.lower() not in _IGNORED and _CONFIG[name.lower()] != value:
            raise CommandRefused(f"ERR CONFIG SET failed - can't set immutable config '{name}'")
    return OK


_CONFIGS: Final[Mapping[str, tuple[int, Run]]] = {
    "GET": (-3, _config_get),
    "SET": (-4, _config_set),
    "RESETSTAT": (2, lambda context, words: OK),
}


def _config(context: CommandContext, words: list[str]) -> Program | Value:
    return choose(words, "CONFIG", _CONFIGS, context)


def _info(context: CommandContext, words: list[str]) -> Program:
    """INFO [SECTION ...]"""
    status = yield from facts()
    leads = status["role"] == "leader"
    members, leader = status["members"], status["leader"]
    host, _, port = members.get(leader, ":0").rpartition(":")
    sections = {
        "server": {"redis_version": VERSION, "redis_mode": "cluster", "server_name": "raftline",
                   "raftline_version": status["version"], "process_id": status.get("pid", 0)},
        "clients": {"connected_clients": 1, "blocked_clients": context.node.blocked()},
        "persistence": {"loading": 0, "aof_enabled": 1},
        "stats": {"total_connections_received": 0},
        "replication": {"role": "master", "connected_slaves": len(members) - 1} if leads else
                       {"role": "slave", "master_host": host, "master_port": port,
                        "master_link_status": "up" if leader else "down", "slave_read_only": 1},
        "cluster": {"cluster_enabled": 1},
    }  # fmt: skip
    wanted = [word.lower() for word in words[1:]]
    is_all = not wanted or bool({"all", "default", "everything"} & set(wanted))
    text = ""
    for name, lines in sections.items():
        if is_all or name in wanted:
            body = "".join([f"{fact}:{value}\r\n" for fact, value in lines.items()])
            text += f"{'' if not text else chr(13) + chr(10)}# {name.capitalize()}\r\n{body}"
    return text


CONNECTION: Final[tuple[tuple[str, int, Run, str], ...]] = (
    ("PING", -1, _ping, "fast"),
    ("ECHO", 2, _echo, "fast"),
    ("HELLO", -1, _hello, "noscript loading stale fast no_auth"),
    ("AUTH", -2, _auth, "noscript loading stale fast no_auth"),
    ("SELECT", 2, _select, "loading stale fast"),
    ("QUIT", -1, _quit, "noscript loading stale fast no_auth"),
    ("RESET", 1, _reset, "noscript loading stale fast no_auth"),
    ("READONLY", 1, _readonly, "loading stale fast"),
    ("READWRITE", 1, _readonly, "loading stale fast"),
    ("TIME", 1, _time, "loading stale fast"),
    ("CLIENT", -2, _client, "noscript loading stale"),
    ("CONFIG", -2, _config, "admin noscript loading stale"),
    ("INFO", -1, _info, "loading stale"),
)
WITHOUT_LOGIN: Final = frozenset([name for name, _, _, flags in CONNECTION if "no_auth" in flags])
