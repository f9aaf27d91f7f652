"""The settings of a node, from arguments, `RAFTLINE_SERVER_*` variables and raftline.toml.

The parser of a node's arguments (boot.py) is their only table: each of its options is a setting of
the same name, except options that must be `Typed` by hand.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...common.arguments import Parser, Typed
from ...common.config import ConfigError, complaint, text_of

FILE_NAME = "raftline.toml"
OURS = "RAFTLINE_"
PREFIX = f"{OURS}SERVER_"  # clients' variables don't have it: both can be in one environment
# Other variables that are read from the environment, so they are not reported as unknown.
NOT_SETTINGS = (
    "DEBUG", "LIFELINE", "PURE", "COMPILE", "OPTIMIZE", "TOKEN", "KEY", "KIND", "INDEX",
    "USER", "PASSWORD_FILE", "TLS_CA", "TLS_CERT", "TLS_KEY", "TLS_SERVER_NAME",
)  # fmt: skip
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
SECRET_WORDS = ("secret", "password", "key", "token")  # in the names of settings for secret files


@dataclass(frozen=True)
class Settings:
    """All settings of a node, and the source of each, by name."""

    arguments: argparse.Namespace
    actions: Mapping[str, argparse.Action]
    sources: Mapping[str, str]
    unknown: Sequence[str]  # variables that look like settings, but are not

    def lines(self) -> Iterator[str]:
        """Yield the lines of `--print-config`: a raftline.toml of all settings. A path to a missing
        file is not shown if it may be the secret itself."""
        for name, action in self.actions.items():
            value, source = getattr(self.arguments, action.dest), self.sources[name]
            if value is None or value == []:
                yield f"# {name} is not set"
                continue
            text = _formatted(value)
            is_secret = action.metavar == "FILE" and any(word in name for word in SECRET_WORDS)
            if is_secret and not os.path.exists(str(value)):
                text = '"(not shown: no such file)"'
            yield f"{f'{name} = {text}':<40} # {source}"


def read(parser: Parser, argv: Sequence[str] | None, environment: Mapping[str, str]) -> Settings:
    """Return the settings of a node. An invalid setting ends the process with a one-line
    message."""
    try:
        return load(parser, argv, environment)
    except ConfigError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(complaint(error))


def load(parser: Parser, argv: Sequence[str] | None, environment: Mapping[str, str]) -> Settings:
    """Return the settings of a node.

    Raises:
        ConfigError, OSError: a setting of the environment or of the file is wrong.
    """
    actions = {name_of(action): action for action in _settable(parser)}
    defaults = {name: action.default for name, action in actions.items()}
    required = [action for action in actions.values() if action.required]
    for action in actions.values():  # so that the result has only the typed arguments
        action.default, action.required = argparse.SUPPRESS, False
    arguments = parser.parse_args(argv)
    for name, action in actions.items():
        action.default = defaults[name]
    typed = {name: action for name, action in actions.items() if action.dest in arguments}
    sources = {
        name: f"argument {_option(action)}" if name in typed else "default"
        for name, action in actions.items()
    }
    read = _Sources(actions, arguments, sources)
    read.take_environment(environment)
    read.take_file(_file(arguments, environment))
    for name, action in actions.items():
        if action.dest not in arguments:
            setattr(arguments, action.dest, defaults[name])
    arguments.variables = {
        action.dest: variable_of(name)
        for name, action in actions.items()
        if sources[name].startswith("environment ")
    }
    missing = [str(a.metavar) for a in required if getattr(arguments, a.dest) is None]
    if missing and not arguments.print_config:
        raise ConfigError(f"the following arguments are required: {', '.join(missing)}")
    return Settings(arguments, actions, sources, read.unknown)


def name_of(action: argparse.Action) -> str:
    """Return the name of a setting: the name of its option, without the dashes."""
    return action.option_strings[-1].lstrip("-") if action.option_strings else action.dest


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.replace("-", "_").upper()


def _settable(parser: Parser) -> list[argparse.Action]:
    return [
        action
        for action in parser._actions
        if not isinstance(action, Typed) and action.default is not argparse.SUPPRESS
        if action.dest != "config"
    ]


def _option(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar)


class _Sources:
    """Adds the settings in the environment and in the file to the typed arguments."""

    def __init__(
        self,
        actions: Mapping[str, argparse.Action],
        arguments: argparse.Namespace,
        sources: dict[str, str],
    ) -> None:
        self._actions = actions
        self._arguments = arguments
        self._sources = sources
        self.unknown: list[str] = []

    def take_environment(self, environment: Mapping[str, str]) -> None:
        """Take the variables; an empty one counts as absent.

        Raises:
            ConfigError: a variable has a wrong value.
        """
        names = {variable_of(name): name for name in self._actions}
        for variable, text in environment.items():
            if variable in names and text:
                self._take(names[variable], text, variable, f"environment {variable}")
            elif self._is_unknown(variable, names):
                self.unknown.append(variable)

    @staticmethod
    def _is_unknown(variable: str, names: Mapping[str, str]) -> bool:
        is_ours = variable.startswith(OURS) and variable not in (*names, variable_of("config"))
        return is_ours and variable.removeprefix(OURS) not in NOT_SETTINGS

    def take_file(self, path: Path | None) -> None:
        """Take the settings of a raftline.toml: first this node's table, then the common ones.

        Raises:
            ConfigError: the file can't be used, or has an unknown setting.
        """
        if path is None:
            return
        content = _toml(path)
        for_all = {key: value for key, value in content.items() if not isinstance(value, dict)}
        if "name" in for_all:
            self._take("name", for_all.pop("name"), f"{path}: name", str(path))
        own = content.get(str(getattr(self._arguments, "name", "")), {})
        for where, table in ((f"{path} [{self._name}]", own), (str(path), for_all)):
            for key, value in table.items() if isinstance(table, dict) else ():
                if key not in self._actions:
                    raise ConfigError(_no_setting(f"{where}: {key}", key, self._actions))
                self._take(key, value, f"{where}: {key}", where)

    @property
    def _name(self) -> str:
        return str(getattr(self._arguments, "name", ""))

    def _take(self, name: str, raw: object, where: str, source: str) -> None:
        """Take a setting, unless it is already set. A wrong value is refused in any case."""
        action = self._actions[name]
        try:
            value = _value(action, raw)
        except (argparse.ArgumentTypeError, ValueError) as error:
            raise ConfigError(f"{where}: {error}") from None
        if action.dest not in self._arguments:
            setattr(self._arguments, action.dest, value)
            self._sources[name] = source


def _value(action: argparse.Action, raw: object) -> object:
    """Return `raw` as a value of this setting. Raises ValueError, as does its type."""
    if action.nargs == 0:
        return _truth(raw)
    if isinstance(action.default, list):
        words = raw if isinstance(raw, list) else str(raw).split(",")
        return [_one(action, word) for word in words]
    if action.nargs == "?" and str(raw).lower() in ("true", "false"):
        return action.const if _truth(raw) else action.default
    return _one(action, raw)


def _one(action: argparse.Action, raw: object) -> object:
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise ValueError(f"{_formatted(raw)} is not a valid value: use a text or a number")
    text = str(raw).strip()
    value = action.type(text) if callable(action.type) else text
    if action.choices is not None and value not in action.choices:
        raise ValueError(f"{text!r} is not one of: {', '.join(map(str, action.choices))}")
    return value


def _truth(raw: object) -> bool:
    word = str(raw).lower()
    if word not in TRUE + FALSE:
        raise ValueError(f"{_formatted(raw)} is neither true nor false")
    return word in TRUE


def _no_setting(where: str, key: str, actions: Mapping[str, object]) -> str:
    import difflib  # needed only after a typo

    near = difflib.get_close_matches(key.replace("_", "-"), actions, 1)
    hint = f"did you mean {near[0]}?" if near else "raftline server --print-config lists them"
    return f"{where} is not a setting that is allowed there; {hint}"


def _file(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Path | None:
    """Return the raftline.toml to read: the file of `--config`, or otherwise the file in the node's
    folder or, without `--dir`, in the current folder. Return None if there is no such file."""
    config = arguments.config or environment.get(variable_of("config"))
    if config:
        if not os.path.isfile(config):
            raise ConfigError(f"{config}: there is no such file of settings")
        return Path(config)
    path = Path(getattr(arguments, "dir", None) or "") / FILE_NAME
    return path if os.path.isfile(path) else None  # the node reports an unreadable folder later


def _toml(path: Path) -> dict[str, object]:
    """Return the content of a file of settings. Raises ConfigError, naming file and line."""
    for module in ("tomllib", "tomli"):  # by name: Python 3.10 has no tomllib
        try:
            reader = importlib.import_module(module)
        except ImportError:
            continue
        try:
            content: dict[str, object] = reader.loads(text_of(path))
        except ValueError as error:
            raise ConfigError(f"{path}: is not valid TOML: {error}") from None
        return content
    raise ConfigError(
        f"{path}: this Python can't read TOML. Use Python 3.11 or newer, pip install tomli, or "
        f"set {PREFIX}… in the environment"
    )


def _formatted(value: object) -> str:
    """Return a value in TOML's notation."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_formatted, value))}]"
    return str(value) if type(value) is int else json.dumps(str(value), ensure_ascii=False)
