"""Conversation states at hand, so that a busy chat is not read from the file again and again."""

from typing import Final

_ENTRY_BYTES: Final = 200  # of key, scope and dict entry, about


class RecentStates:
    """A least-recently-used cache of (key, scope) -> state, bounded in bytes. None means: known to have none."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._states: dict[tuple[str, str], bytes | None] = {}  # least recently used first

    def __contains__(self, name: tuple[str, str]) -> bool:
        return name in self._states

    def get(self, name: tuple[str, str]) -> bytes | None:
        """Return a state that is contained."""
        state = self._states[name] = self._states.pop(name)
        return state

    def put(self, name: tuple[str, str], state: bytes | None) -> None:
        """Remember a state; drop what was not used for longest if it gets too much."""
        if name in self._states:
            self._bytes -= _ENTRY_BYTES + len(self._states.pop(name) or b"")
        self._states[name] = state
        self._bytes += _ENTRY_BYTES + len(state or b"")
        while self._bytes > self._bytes_max:
            self._bytes -= _ENTRY_BYTES + len(self._states.pop(next(iter(self._states))) or b"")
