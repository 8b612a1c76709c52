"""A circuit breaker for sending: detects from the outcomes of calls that Telegram is down for all chats.

Telegram answers 500 for one call, one chat or one method for hours while the rest works (mullwar/telebot#100 and
php-telegram-bot/core#549: sendPhoto fails, sendMessage works). So a server error is evidence of an outage only together
with failures in other lanes, and no longer once a later call got through: the failing lane and method are then suspects.
A call that could not be sent at all (connection refused, DNS) is evidence on its own.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

log = structlog.get_logger(__name__)

OUTAGE_AFTER: Final = 3
"""Failures in a row that start an outage, each in another lane or of a call that could not be sent."""

PAUSE_MIN_S: Final = 0.5
_PAUSE_MAX_S: Final = 10.0  # between two probes; replies may wait this long after the outage has ended
_SPREAD_S: Final = 1.0  # random spread of the calls that wait for the probe
_LANES_MAX: Final = 1_000  # bound of what is remembered


class Tried(NamedTuple):
    """A call that was sent at loop time `started`."""

    lane: str
    method: str
    started: float


class Outage:
    """During an outage one call at a time probes whether it has ended; the others stay parked."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._failed: dict[str, tuple[str, float]] = {}  # lane -> method and time, since the last success
        self._not_sent = 0  # since the last success
        self._suspects: dict[str, None] = {}  # lanes and methods that failed while others got through
        self._pause_s = 0.0  # 0: no outage
        self._known_since = 0.0
        self._next_probe = 0.0

    def wait_s(self, now: float) -> float:
        """Return how long a call has to wait, in seconds; 0: it may be sent, during an outage as the probe."""
        if not self._pause_s:
            return 0.0
        if now >= self._next_probe:
            self._next_probe = now + self._pause_s
            return 0.0
        return self._next_probe - now + _SPREAD_S * self._jitter()

    def failed(self, call: Tried, now: float, reason: str, *, sent: bool = True) -> None:
        """Record that a call failed; `sent` is False if it was not even sent."""
        if call.started < self._known_since:
            return  # it was in flight when the outage was detected: no new evidence
        if sent and (call.lane in self._suspects or call.method in self._suspects):
            if self._pause_s:
                self._next_probe = now  # a suspect's failure proves nothing: another call is the probe
            return
        if sent and len(self._failed) < _LANES_MAX:
            self._failed[call.lane] = call.method, now
        if not sent:
            self._not_sent += 1
        if not self._pause_s and len(self._failed) + self._not_sent < OUTAGE_AFTER:
            return
        if not self._pause_s:
            log.warning("sending fails: one call at a time probes Telegram", reason=reason)
        self._pause_s = min(_PAUSE_MAX_S, max(PAUSE_MIN_S, self._pause_s * 2))
        self._known_since = now
        self._next_probe = now + self._pause_s * (0.5 + 0.5 * self._jitter())

    def over(self, call: Tried) -> None:
        """Record that a call got through: Telegram has answered it."""
        if self._pause_s:
            log.info("sending works again", lanes=len(self._failed))
            self._pause_s = 0.0
        if self._failed:
            self._suspect(call)
            self._failed.clear()
        self._not_sent = 0
        if self._suspects:
            self._suspects.pop(call.lane, None)
            self._suspects.pop(call.method, None)

    def _suspect(self, through: Tried) -> None:
        """Make suspects of lanes and methods that failed before the successful call was sent: Telegram was reachable."""
        for lane, (method, at) in self._failed.items():
            if at <= through.started:
                for name in (lane, method):
                    self._suspects.pop(name, None)
                    self._suspects[name] = None
        while len(self._suspects) > _LANES_MAX:
            del self._suspects[next(iter(self._suspects))]
