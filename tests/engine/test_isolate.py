"""`await isolated(context, x)` is `await x`, but for the context."""

import asyncio
from contextvars import ContextVar, copy_context

import pytest

from engine import isolate
from engine.isolate import frames_of
from tests.kit.virtual import run_virtual

name: ContextVar[str] = ContextVar("name", default="outside")


def isolated(coroutine):
    return isolate.isolated(copy_context(), coroutine)


async def test_values_come_out_and_variables_do_not():
    async def inside() -> str:
        name.set("inside")
        await asyncio.sleep(0)
        return name.get()

    assert await isolated(inside()) == "inside"
    assert name.get() == "outside"


async def test_errors_come_out():
    async def inside() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await isolated(inside())


async def test_what_is_awaited_comes_in_also_errors():
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def inside() -> str:
        try:
            return await future
        except ValueError as error:
            return f"caught {error}"

    asyncio.get_running_loop().call_soon(future.set_exception, ValueError("x"))
    assert await isolated(inside()) == "caught x"


def test_a_cancellation_goes_in_and_can_be_cleaned_up_after():
    async def main() -> None:
        steps = []

        async def inside() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(1)
                steps.append(name.get())

        async def outer() -> None:
            await isolated(inside())

        task = asyncio.create_task(outer())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps == ["outside"]

    run_virtual(main())


async def test_tasks_made_inside_inherit_the_inside():
    async def inside() -> str:
        name.set("inside")

        async def child() -> str:
            return name.get()

        return await asyncio.create_task(child())

    assert await isolated(inside()) == "inside"


async def test_timeouts_work_inside():
    async def inside() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return ""

    assert await isolated(inside()) == "timed out"


async def test_the_frames_of_a_waiting_task_go_through_to_the_inside():
    reached = asyncio.Event()

    async def innermost() -> None:
        reached.set()
        await asyncio.Event().wait()

    async def inside() -> None:
        await innermost()

    async def outside() -> None:
        await isolated(inside())

    task = asyncio.create_task(outside())
    await reached.wait()
    names = [frame.f_code.co_name for frame in frames_of(task)]
    assert names[-4:] == ["isolated", "inside", "innermost", "wait"]
    assert names[0] == "outside"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert frames_of(task) == []
