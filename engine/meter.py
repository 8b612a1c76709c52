"""What a pool reports to a meter: the frequent things by a call for each delivery, everything else as events.

An event costs more than the counting of it, so that the path of a delivery that meets no failure makes none:

    handler returns effects, commit works    Meter.committed
    the first commit fails                   Meter.not_committed, and then the events of engine/observe.py
    everything else                          Meter.handled, and the events
"""

from collections.abc import Callable
from typing import Protocol

from engine.model import Delivery, Effects


class Meter(Protocol):
    """Counts what happens to the deliveries of one pool. It must not raise, and not block.

    Durations are in seconds, by `clock`: the time of the event loop is too coarse (uvloop's has milliseconds, and stands
    still while a handler blocks).
    """

    @property
    def clock(self) -> Callable[[], float]:
        """Returns the time in seconds, from any origin."""

    def committed(self, delivery: Delivery, effects: Effects, began: float, ended: float, /) -> None:
        """Count a delivery that was handled from `began` to `ended`, and is committed now."""

    def handled(
        self, delivery: Delivery, began: float, ended: float, error: BaseException | None = None
    ) -> None:
        """Count a run of a handler that raised, or whose effects are to be committed with events."""

    def not_committed(self, delivery: Delivery, began: float, ended: float, error: BaseException) -> None:
        """Count a run of a handler, and a commit that has failed now; it may be repeated, with events."""
