import asyncio

import pytest

from engine import Envelope, Queue
from engine.stores.contract import append
from engine.stores.sqlite import open_sqlite
from telegram.testing.virtual import SAME_MOMENT_S
from tests.kit.loop_thread import LoopThread
from tests.kit.virtual import DeadlockError, LivelockError, VirtualLoop, run_virtual


def test_time_jumps_to_the_timers_in_their_order():
    async def scenario() -> object:
        loop = asyncio.get_running_loop()
        seen = []

        async def note(after_s: float) -> None:
            await asyncio.sleep(after_s)
            seen.append((after_s, loop.time()))

        assert loop.time() == 0
        await asyncio.gather(note(86_400 * 3), note(0.5), note(50))
        return seen

    assert run_virtual(scenario()) == [(0.5, 0.5), (50, 50), (86_400 * 3, 86_400 * 3)]


def test_what_is_ready_runs_before_the_clock_moves():
    async def scenario() -> object:
        loop = asyncio.get_running_loop()
        later = loop.create_task(asyncio.sleep(1))
        for _ in range(100):
            await asyncio.sleep(0)
        assert (loop.time(), later.done()) == (0, False)
        await later
        return loop.time()

    assert run_virtual(scenario()) == 1


def test_a_timeout_fires_at_its_moment():
    async def scenario() -> object:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == 2


def test_waiting_for_nothing_is_a_deadlock_and_leaves_no_task_behind():
    ended = []

    async def scenario() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(DeadlockError, match="at 0 s"):
        run_virtual(scenario())
    assert ended == [True]


def test_a_hot_loop_is_a_livelock():
    async def scenario() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(LivelockError):
        run_virtual(scenario())


def test_results_and_errors_come_through():
    async def scenario() -> object:
        await asyncio.sleep(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_virtual(scenario())


def test_work_of_a_thread_takes_no_time_and_is_done_without_a_waiter():
    async def main():
        done: list[int] = []
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, done.append, 1).cancel()
        assert await asyncio.to_thread(sum, (1, 2)) == 3
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)
        assert (done, loop.time()) == ([1], 0)

    run_virtual(main())


def test_a_store_with_a_file_works_on_virtual_time(tmp_path):
    async def main():
        store = await open_sqlite(tmp_path / "bot.db", "1", thread=LoopThread)
        assert await append(store, [Envelope(1, "chat:1", "", b"x")]) == 1
        delivery = await store.claim(Queue.INBOX)
        await store.park(delivery, 3600, counted=True, reason="later")
        assert (await store.claim(Queue.INBOX)).attempt == 2
        assert asyncio.get_running_loop().time() == 3600
        await store.close()

    run_virtual(main())


def test_a_loop_can_be_run_to_a_moment_and_returns_the_next_one():
    async def note(after_s: float) -> None:
        await asyncio.sleep(after_s)
        seen.append(loop.time())

    seen: list[float] = []
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        tasks = [loop.create_task(note(after_s)) for after_s in (1, 2, 2 + SAME_MOMENT_S / 2, 3)]
        assert (loop.run_to(0), loop.time(), seen) == (1, 0, [])
        assert (loop.run_to(2), len(seen)) == (3, 3)
        assert (loop.run_to(2.5), loop.time()) == (3, 2.5)
        assert (loop.run_to(3), seen[-1]) == (None, 3)
        assert all(task.done() for task in tasks)
