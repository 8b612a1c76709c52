"""The lanes that come first by age or depth, out of any number.

A look at 100,000 lanes takes tens of milliseconds: it is done in slices, between which the event loop goes on. What changes
meanwhile is seen as it is at the end.
"""

import asyncio
from collections.abc import Sequence
from heapq import nsmallest
from operator import attrgetter
from typing import Final

from engine.embedded.lane import Lane
from engine.model import TIMER_IDS
from engine.store import LaneOrder

SLICE: Final = 2_000


async def ranked(lanes: Sequence[Lane], by: LaneOrder, limit: int) -> list[Lane]:
    """Return at most `limit` lanes with pending work that come first; by age, as many more whose head is a timer."""
    first: list[Lane] = []
    timers: list[Lane] = []
    for start in range(0, len(lanes), SLICE):
        part = lanes[start : start + SLICE]
        if by == "depth":
            first = nsmallest(limit, _pending(first, part), lambda lane: -lane.depth)
        else:
            pending = _pending(first, part)
            first = nsmallest(limit, [lane for lane in pending if not lane.head & TIMER_IDS], _head)
            of_timers = [*timers, *(lane for lane in pending if lane.head & TIMER_IDS)]
            timers = nsmallest(limit, _pending(of_timers), _head)
        await asyncio.sleep(0)
    if by == "depth":
        return sorted(_pending(first), key=lambda lane: -lane.depth)
    return sorted(_pending(first), key=_head) + sorted(_pending(timers), key=_head)


_head = attrgetter("head")


def _pending(*parts: Sequence[Lane]) -> list[Lane]:
    return [lane for lanes in parts for lane in lanes if lane.start < len(lane.pending)]
