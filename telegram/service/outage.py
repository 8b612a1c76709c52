"""Decides from the outcomes of calls whether Telegram is away for all chats, and who tries meanwhile.

Telegram answers 500 for one call, one chat or one method for hours while the rest works (mullwar/telebot#100 and
php-telegram-bot/core#549: sendPhoto fails, sendMessage works). So a call that gets an error of the server is evidence of
an outage only together with calls of other lanes, and never again once a later call of another lane got through. A call
that could not even be sent (connection refused, DNS) is evidence by itself.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

log = structlog.get_logger(__name__)

OUTAGE_AFTER: Final = 3
"""Failures in a row, each of another lane or of a call that could not be sent: one lane must not hold up the others."""

PAUSE_MIN_S: Final = 0.5
_PAUSE_MAX_S: Final = 10.0  # people wait this long after the outage is over
_SPREAD_S: Final = 1.0  # of those who wait for the probe
_LANES_MAX: Final = 1_000  # that are kept in mind


class Tried(NamedTuple):
    """A call that went out at loop time `started`."""

    lane: str
    method: str
    started: float


class Outage:
    """While Telegram cannot be reached, one call at a time finds out whether it is over; the others stay parked."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._failed: dict[str, tuple[str, float]] = {}  # lane -> method and time, since a call got through
        self._not_sent = 0  # since a call got through
        self._suspects: dict[str, None] = {}  # that failed while others got through
        self._pause_s = 0.0  # 0: no outage
        self._known_since = 0.0
        self._next_probe = 0.0

    def wait_s(self, now: float) -> float:
        """Return how long a call has to wait; 0: it may go out, during an outage as the probe."""
        if not self._pause_s:
            return 0.0
        if now >= self._next_probe:
            self._next_probe = now + self._pause_s
            return 0.0
        return self._next_probe - now + _SPREAD_S * self._jitter()

    def failed(self, call: Tried, now: float, reason: str, *, sent: bool = True) -> None:
        """Note that a call did not get through; `sent` is False if it did not even leave."""
        if call.started < self._known_since:
            return  # one of many that were on their way when the outage began: nothing new
        if sent and (call.lane in self._suspects or call.method in self._suspects):
            if self._pause_s:
                self._next_probe = now  # it proves nothing: another call is the probe
            return
        if sent and len(self._failed) < _LANES_MAX:
            self._failed[call.lane] = call.method, now
        if not sent:
            self._not_sent += 1
        if not self._pause_s and len(self._failed) + self._not_sent < OUTAGE_AFTER:
            return
        if not self._pause_s:
            log.warning("sending is in trouble: one call at a time tries", reason=reason)
        self._pause_s = min(_PAUSE_MAX_S, max(PAUSE_MIN_S, self._pause_s * 2))
        self._known_since = now
        self._next_probe = now + self._pause_s * (0.5 + 0.5 * self._jitter())

    def over(self, call: Tried) -> None:
        """Note that a call got through."""
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
        """Suspect what failed before the call that got through left: Telegram could be reached."""
        for lane, (method, at) in self._failed.items():
            if at <= through.started:
                for name in (lane, method):
                    self._suspects.pop(name, None)
                    self._suspects[name] = None
        while len(self._suspects) > _LANES_MAX:
            del self._suspects[next(iter(self._suspects))]
