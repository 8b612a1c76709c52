"""The time of the fake Telegram: this machine's, and ahead of it by what people let pass."""

import time


class PlayedClock:
    """Unix time; `ahead_s` is how far it has been moved. Give it to the bot's store too (`wall`): timers go by it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        """Return Unix time in seconds."""
        return time.time() + self.ahead_s

    def monotonic(self) -> float:
        """Return seconds that never go back, moved as far."""
        return time.monotonic() + self.ahead_s

    def let_pass(self, seconds: float) -> None:
        """Move on."""
        self.ahead_s += seconds
