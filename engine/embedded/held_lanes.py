"""The lanes of one queue as an operator sees and holds them."""

import asyncio
from collections.abc import Iterator

from engine.embedded.lane import Lane
from engine.embedded.lanes import LaneTable
from engine.model import LaneView
from engine.store import ALL_LANES


class HeldLanes(LaneTable):
    """A lane that is held is parked without an end; one that was leased meanwhile is parked when its lease ends."""

    def views(self, limit: int) -> Iterator[LaneView]:
        """Yield at most `limit` lanes that have pending work."""
        for _, lane in zip(range(limit), self._lanes.values(), strict=False):
            yield self.view(lane)

    def view(self, lane: Lane, at: float = 0.0) -> LaneView:
        """Return a lane for display; `at`: of its head."""
        wait_s = max(0.0, lane.timer.when() - asyncio.get_running_loop().time()) if lane.timer else 0.0
        held = self._holds.get(lane.key, "")
        reason = lane.reason or ""
        return LaneView(
            self.queue, lane.key, lane.status, lane.depth, lane.attempts, wait_s, reason, at, held
        )

    def all(self) -> list[Lane]:
        """Return the lanes that have pending work."""
        return list(self._lanes.values())

    def ready_lanes(self) -> list[Lane]:
        """Return the lanes that may be claimed, longest waiting first."""
        return list(self._ready)

    def waiting(self) -> int:
        """Return how many claims wait for a lane."""
        return sum(not waiter.done() for waiter in self._waiters)

    def gives(self) -> bool:
        """Return whether lanes may be claimed: no operator holds all."""
        return not self._is_held

    def is_in(self, lane: Lane) -> bool:
        """Return whether the lane has pending work in this table."""
        return self._lanes.get(lane.key) is lane

    def lane_parked(self, key: str) -> Lane | None:
        """Return the lane if it is parked, for whatever reason."""
        lane = self._lanes.get(key)
        return lane if lane is not None and lane.status == "parked" else None

    def view_of(self, key: str) -> LaneView | None:
        """Return one lane for display; None if nothing is pending in it."""
        return None if (lane := self._lanes.get(key)) is None else self.view(lane)

    # -- holds of an operator -----------------------------------------------------------------------------------

    def holds(self) -> dict[str, str]:
        """Return what is held, and why."""
        return dict(self._holds)

    def hold(self, key: str, reason: str) -> None:
        """Make the lane (ALL_LANES: any lane) unclaimable until `unhold`; a lease in force goes on to its next commit."""
        self._holds[key] = reason
        self._is_held = ALL_LANES in self._holds
        lane = self._lanes.get(key)
        if lane is not None and lane.status == "ready":
            self._ready.remove(lane)
            lane.status = "parked"
            self.parked += 1
        elif lane is not None:
            self._end_pause(lane)
        self.look_settled()

    def unhold(self, key: str) -> None:
        """End a hold, and make a parked lane ready at once."""
        self._holds.pop(key, None)
        self._is_held = ALL_LANES in self._holds
        if key == ALL_LANES:
            for _ in self._ready:
                self._wake()
        elif (lane := self._lanes.get(key)) is not None and lane.status == "parked":
            self._end_pause(lane)
            self._unpark(lane)

    def _end_pause(self, lane: Lane) -> None:
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
