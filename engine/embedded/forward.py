"""Unix time that never goes back while the process runs: what timers go by.

The wall clock may be set. Set back, it delays no timer: time goes on with the event loop's clock. Set forward, it lets
timers come due that a restart would find due; so does a computer that has slept. The next start goes by the wall clock.
"""

import asyncio
from collections.abc import Callable
from math import inf


class ForwardClock:
    """To be called on the event loop. `wall` gives Unix time, as a person has set it."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self.wall = wall
        self._ahead_s = -inf  # of the event loop's clock, at most so far

    def __call__(self) -> float:
        """Return Unix time in seconds."""
        wall = self.wall()  # first: a stall between the two readings does not count as set forward
        now = asyncio.get_running_loop().time()
        if wall - now >= self._ahead_s:
            self._ahead_s = wall - now
            return wall
        return now + self._ahead_s
