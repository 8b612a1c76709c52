"""Unix time that never goes back while the process runs: the clock of timers.

If the wall clock is set back, this one continues with the event loop's clock, so no timer is delayed. If it is set forward,
or the computer was suspended, timers come due as they would after a restart. A new process starts from the wall clock.
"""

import asyncio
from collections.abc import Callable
from math import inf


class ForwardClock:
    """Call it on the event loop. `wall` returns the wall clock's Unix time in seconds."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self.wall = wall
        self._ahead_s = -inf  # the largest difference to the event loop's clock so far

    def __call__(self) -> float:
        """Return Unix time in seconds."""
        wall = self.wall()  # first: a stall between the two readings must not look like a clock set forward
        now = asyncio.get_running_loop().time()
        if wall - now >= self._ahead_s:
            self._ahead_s = wall - now
            return wall
        return now + self._ahead_s
