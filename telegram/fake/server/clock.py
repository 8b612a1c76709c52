"""The clock of the fake Telegram: this machine's, which can be moved ahead."""

import time


class MovableClock:
    """Returns Unix time; `ahead_s`: by how much it is ahead. The bot's store needs it too (`wall`), for its timers."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        """Return Unix time in seconds."""
        return time.time() + self.ahead_s

    def monotonic(self) -> float:
        """Return the monotonic clock in seconds, moved ahead by as much."""
        return time.monotonic() + self.ahead_s

    def advance(self, seconds: float) -> None:
        """Move the clock ahead."""
        self.ahead_s += seconds
