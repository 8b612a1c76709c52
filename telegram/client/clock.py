"""Telegram's clock: the dates in updates are Telegram's, and this machine's clock may be hours off.

The Date header of answers to getUpdates gives Telegram's time (RFC 9110, section 6.6.1). A local Bot API server sends none
(tdlib/telegram-bot-api, HttpConnection.cpp, send_response): then this machine's clock is used.
"""

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_NOISE_S: Final = 2.0
"""Smaller differences are ignored: the header has whole seconds, and the answer takes time to arrive."""

_WORTH_A_LINE_S: Final = 60.0


class TelegramClock:
    """Unix time by Telegram's clock, from the Date header of its answers; `wall` is this machine's clock."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._ahead_s = 0.0

    def time(self) -> float:
        """Return Unix time by Telegram's clock."""
        return self._wall() - self._ahead_s

    def heard(self, date: str | None) -> None:
        """Use the Date header of an answer that has just arrived. A missing or invalid date changes nothing.

        A delayed answer makes Telegram's time seem earlier, so updates seem younger, never older.
        """
        if date is None:
            return
        try:
            ahead_s = self._wall() - parsedate_to_datetime(date).replace(tzinfo=UTC).timestamp()
        except (ValueError, OverflowError):
            return
        ahead_s = 0.0 if abs(ahead_s) <= _NOISE_S else ahead_s
        if abs(ahead_s - self._ahead_s) > _WORTH_A_LINE_S:
            log.warning("the clock of this machine is not Telegram's", ahead_s=round(ahead_s))
        self._ahead_s = ahead_s
