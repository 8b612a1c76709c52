"""A histogram that costs little to fill: a value is only appended to a list; `fold` sorts many of them into their buckets."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final

SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0
)  # fmt: skip
SHORT: Final = (0.0001, 0.00025, 0.0005, *SECONDS[: SECONDS.index(5.0)], 10.0)
COUNTS: Final = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)


class Histogram:
    """Counts values by their bucket; a value equal to a bound is below it (Prometheus, "le").

    `fold` it now and then: until then each value is kept.
    """

    __slots__ = ("_bounds", "_counts", "_new", "_total", "add")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._new: list[float] = []
        self.add: Callable[[float], None] = self._new.append
        """Count a value; a negative one (a clock was set back) counts as 0."""

    def fold(self) -> None:
        """Sort the new values into their buckets: sorting many is several times cheaper than a search for each."""
        new = self._new
        if not new:
            return
        new.sort()
        if new[0] < 0.0:
            new[:] = [max(value, 0.0) for value in new]
        below, count = 0, len(new)
        for bucket, bound in enumerate(self._bounds):
            until = bisect_right(new, bound, below)
            self._counts[bucket] += until - below
            below = until
            if below == count:
                break
        self._counts[-1] += count - below
        self._total += sum(new)
        new.clear()  # the same list: `add` appends to it

    def with_ones(self, count: int) -> "Histogram":
        """Return a copy with so many more values of 1."""
        self.fold()
        copy = Histogram(self._bounds)
        copy._counts, copy._total = [*self._counts], self._total + count
        copy._counts[bisect_left(self._bounds, 1.0)] += count
        return copy

    @property
    def total(self) -> float:
        """Sum of the values."""
        self.fold()
        return self._total

    def buckets(self) -> list[tuple[str, float]]:
        """Return upper bound and number of the values up to it, for each bucket."""
        self.fold()
        bounds = [*map(str, self._bounds), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self._counts)), strict=True))

    def __len__(self) -> int:
        """Return the number of values."""
        return sum(self._counts) + len(self._new)
