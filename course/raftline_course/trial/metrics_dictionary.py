"""The metrics dictionary of the course's simulator: the plan of a trial, and its limits.

A key may be written with spaces or with underscores. Missing keys have the values of metrics_1.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from raftline.common.process.server_process import SERVER
from raftline_course.trial import files
from raftline_course.trial.files import MetricsError

__all__ = ["Action", "Metrics", "MetricsError", "read", "understand"]

OUR_SERVER = ("raft.py", "server.py")  # the course program's name for the server's file, and ours


@dataclass(frozen=True)
class Action:
    """An action on the servers, `trigger_point` seconds after the start.

    course/docs/simulator.md explains what each category means.
    """

    category: str
    trigger_point: float
    seconds: float | None = None  # how long; None: until another action ends it
    fraction: float = 0.1  # of the lines between servers, for `drop`
    server: str = ""  # an id, "leader" or "follower"; "": the category's default


def _number(default: float, low: int, high: int) -> Any:
    """Return a dataclass field for a number with limits; it is an integer if its default is."""
    return field(default=default, metadata={"limits": (low, high, isinstance(default, int))})


@dataclass(frozen=True)
class Metrics:
    """The plan of a trial. Times are in seconds since all servers are up."""

    server_code: Path = SERVER
    maximum_get_create_fail_fraction: float = _number(0.1, 0, 1)
    appends_batched_fraction: float = _number(0.5, 0, 1)
    maximum_get_reqs_fraction: float = _number(0.5, 0, 1)
    maximum_put_reqs_fraction: float = _number(0.5, 0, 1)
    number_of_clients: int = _number(8, 1, 200)
    total_execution_time: float = _number(30.0, 1, 3600)
    servers: int = _number(5, 2, 15)  # with a single server, the leader would not be visible
    client_requests: int = _number(500, 0, 1_000_000)
    gp_ratio: float = _number(0.8, 0, 1)
    only_hb: float = _number(5.0, 0, 3600)
    stop_requests: float = _number(2.0, 0, 3600)
    max_packets: int = _number(20_000, 1, 1_000_000_000)
    actions: tuple[Action, ...] = ()
    # Not in the course's simulator:
    maximum_unanswered_fraction: float = _number(0.01, 0, 1)
    leader_tenure: float = _number(0.0, 0, 3600)  # 0: without a limit
    shared_keys: int = _number(0, 0, 100_000)  # 0: each put has its own key
    seed: int = _number(1, 0, 2**63 - 1)


@dataclass
class _MetricsReader:
    """The reader of one dictionary, which collects all errors, one a line."""

    source: str
    folder: Path
    problems: list[str] = field(default_factory=list)

    def complain(self, what: str) -> None:
        self.problems.append(f"{self.source}: {what}")

    def number(self, key: str, value: object, low: float, high: float, whole: bool) -> Any:
        """Return the number, or complain and return `low`."""
        kind = "a whole number" if whole else "a number"
        most = f"{high:,}" if isinstance(high, int) else f"{high:g}"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            self.complain(f"{key} is {_shown(value)}, not {kind} from {low:g} to {most}")
        elif not low <= value <= high:  # nan fails this, too
            self.complain(f"{key} is {_shown(value)}; it must be {kind} from {low:g} to {most}")
        else:
            return value
        return int(low) if whole else float(low)


_LIMITS: Mapping[str, tuple[float, float, bool]] = {
    each.name.replace("_", " "): each.metadata["limits"]
    for each in fields(Metrics)
    if each.metadata
}
_KEYS = ("server code", "actions", *_LIMITS)
_SECONDS, _FRACTION, _SERVER = "seconds", "fraction", "server"
# and the keys that each may have besides its trigger point
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "fail leader": (),
    "fail follower": (),
    "restart": (_SERVER,),
    "pause": (_SERVER, _SECONDS),
    "drop": (_FRACTION, _SECONDS),
    "part easy": (_SECONDS,),
    "part hard": (_SECONDS,),
    "part end": (),
}
PAUSE_S = 2.0  # if a pause gives no length


def read(path: Path) -> Metrics:
    """Return the metrics in a JSON or TOML file. Raises MetricsError, with a line for each
    problem."""
    return understand(files.read(path), str(path), path.parent)


def understand(raw: object, source: str, folder: Path) -> Metrics:
    """Return the metrics in a dictionary from `source`; paths in it are relative to `folder`.

    Raises:
        MetricsError: a key is unknown, or a value is invalid; it names all errors.
    """
    reading = _MetricsReader(source, folder)
    if not isinstance(raw, dict):
        raise MetricsError([f"{source}: holds {_shown(raw)}, not a dictionary of metrics"])
    values: dict[str, Any] = {}
    for key, value in _plain_keys(reading, raw, _KEYS).items():
        if key in _LIMITS:
            values[key] = reading.number(key, value, *_LIMITS[key])
        elif key == "server code":
            values["server_code"] = _program(reading, value)
        else:
            values["actions"] = _actions(reading, value)
    metrics = Metrics(**{key.replace(" ", "_"): value for key, value in values.items()})
    if not reading.problems:
        _check_together(reading, metrics)
    if reading.problems:
        raise MetricsError(reading.problems)
    return metrics


def _plain_keys(
    reading: _MetricsReader, raw: Mapping[str, Any], known: tuple[str, ...], where: str = ""
) -> dict[str, Any]:
    """Return the known keys, with spaces; report the others as errors."""
    plain: dict[str, Any] = {}
    for key, value in raw.items():
        name = key.replace("_", " ")
        if name not in known:
            reading.complain(f"{where}{key!r} is not a key of the metrics; {_hint(name, known)}")
        elif name in plain:
            reading.complain(f"{where}{name!r} is there twice")
        else:
            plain[name] = value
    return plain


def _program(reading: _MetricsReader, value: object) -> Path:
    if value in OUR_SERVER:
        return SERVER
    if isinstance(value, str):
        for path in (reading.folder / value, Path(value)):
            if path.is_file():
                return path.resolve()
    reading.complain(
        f"server code is {_shown(value)}; it must be 'raft.py' (raftline's own server) or the"
        " path of a program that takes NAME PORT --dir D as src/server.py does"
    )
    return SERVER


def _actions(reading: _MetricsReader, value: object) -> tuple[Action, ...]:
    if not isinstance(value, list):
        reading.complain(f"actions is {_shown(value)}, not a list")
        return ()
    actions = []
    for number, each in enumerate(value, start=1):
        action = _action(reading, f"action {number}: ", each)
        if action is not None:
            actions.append(action)
    return tuple(sorted(actions, key=lambda action: action.trigger_point))


def _action(reading: _MetricsReader, where: str, raw: object) -> Action | None:
    if not isinstance(raw, dict):
        reading.complain(
            f"{where}{_shown(raw)} is not a dictionary with category and trigger point"
        )
        return None
    if "category" not in raw:
        near = difflib.get_close_matches("category", raw, 1)
        choices = f", one of {', '.join(CATEGORIES)}"
        reading.complain(
            f"{where}it has no category{f'; is {near[0]!r} meant to be it?' if near else choices}"
        )
        return None
    category = raw["category"]
    name = category.replace("_", " ") if isinstance(category, str) else ""
    if name not in CATEGORIES:
        reading.complain(f"{where}its category is {_shown(category)}; {_hint(name, CATEGORIES)}")
        return None
    plain = _plain_keys(reading, raw, ("category", "trigger point", *CATEGORIES[name]), where)
    if "trigger point" not in plain:
        reading.complain(f"{where}{name} has no trigger point, seconds after the start")
        return None
    seconds = PAUSE_S if name == "pause" else None
    if _SECONDS in plain:
        seconds = reading.number(where + _SECONDS, plain[_SECONDS], 0.001, 3600, False)
    return Action(
        name,
        reading.number(where + "trigger point", plain["trigger point"], 0, 3600, False),
        seconds,
        reading.number(where + _FRACTION, plain.get(_FRACTION, 0.1), 0, 1, False),
        _target(reading, where, name, plain.get(_SERVER, "")),
    )


def _target(reading: _MetricsReader, where: str, category: str, value: object) -> str:
    words = ("leader", "follower") if category == "pause" else ()
    if value == "" or value in words:
        return str(value) or ("leader" if category == "pause" else "")
    if isinstance(value, str) and len(value) == 4 and value.isascii() and value.isdigit():
        return value
    also = "'leader', 'follower' or " if words else ""
    reading.complain(f"{where}server is {_shown(value)}; it must be {also}an id such as '0000'")
    return ""


def _check_together(reading: _MetricsReader, metrics: Metrics) -> None:
    """Report values that are valid separately but not together."""
    end = metrics.total_execution_time
    if metrics.only_hb + metrics.stop_requests >= end:
        reading.complain(
            f"only hb ({metrics.only_hb:g} s) and stop requests ({metrics.stop_requests:g} s)"
            f" leave nothing of total execution time ({end:g} s) for requests"
        )
    failed = partitions = 0
    for action in metrics.actions:
        failed += action.category.startswith("fail") - (action.category == "restart")
        partitions += action.category in ("part easy", "part hard")
        for problem in _problems(action, metrics, failed, partitions):
            reading.complain(f"{action.category} at {action.trigger_point:g}: {problem}")


def _problems(action: Action, metrics: Metrics, failed: int, partitions: int) -> Iterator[str]:
    """Yield the errors of an action, given the `failed` servers and `partitions` before it."""
    end = metrics.total_execution_time
    if action.trigger_point >= end:
        yield f"its trigger point is not before the end of the trial ({end:g} s)"
    if action.server.isdigit() and int(action.server) >= metrics.servers:
        yield f"there is no server {action.server}: ids are 0000 to {metrics.servers - 1:04}"
    if action.category == "restart" and failed < 0:
        yield "no server is failed by then that could be restarted"
    if action.category == "part end" and not partitions:
        yield "there is no partition before it"
    if action.category in ("part easy", "part hard") and metrics.servers < 3:
        yield "a partition needs 3 servers or more"


def _hint(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"


def _shown(value: object) -> str:
    """Return a value as in its file, shortened if it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits, or deeper, than Python shows
        return "something too long to show"
    return text if len(text) <= 60 else text[:60] + "…"
