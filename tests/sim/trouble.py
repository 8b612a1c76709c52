"""What can go wrong, decided by a seeded generator, and counted."""

import random
from collections import Counter
from typing import Final, NamedTuple, Self

STORE: Final = ("before", "after", "late", "slow")
"""A call of the store fails before it acts; after; acts long after it has failed; answers late."""

NETWORK: Final = ("not sent", "status", "slow", "answer lost", "never", "late")
"""A request is not sent; is refused; takes long; acts, and its answer is lost; has no answer; acts long after."""


class Perils(NamedTuple):
    """Faults that only a hard run has, each drawn by the seed."""

    reads: bool = False
    """Each I/O call can fail: reads, what reads the file anew, opening it, and writing its log over itself."""

    looks: bool = False
    """Somebody asks the store for its dead letters, may be the one that reads the file anew, and is cancelled."""

    base_exceptions: bool = False
    """Handlers raise what is no Exception, cancel their own task, or leave a cancellation behind."""

    own_log: bool = False
    """The disk is full of SQLite's log until it is folded."""

    volume: bool = False
    """The file's folder goes away, an empty one takes its place, and later it comes back."""

    leaps: bool = False
    """The clock leaps by days."""

    stalls: bool = False
    """A process that stood still is no reason for a dead letter."""

    webhook: bool = False
    """Some processes have a webhook, others poll: each start may switch."""

    @classmethod
    def drawn(cls, seed: int) -> Self:
        """Return each with a chance of one half."""
        rng = random.Random(f"perils {seed}")
        return cls(*(rng.random() < 0.5 for _ in cls._fields))

    @classmethod
    def named(cls, names: str) -> Self:
        """Return those of a list with commas; TypeError for one that there is not."""
        return cls(**dict.fromkeys(names.split(","), True))

    def __str__(self) -> str:
        return ", ".join(name for name, is_on in self._asdict().items() if is_on) or "none"


NO_PERILS: Final = Perils()


class Trouble:
    """Decides about each call whether something happens to it. Calm once `over` is set."""

    def __init__(self, rng: random.Random, store: float, network: float, perils: Perils = NO_PERILS) -> None:
        self.rng = rng
        self.perils = perils
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
