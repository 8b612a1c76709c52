"""Rate-limited log lines for frequent events: one line at once per lane, then one per pause with the count."""

import asyncio
from typing import Final

import structlog

from engine.model import Queue

log = structlog.get_logger(__name__)

PAUSE_S: Final = 60.0
"""Seconds between two lines of one lane and event."""

_LANES_MAX: Final = 1000
"""Lanes with lines of their own at a time; all others share one line per event and queue, without a key."""

_Line = tuple[str, Queue, str | None]


class Bursts:
    """Counts by event and lane, and logs with a pause between lines."""

    def __init__(self) -> None:
        self._since: dict[_Line, int] = {}  # events that no line has counted yet
        self._alarm: asyncio.TimerHandle | None = None

    def note(self, event: str, queue: Queue, key: str, count: int = 1) -> None:
        """Log `count` events in this lane, at once or in one line with those that follow within the pause."""
        line: _Line = (event, queue, key)
        if line not in self._since and len(self._since) >= _LANES_MAX:
            line = (event, queue, None)
        if line in self._since:
            self._since[line] += count
            return
        self._since[line] = 0
        _log(line, count)
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(PAUSE_S, self._go_on)

    def close(self) -> None:
        """Log the events that no line has counted yet."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._log_rest()

    def _go_on(self) -> None:
        self._log_rest()
        self._alarm = asyncio.get_running_loop().call_later(PAUSE_S, self._go_on) if self._since else None

    def _log_rest(self) -> None:
        rest = {line: count for line, count in self._since.items() if count}
        for line, count in rest.items():
            _log(line, count)
        self._since = dict.fromkeys(rest, 0)


def _log(line: _Line, count: int) -> None:
    event, queue, key = line
    log.warning(event, queue=queue.value, key=key, count=count)
