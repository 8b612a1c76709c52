"""What can go wrong, decided by a seeded generator, and counted."""

import random
from collections import Counter
from typing import Final

STORE: Final = ("before", "after", "late", "slow")
"""A call of the store fails before it acts; after; acts long after it has failed; answers late."""

NETWORK: Final = ("not sent", "status", "slow", "answer lost", "never", "late")
"""A request is not sent; is refused; takes long; acts, and its answer is lost; has no answer; acts long after."""


class Trouble:
    """Decides about each call whether something happens to it. Calm once `over` is set."""

    def __init__(self, rng: random.Random, store: float, network: float) -> None:
        self.rng = rng
        self._odds = {"store": store, "network": network}
        self._spell = dict.fromkeys(self._odds, 1.0)
        self.over = False
        self.counts: Counter[str] = Counter()
        self.moments: list[float] = []

    def pick(self, where: str, kinds: tuple[str, ...], now: float) -> str | None:
        """Return what happens to this call, if anything."""
        if self.over or self.rng.random() >= self._odds[where] * self._spell[where]:
            return None
        kind = self.rng.choice(kinds)
        self.note(f"{where}: {kind}", now)
        return kind

    def note(self, what: str, now: float) -> None:
        """Count something that has happened."""
        self.counts[what] += 1
        self.moments.append(now)

    def spell(self, where: str, factor: float) -> None:
        """From now on everything there goes wrong more often, or less."""
        self._spell[where] = factor

    def short_s(self) -> float:
        """How long something takes that is usually quick."""
        return self.rng.choice((0.0, 0.002, 0.03)) * self.rng.random()

    def long_s(self) -> float:
        """How long something takes on a bad day: sometimes beyond every time-out."""
        return self.rng.choice((0.5, 5.0, 40.0)) * self.rng.random()
