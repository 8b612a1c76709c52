import asyncio

from engine.embedded.forward import ForwardClock
from engine.stores.contract.effects import Clock
from tests.kit.virtual import run_virtual


def test_it_is_the_wall_clock_as_long_as_that_is_not_set_back():
    async def play():
        wall = Clock()
        clock = ForwardClock(wall)
        told = [clock()]
        for act, seconds in (
            (wall.passes, 1),
            (wall.leaps, 100),
            (wall.passes, 1),
            (wall.leaps, -50),
            (wall.passes, 1),
            (wall.leaps, 49),
            (wall.leaps, 2),
        ):
            act(seconds)
            told.append(clock())
        return told

    assert run_virtual(play()) == [1000, 1001, 1101, 1102, 1102, 1103, 1103, 1104]


def test_a_stall_while_it_is_read_does_not_set_it_forward():
    async def play():
        wall = Clock()

        def stalled():
            wall.passes(100)
            told = wall()
            wall.passes(100)
            return told

        clock = ForwardClock(stalled)
        clock()
        clock.wall = wall
        return clock(), wall(), asyncio.get_running_loop().time()

    told, wall, now = run_virtual(play())
    assert (told, wall, now) == (1200, 1200, 200)
