"""Reports to a test which line of a handler blocks the event loop: in production, all chats would wait for it."""

import threading
from typing import Final

import structlog

from telegram.process.blocking import TICK_S, LoopWatch, Place, StallClock
from telegram.testing.virtual import VirtualLoop

log = structlog.get_logger(__name__)

_CLOSED_WITHIN_S: Final = 1.0


class BlockedLoop:
    """Watches a test's loop from a separate thread, in real time; created by the loop's thread.

    It logs at once, so that a hanging test shows where. `found` has the same lines, for the turn's warning.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self.found: list[str] = []
        self._loop = loop
        self._watch = LoopWatch(loop, self._report)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="blocked loop", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join(_CLOSED_WITHIN_S)

    def _run(self) -> None:
        clock = StallClock()
        while not self._over.wait(TICK_S):
            stalled_s = clock.stalled_s(TICK_S)
            self._watch.forgive(TICK_S if self._loop.is_in_executor else stalled_s)
            self._watch.look()

    def _report(self, place: Place, seconds: float) -> None:
        if not place.is_authors:
            return
        self.found.append(f"a handler blocks the event loop: {place} ({seconds:.1f} s of real time)")
        log.warning("a handler blocks the event loop", at=str(place), seconds=round(seconds, 1))
