"""The bookkeeping of lanes, where the store contract does not reach it."""

import asyncio
import sys

import pytest

from engine import Queue
from engine.embedded.lane import Lane, place_after
from engine.embedded.lanes import LaneTable
from engine.model import TIMER_IDS
from engine.store import ID_BITS, ID_FALL_MAX
from tests.kit.virtual import run_virtual

ERA = 1 << ID_BITS


def take(lanes: LaneTable) -> Lane:
    lane = lanes.take("me")
    assert lane is not None
    return lane


@pytest.mark.parametrize(
    ("last_place", "id_", "place"),
    [
        (0, 5, 5),
        (100, 101, 101),
        (100, 99, 99),  # a late arrival
        (100 + ID_FALL_MAX, 100, 100),  # still one
        (101 + ID_FALL_MAX, 100, ERA + 100),  # a restart of the numbering
        (ERA + 100, 50, ERA + 50),
        (ERA + 2 * ID_FALL_MAX, 7, 2 * ERA + 7),
        (1023 * ERA + 2 * ID_FALL_MAX, 7, 1023 * ERA + 7),  # there is no higher era in 64 bits
    ],
)
def test_places_follow_the_ids_and_survive_their_restart(last_place, id_, place):
    assert place_after(last_place, id_) == place
    assert place < 2**63


def test_a_restart_is_seen_only_while_something_waits():
    lanes = LaneTable(Queue.INBOX)
    lanes.add("a", 2_000_000_000)
    lanes.ack(take(lanes), more=False)
    assert lanes.place_of(5) == 5


def test_an_ack_costs_the_same_in_a_lane_of_any_depth():
    lanes = LaneTable(Queue.INBOX)
    for place in range(100_000):
        lanes.add("a", place)
    lane = take(lanes)
    sizes: list[int] = []
    while lanes.ack(lane, more=True):
        sizes.append(len(lane.pending))
    assert sizes[0] == 100_000
    assert sizes[-1] < 200  # what was acked is cut off ...
    assert len(set(sizes)) < 20  # ... in few, large cuts


def test_an_idle_lane_costs_nothing():
    lanes = LaneTable(Queue.INBOX)
    for number in range(1000):
        lanes.add(f"chat:{number}", number)
    while (lane := lanes.take("me")) is not None:
        lanes.ack(lane, more=False)
    assert lanes._lanes == {}
    assert sys.getsizeof(lanes._ready) < 2000


def test_a_hundred_thousand_lanes_with_one_pending_each_are_small():
    lanes = LaneTable(Queue.INBOX)
    for number in range(1000):
        lanes.add(f"chat:{number}", number)
    lane = lanes._lanes["chat:7"]
    assert sys.getsizeof(lane) + sys.getsizeof(lane.pending) < 300  # bytes


def test_closing_wakes_whoever_waits_and_stops_the_timers():
    async def main() -> None:
        lanes = LaneTable(Queue.INBOX)
        lanes.add("a", 1)
        lanes.park(take(lanes), 1000, attempts=0, reason="x")
        waiting = [asyncio.create_task(lanes.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        lanes.close()
        await asyncio.gather(*waiting)
        await asyncio.sleep(2000)
        assert lanes.take("me") is None

    run_virtual(main())


@pytest.mark.parametrize(
    "happens",
    [
        lambda lanes, _: lanes.add("b", 2),
        lambda lanes, _: lanes.add_timer("b", TIMER_IDS + 1),
        lambda lanes, held: lanes.let_go(held),
        lambda lanes, held: lanes.park(held, 0.0, attempts=0, reason="x"),
    ],
    ids=["an append to an idle lane", "a timer of an idle lane", "a lane let go", "a parked lane"],
)
def test_what_makes_a_lane_ready_wakes_one_that_waits(happens):
    async def main() -> None:
        lanes = LaneTable(Queue.INBOX)
        lanes.add("a", 1)
        held = take(lanes)
        waiting = asyncio.create_task(lanes.wait())
        await asyncio.sleep(0)
        happens(lanes, held)
        await asyncio.sleep(1)
        assert waiting.done()

    run_virtual(main())


def test_one_that_is_cancelled_when_it_is_woken_wakes_another():
    async def main() -> None:
        lanes = LaneTable(Queue.INBOX)
        waiting = [asyncio.create_task(lanes.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        lanes.add("a", 1)
        waiting[0].cancel()
        await asyncio.sleep(1)
        assert [task.cancelled() for task in waiting] == [True, False]
        assert waiting[1].done()

    run_virtual(main())


def test_timers_are_no_ids_that_may_come_again():
    lanes = LaneTable(Queue.INBOX)
    lanes.add("a", 5)
    lanes.add_timer("a", TIMER_IDS + 5)
    assert list(lanes.pending_ids()) == [5]
    assert (lanes.pending, lanes.depth("a"), lanes.last_place) == (2, 2, 5)
