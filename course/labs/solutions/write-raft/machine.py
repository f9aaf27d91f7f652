"""The state machine: a command goes in, a reply comes out; a numbered request is done once."""

from __future__ import annotations


class Machine:
    """Keys and values, and the replies to numbered requests."""

    def __init__(self) -> None:
        self._pairs: dict[str, str] = {}
        self._replies: dict[tuple[str, str], str] = {}  # by session and number

    def execute(self, command: str) -> str:
        """Carry out a command; a request that was carried out before is answered as then."""
        session, mark, rest = command.partition("@")
        if not mark:
            return self._do(command)
        name, _, number = session.partition("#")
        if (name, number) not in self._replies:
            self._replies[name, number] = self._do(rest)
        return self._replies[name, number]

    def _do(self, command: str) -> str:
        verb, _, rest = command.partition(" ")
        key, _, value = rest.partition(" ")
        if verb == "set":
            self._pairs[key] = value
            return f"SET response: {key} set to {value}"
        if verb == "delete":
            if self._pairs.pop(key, None) is None:
                return f"DELETE response, no such key: {key}"
            return f"DELETE response: {key} deleted"
        count = int(self._pairs.get(key, "0")) + 1
        self._pairs[key] = str(count)
        return f"INCR response: {count}"
