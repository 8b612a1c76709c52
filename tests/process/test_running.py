"""A program's main coroutine runs to its end, whatever its tasks do to the loop and to each other."""

import asyncio
from typing import Any

import pytest
import uvloop

from engine import current_delivery
from telegram.process import running as module
from telegram.process.running import Running
from tests.kit.bounds import WITHIN_S

pytestmark = pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])


async def fall(error):
    raise error


def test_the_result_and_the_error_of_main_are_the_callers(factory):
    async def main():
        return 5

    assert Running(factory).run(main()) == 5
    for error in (SystemExit(3), KeyboardInterrupt(), ValueError("x")):
        with pytest.raises(type(error)):
            Running(factory).run(fall(error))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_a_task_or_a_callback_raises_does_not_end_the_loop(factory, error):
    def interrupt():
        raise error

    async def main():
        task = asyncio.create_task(fall(error))
        await asyncio.wait([task])
        asyncio.get_running_loop().call_soon(interrupt)
        await asyncio.sleep(0.01)
        return task.exception()

    assert Running(factory).run(main()) is error


def test_a_task_that_stops_the_loop_does_not_end_it(factory):
    async def main():
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        return 5

    assert Running(factory).run(main()) == 5


def test_tasks_that_are_left_are_cancelled_and_may_clean_up(factory, monkeypatch):
    monkeypatch.setattr(module, "_LET_FINISH_S", WITHIN_S)
    seen = []

    async def left():
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            seen.append("cleaned up")

    async def generator():
        try:
            yield
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def main():
        tasks.append(asyncio.create_task(left()))
        generators.append(generator())
        await anext(generators[0])

    tasks, generators = [], []
    running = Running(factory)
    running.run(main())
    assert seen == ["cleaned up", "closed"]
    assert running.left == []


def test_a_task_that_ignores_its_cancellation_is_left_and_named(factory):
    go: list[int] = []

    async def stubborn():
        while not go:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue

    async def main():
        go.clear()
        tasks.append(asyncio.create_task(stubborn(), name="stubborn"))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    running = Running(factory)
    running.run(main())
    assert running.left == ["stubborn"]
    (task,) = tasks
    go.append(1)
    task.cancel()
    loop = task.get_loop()
    loop.run_until_complete(asyncio.wait_for(task, WITHIN_S))
    loop.close()


def test_a_handler_that_cancels_all_tasks_finds_only_those_of_handlers(factory):
    async def service():
        await asyncio.sleep(0.01)
        return "done"

    delivery: Any = object()

    async def handler():
        current_delivery.set(delivery)  # as the engine does
        child = asyncio.create_task(service())
        for task in asyncio.all_tasks():
            task.cancel()
        await asyncio.sleep(0)
        return child.cancelled()

    async def main():
        async with asyncio.TaskGroup() as group:
            task = group.create_task(service())
            return await group.create_task(handler()), await task

    assert Running(factory).run(main()) == (True, "done")
