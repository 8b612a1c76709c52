"""The terminal that a program was started in, and what SIGHUP means: that it was closed, or a request of a person."""

import os
import time
from collections.abc import Callable
from typing import Final

CLOSING_S: Final = 2.0
"""The shell and the system both send SIGHUP when a terminal is closed, within this time."""


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal; it loses that when the terminal is closed (tty_ioctl(4))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


class Terminal:
    """`look` at it every second while it `is_there`: one that was lost long before a SIGHUP was not the reason for it."""

    def __init__(
        self, has: Callable[[], bool] = has_terminal, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._has = has
        self._clock = clock
        self._closed_at: float | None = None
        self.is_there = has()

    def look(self) -> None:
        """Note whether it is there."""
        self.is_there = self.is_there and self._has()

    def is_being_closed(self) -> bool:
        """Return, at a SIGHUP, whether the terminal was closed just now."""
        was_there = self.is_there
        self.look()
        if was_there and not self.is_there:
            self._closed_at = self._clock()
        return self._closed_at is not None and self._clock() - self._closed_at < CLOSING_S
