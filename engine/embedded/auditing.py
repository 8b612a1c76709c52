"""Checks that the lanes in memory keep their invariants (DESIGN, section 4), while updates are handled.

Each lane is checked for itself, in slices; what is counted over all lanes is compared in one step, without an await.
"""

import asyncio
from typing import Final

from engine.embedded.held_lanes import HeldLanes
from engine.embedded.lane import Lane

PROBLEMS_MAX: Final = 100
_SLICE: Final = 2_000
_WAKES_WITHIN_S: Final = 0.05


async def problems_of(table: HeldLanes) -> list[str]:
    """Return what is wrong with the lanes of a queue, a line for each; at most PROBLEMS_MAX."""
    found = _miscounted(table)
    lanes = table.all()
    for start in range(0, len(lanes), _SLICE):
        holds = table.holds()
        for lane in lanes[start : start + _SLICE]:
            if table.is_in(lane) and (wrong := _wrong(lane, is_held=lane.key in holds)):
                found.append(f"{table.queue.value}: the lane {lane.key} {wrong}")
        if len(found) >= PROBLEMS_MAX:
            break
        await asyncio.sleep(0)
    if await _sleeps(table):
        found.append(f"{table.queue.value}: a lane is ready, and a worker waits for one")
    return found[:PROBLEMS_MAX]


def _wrong(lane: Lane, *, is_held: bool) -> str | None:
    if not lane.depth:
        return "has no work"
    if lane.status == "ready" and is_held:
        return "is ready, and an operator holds it"
    if lane.status == "parked" and lane.timer is None and not is_held:
        return "is parked without an end"
    if lane.status == "leased" and (lane.holder is None or lane.lease.fence != lane.fence):
        return "is leased without a holder"
    return None


def _miscounted(table: HeldLanes) -> list[str]:
    """Compare counts with what they count; no await in here."""
    lanes, ready, stats = table.all(), table.ready_lanes(), table.stats()
    statuses = [lane.status for lane in lanes]
    pairs = {
        "pending": (stats.pending, sum(lane.depth for lane in lanes)),
        "lanes ready": (len(ready), statuses.count("ready")),
        "lanes to claim once": (len(ready), len({id(lane) for lane in ready if lane.status == "ready"})),
        "lanes leased": (stats.leased, statuses.count("leased")),
        "lanes parked": (stats.parked, statuses.count("parked")),
        "appended": (stats.appended, stats.committed + stats.pending + stats.dead),
    }
    return [
        f"{table.queue.value}: {name}: {counted}, and there are {found}"
        for name, (counted, found) in pairs.items()
        if counted != found
    ]


async def _sleeps(table: HeldLanes) -> bool:
    """Return whether a lane stays ready although a worker waits (invariant 6)."""

    def first() -> tuple[int, int] | None:
        lane = next(iter(table.ready_lanes()), None) if table.waiting() and table.gives() else None
        return None if lane is None else (id(lane), lane.fence)

    before = first()
    if before is None:
        return False
    await asyncio.sleep(_WAKES_WITHIN_S)  # a worker that was woken takes its lane at its next step
    return first() == before
