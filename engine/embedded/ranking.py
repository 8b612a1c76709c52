"""The lanes that come first by age or depth, out of any number.

A look at 100,000 lanes takes tens of milliseconds: it is done in slices, between which the event loop goes on. What changes
meanwhile is seen as it is at the end.
"""

import asyncio
from collections.abc import Callable, Sequence
from heapq import nsmallest
from typing import Final

from engine.embedded.lane import Lane
from engine.model import TIMER_IDS
from engine.store import LaneOrder

SLICE: Final = 5_000


async def ranked(lanes: Sequence[Lane], by: LaneOrder, limit: int) -> list[Lane]:
    """Return at most `limit` lanes with pending work that come first; by age, as many more whose head is a timer."""
    if by == "depth":
        return await _first(lanes, lambda lane: -lane.depth, limit)
    updates = [lane for lane in lanes if lane.depth and not lane.head & TIMER_IDS]
    timers = [lane for lane in lanes if lane.depth and lane.head & TIMER_IDS]
    return [*await _first(updates, _head, limit), *await _first(timers, _head, limit)]


def _head(lane: Lane) -> int:
    return lane.head


async def _first(lanes: Sequence[Lane], key: Callable[[Lane], int], limit: int) -> list[Lane]:
    best: list[Lane] = []
    for start in range(0, len(lanes), SLICE):
        best = nsmallest(limit, (lane for lane in (*best, *lanes[start : start + SLICE]) if lane.depth), key)
        await asyncio.sleep(0)
    return sorted((lane for lane in best if lane.depth), key=key)
