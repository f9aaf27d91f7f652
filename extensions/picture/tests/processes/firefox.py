"""Firefox for the tests of the lab page, by WebDriver BiDi: it needs no driver program."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ANSWER_S = 120.0
LISTENS = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
WAITS = "given => new Promise(done => (function () { %s })(...JSON.parse(given), done))"
RUNS = "given => (async function () { %s })(...JSON.parse(given))"
AS_JSON = "given => (%s)(given).then(found => JSON.stringify(found ?? null))"


class Firefox:
    """A browser with those methods of Selenium's that `LabPage` calls."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._number = connection, 0
        self._ask("session.new", capabilities={})
        (tab,) = self._ask("browsingContext.getTree")["contexts"]
        self._tab: str = tab["context"]

    def get(self, address: str) -> None:
        self._ask("browsingContext.navigate", context=self._tab, url=address, wait="complete")

    def execute_script(self, text: str, *values: object) -> Any:
        return self._call(RUNS % text, values)

    def execute_async_script(self, text: str, *values: object) -> Any:
        return self._call(WAITS % text, values)

    def tap(self, key: str) -> None:
        """Press a key; those without a letter have the numbers of WebDriver."""
        both = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": both}
        self._ask("input.performActions", context=self._tab, actions=[keyboard])

    def _call(self, function: str, values: tuple[object, ...]) -> Any:
        given = {"type": "string", "value": json.dumps(values)}
        called = self._ask(
            "script.callFunction",
            functionDeclaration=AS_JSON % function,
            arguments=[given],
            target={"context": self._tab},
            awaitPromise=True,
        )
        assert called["type"] == "success", called["exceptionDetails"]["text"]
        return json.loads(called["result"]["value"])

    def _ask(self, method: str, **values: object) -> dict[str, Any]:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": values}
        self._connection.send(json.dumps(asked))
        while True:
            answer: dict[str, Any] = json.loads(self._connection.recv())
            if answer.get("id") == self._number:
                assert answer["type"] == "success", answer
                result: dict[str, Any] = answer["result"]
                return result


@contextmanager
def firefox(profile: Path) -> Iterator[Firefox]:
    """Yield a Firefox without a window; skip the test where there is none."""
    websocket = pytest.importorskip("websocket", reason="the test needs websocket-client")
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("there is no Firefox (apt: firefox-esr)")
    options = ["--headless", "--no-remote", "--profile", str(profile)]
    with subprocess.Popen(
        [program, *options, "--remote-debugging-port", "0", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            found = next(filter(None, map(LISTENS.search, process.stderr)))
            threading.Thread(target=process.stderr.read, daemon=True).start()
            place = f"{found[1]}/session"
            yield Firefox(
                websocket.create_connection(place, timeout=ANSWER_S, suppress_origin=True)
            )
        finally:
            process.terminate()
