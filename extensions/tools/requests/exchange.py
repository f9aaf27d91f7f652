"""`raftline export` and `raftline import`: keys, values and times to live as lines of JSON.

    {"key": "a", "value": "1", "ttl": 59.5}
    {"key_base64": "gA==", "value_base64": "/w=="}

A key or value that is not UTF-8 is in base64. Without `ttl` a key stays.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import stat
import sys
from base64 import b64decode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from raftline.clients.calls.calls import lease_ms
from raftline.clients.calls.pipeline import Pending
from raftline.clients.calls.transaction import sets
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.address_options import by_address
from raftline.clients.connections.node_connection import ClientError
from raftline.clients.kv.kv import KV
from raftline.clients.terminal.exit_status import exit_status_of
from raftline.common.arguments import as_number
from raftline.common.config import ConfigError, complaint
from raftline.common.errors import RaftlineError
from raftline.wire.limits import KEY_BYTES, VALUE_BYTES
from raftline.wire.refusal import error
from raftline.wire.replies.replies import RequestOutcome, base64_of, is_text

from ..asking import explain
from ..asking_options import add_asking_options, add_quiet, clients_of
from ..progress_bar import Bar

if TYPE_CHECKING:
    from raftline.common.arguments import Commands

STREAM = "-"  # standard input or output
BYTES_MAX = 4 << 20  # of lines whose keys are in flight together
LINE_BYTES = 8 * (KEY_BYTES + VALUE_BYTES)  # more than any valid line has


class ExchangeRow(NamedTuple):
    """A key with its value and its time to live in seconds; None: it stays."""

    key: str
    value: str
    ttl: float | None


class BadLine(ValueError):
    """A line that is not a row. The message says why."""


def add_commands(commands: Commands) -> None:
    """Add `export` and `import` to the command line."""
    exports = commands.add_parser(
        "export",
        help="write the keys as lines of JSON",
        description="Write each key, value and time to live as a line of JSON. A thousand keys "
        "at a time show one moment. Exit code 0: done; 2: usage; 3: no leader; 5: refused or "
        "unreachable; 6: login; 8: TLS; 74: the file can't be written.",
    )
    exports.add_argument("file", metavar="FILE", nargs="?", default=STREAM, help="a new file")
    exports.add_argument("--prefix", metavar="P", help="only the keys that begin with P")
    exports.add_argument("--resume", action="store_true", help="continue after the last line")
    add_asking_options(exports, 10.0)
    add_quiet(exports)
    exports.set_defaults(carry_out=_export)
    imports = commands.add_parser(
        "import",
        help="set keys from lines of JSON",
        description="Set the keys of a file of `raftline export`; other keys stay. Exit code 0: "
        "done; 2: usage, or a broken line; 3: no leader; 4: outcome unknown; 5: refused or "
        "unreachable; 6: login; 8: TLS.",
    )
    imports.add_argument("file", metavar="FILE", nargs="?", default=STREAM, help="- is stdin")
    imports.add_argument(
        "--from", dest="first", type=as_number("number of a line", 1), default=1, metavar="LINE",
        help="begin with this line",
    )  # fmt: skip
    add_asking_options(imports, 10.0)
    add_quiet(imports)
    imports.set_defaults(carry_out=_import)


# --- lines -------------------------------------------------------------------------------------


def format_row(row: ExchangeRow) -> bytes:
    fields: dict[str, Any] = {}
    for name, text in (("key", row.key), ("value", row.value)):
        if is_text(text):
            fields[name] = text
        else:
            fields[f"{name}_base64"] = base64_of(text)
    if row.ttl is not None:
        fields["ttl"] = row.ttl
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def read_row(line: bytes) -> ExchangeRow:
    """Return the row of a line. Raises BadLine."""
    try:
        fields = json.loads(line.decode(), object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise BadLine("it is not JSON") from None
    if not isinstance(fields, dict):
        raise BadLine("it is not a JSON object")
    row = ExchangeRow(
        _text(fields, "key", KEY_BYTES), _text(fields, "value", VALUE_BYTES), _ttl(fields)
    )
    if fields:
        raise BadLine(f"it has an unknown or a second field, {next(iter(fields))!r}")
    if not row.key:
        raise BadLine("its key is empty")
    return row


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field is there twice")
    return fields


def _text(fields: dict[str, Any], name: str, bytes_max: int) -> str:
    """Take a key or a value out of the fields."""
    coded = name not in fields
    text = fields.pop(f"{name}_base64" if coded else name, None)
    if not isinstance(text, str):
        raise BadLine(f"it has no text as {name!r}")
    if coded:
        try:
            text = b64decode(text, validate=True).decode("utf-8", "surrogateescape")
        except ValueError:
            raise BadLine(f"{name}_base64 is not base64") from None
    elif any("\ud800" <= character <= "\udfff" for character in text):
        raise BadLine(f"its {name} has half a surrogate pair; use {name}_base64")
    if len(text.encode("utf-8", "surrogateescape")) > bytes_max:
        raise BadLine(f"its {name} has more than {bytes_max} bytes")
    return text


def _ttl(fields: dict[str, Any]) -> float | None:
    ttl: float | None = fields.pop("ttl", None)
    if ttl is not None:
        try:
            lease_ms(ttl)
        except (TypeError, ValueError, OverflowError) as problem:
            why = str(problem).removesuffix("; nothing was sent")
            raise BadLine(f"its ttl is not a time: {why}") from None
    return ttl


# --- export ------------------------------------------------------------------------------------


def _export(options: argparse.Namespace) -> int:
    if options.file == STREAM and options.resume:
        raise ConfigError("--resume continues a file; name it")
    clients = clients_of(options)
    try:
        with _output(options) as (output, after), KV(clients, TEXT) as kv:
            count = export(kv, output, options.prefix, after)
            output.flush()
    except BadLine as problem:
        raise ConfigError(f"{options.file}: its last line can't be resumed: {problem}") from None
    except RaftlineError as problem:
        again = f" To continue: raftline export {options.file} --resume"
        return _failed(problem, clients, again * (options.file != STREAM))
    if not options.quiet:
        print(f"[*] {count:,} keys exported", file=sys.stderr)
    return RequestOutcome.DONE


@contextlib.contextmanager
def _output(options: argparse.Namespace) -> Iterator[tuple[BinaryIO, str]]:
    """Open the output, and yield it with the key after which the export continues."""
    if options.file == STREAM:
        yield sys.stdout.buffer, ""
        return
    flags = os.O_RDWR if options.resume else os.O_RDWR | os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(options.file, flags, 0o600)
    except OSError as problem:
        raise ConfigError(complaint(problem)) from None
    with open(descriptor, "r+b") as output:
        yield output, _last_key(output)


def _last_key(output: BinaryIO) -> str:
    """Cut off a line without an end. Return the key of the last line."""
    end, last = 0, b""
    for line in output:
        if line.endswith(b"\n"):
            end, last = end + len(line), line
    output.truncate(end)
    output.seek(end)
    return read_row(last).key if last else ""


def export(kv: KV[str], output: BinaryIO, prefix: str | None = None, after: str = "") -> int:
    """Write the rows of all keys after this one; return their number."""
    count, is_last = 0, False
    while not is_last:
        page = kv._ask(kv._calls.page(prefix, after))
        for row in _with_times(kv, page.pairs):
            output.write(format_row(row))
            count += 1
        is_last, after = page.is_last, page.after
    return count


def _with_times(kv: KV[str], pairs: list[tuple[str, str]]) -> Iterator[ExchangeRow]:
    """Yield the rows of these pairs, without the keys that are gone by now."""
    times: list[Pending[float | None]] = []
    with contextlib.suppress(KeyError), kv.pipeline() as batch:
        times = [batch.ttl(key) for key, _ in pairs]
    for (key, value), pending in zip(pairs, times, strict=True):
        with contextlib.suppress(KeyError):
            ttl = pending.result()
            if ttl is None or ttl > 0:
                yield ExchangeRow(key, value, ttl)


# --- import ------------------------------------------------------------------------------------


class Stopped(Exception):
    """An import that ended at a line. Nothing from that line on is certain to be there."""

    def __init__(self, line: int, why: Exception) -> None:
        super().__init__(line)
        self.line = line
        self.why = why


def _import(options: argparse.Namespace) -> int:
    clients = clients_of(options)
    try:
        with _input(options.file) as source, KV(clients, TEXT) as kv, _bar(source):
            count = import_rows(kv, source, options.first)
    except Stopped as stop:
        again = f"To continue: raftline import {options.file} --from {stop.line}"
        if isinstance(stop.why, BadLine):
            before = "The lines before it were imported, and nothing after it"
            print(error(f"line {stop.line}: {stop.why}. {before}. {again}"), file=sys.stderr)
            return RequestOutcome.USAGE
        hint = f" The lines before line {stop.line} were imported. {again}"
        return _failed(stop.why, clients, hint)
    if not options.quiet:
        print(f"[*] {count:,} keys imported", file=sys.stderr)
    return RequestOutcome.DONE


def _input(file: str) -> BinaryIO:
    if file == STREAM:
        return sys.stdin.buffer
    try:
        return Path(file).open("rb")
    except OSError as problem:
        raise ConfigError(complaint(problem)) from None


def _bar(source: BinaryIO) -> contextlib.AbstractContextManager[Any]:
    """Return the progress bar of a file; other inputs have no known size."""
    facts = os.fstat(source.fileno())
    if not stat.S_ISREG(facts.st_mode):
        return contextlib.nullcontext()
    return Bar("import", facts.st_size, source.tell)


def import_rows(kv: KV[str], source: BinaryIO, first: int = 1) -> int:
    """Set the keys of all lines from `first` on; return their number.

    Raises:
        Stopped: a line is broken, or keys were not set.
    """
    rows: dict[str, tuple[int, ExchangeRow]] = {}  # by key; the last line of a key counts
    count = size = 0
    for number, line in enumerate(_lines(source), 1):
        if number < first or not line.strip():
            continue
        try:
            row = read_row(line)
        except BadLine as problem:
            _set(kv, rows.values())
            raise Stopped(number, problem) from None
        rows.pop(row.key, None)
        rows[row.key] = number, row
        size, count = size + len(line), count + 1
        if size >= BYTES_MAX:
            _set(kv, rows.values())
            rows, size = {}, 0
    _set(kv, rows.values())
    return count


def _lines(source: BinaryIO) -> Iterator[bytes]:
    while line := source.readline(LINE_BYTES):
        yield line


def _set(kv: KV[str], rows: Iterable[tuple[int, ExchangeRow]]) -> None:
    """Set keys, all in flight together. Raises Stopped with the first line that may be missing."""
    rows = list(rows)
    plans = sets(TEXT, [row for _, row in rows])
    numbers = iter([number for number, _ in rows])
    pipeline = kv.pipeline()
    firsts: list[tuple[int, Pending[Any]]] = []
    try:
        with pipeline:
            for plan in plans:
                lines = [next(numbers) for _ in plan.branches["then"]]
                firsts.append((lines[0], pipeline._add(plan.call)))
    except RaftlineError as problem:
        for line, pending in firsts:
            try:
                pending.result()
            except RaftlineError as failure:
                raise Stopped(line, failure) from None
            except RuntimeError:
                break
        raise Stopped(firsts[0][0], problem) from None


def _failed(problem: Exception, clients: Any, hint: str) -> int:
    if not isinstance(problem, ClientError):
        print(error(f"{problem}.{hint}"), file=sys.stderr)
        return RequestOutcome.REFUSED
    failure = explain(by_address(clients.addresses.known), clients.access, problem)
    print(error(failure.at_the_shell + hint), file=sys.stderr)
    return exit_status_of(failure)
