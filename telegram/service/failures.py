"""Consecutive failures of a source of updates, the poller or the webhook: how long to wait, and what to log."""

import asyncio
import random
from typing import Any, Final

BACKOFF_MIN_S: Final = 0.5
"""Asking getUpdates for the same offset again within 0.5 s brings one update only: never retry sooner."""

BACKOFF_MAX_S: Final = 30.0


class Failures:
    """Consecutive failures up to the next success: how long to wait, and what to log."""

    def __init__(self, name: str, rng: random.Random, log: Any) -> None:
        self._name = name
        self._rng = rng
        self._log = log
        self._since_s = 0.0
        self._tries = 0
        self._logged: set[str] = set()

    def delay_s(self) -> float:
        """Exponential backoff with jitter: 0.5..1 s, 1..2 s, ..., at most BACKOFF_MAX_S / 2..BACKOFF_MAX_S."""
        low = min(BACKOFF_MIN_S * 2 ** min(self._tries, 16), BACKOFF_MAX_S / 2)
        return self._rng.uniform(low, 2 * low)

    def failed(self, kind: str, reason: str, *, delay_s: float | None = None, alarm: bool = False) -> float:
        """Record a failure; return the seconds to wait. Until the next success each kind is logged once."""
        wait_s = self.delay_s() if delay_s is None else delay_s
        if not self._tries:
            self._since_s = asyncio.get_running_loop().time()
        self._tries += 1
        if kind not in self._logged:
            self._logged.add(kind)
            write = self._log.error if alarm else self._log.warning
            write(self._name, kind=kind, reason=reason, wait_s=round(wait_s, 1))
        else:
            self._log.debug(self._name, kind=kind, reason=reason, wait_s=round(wait_s, 1), tries=self._tries)
        return wait_s

    def over(self) -> None:
        """Record a success."""
        if self._tries:
            lasted_s = asyncio.get_running_loop().time() - self._since_s
            self._log.info(f"{self._name}: over", lasted_s=round(lasted_s, 1), tries=self._tries)
            self._tries = 0
            self._logged.clear()
