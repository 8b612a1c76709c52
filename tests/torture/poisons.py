"""Messages that harm whoever handles them, by what they do: tests/torture/poison.py."""

import argparse
import asyncio
import contextlib
import contextvars
import ctypes
import os
import signal
import sys
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

_PIECE: Final = 64 << 20


class Panic(BaseException):
    """As libraries in Rust raise it (PyO3: PanicException)."""


class _ExitingError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


Strike = Callable[[], Coroutine[Any, Any, None]]


class Poison(NamedTuple):
    """One message that harms. `is_dead`: it ends as a dead letter, else it is handled like any other.

    `is_late`: it strikes after the message was answered, as the handler's last act.
    """

    strike: Strike
    is_dead: bool = True
    is_late: bool = False


def _raising(error: BaseException) -> Strike:
    async def strike() -> None:
        await asyncio.sleep(0)
        raise error

    return strike


def _doing(act: Callable[[], object]) -> Strike:
    async def strike() -> None:
        await asyncio.sleep(0)
        act()

    return strike


async def _parse() -> None:
    argparse.ArgumentParser(exit_on_error=True).parse_args(["--no-such-option"])  # sys.exit(2)


async def _exit_in_a_child_that_is_waited_for() -> None:
    await asyncio.wait_for(_parse(), 5)


async def _exit_in_a_child_task() -> None:
    await asyncio.create_task(_parse())


async def _exit_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_parse())


async def _exit_in_a_callback() -> None:
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await asyncio.sleep(1)


async def _interrupt_in_a_child_task() -> None:
    await asyncio.create_task(_raising(KeyboardInterrupt())())


async def _cancel_itself() -> None:
    _task().cancel()
    await asyncio.sleep(1)


async def _cancel_itself_and_go_on() -> None:
    _task().cancel()
    with contextlib.suppress(asyncio.CancelledError):  # and no uncancel(): task.cancelling() stays 1
        await asyncio.sleep(1)


async def _cancel_itself_without_an_await() -> None:
    await asyncio.sleep(0)
    _task().cancel()


async def _cancel_itself_and_fail() -> None:
    await _cancel_itself_and_go_on()
    raise ValueError("poison")


async def _uncancel_too_often() -> None:
    for _ in range(3):
        _task().uncancel()


async def _cancel_all() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(1)


async def _cancel_all_without_an_await() -> None:
    for task in asyncio.all_tasks():
        task.cancel()


async def _interrupt_in_a_callback() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    asyncio.get_running_loop().call_soon(interrupt)
    await asyncio.sleep(1)


async def _stop_the_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.1)


async def _alarm() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    await asyncio.sleep(5)


def _take_the_output_away() -> None:
    sys.stdout = sys.stderr = None


async def _lose_the_context() -> None:
    for variable in contextvars.copy_context():
        with contextlib.suppress(Exception):
            variable.set(None)
    await asyncio.sleep(0)


async def _exit_in_the_exception_handler() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: sys.exit(3))
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0.1)


def _close_the_output() -> None:
    sys.stdout.close()
    sys.stderr.close()


class _Deep:
    def __getattr__(self, name: str) -> object:
        return getattr(self, name)


def _recurse() -> None:
    sys.setrecursionlimit(10**9)
    _ = _Deep().x


async def _exceed_memory() -> None:
    pieces = []
    while True:
        pieces.append(bytearray(_PIECE))
        await asyncio.sleep(0)


def _task() -> "asyncio.Task[object]":
    task = asyncio.current_task()
    assert task is not None
    return task


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


POISONS: Final[dict[str, Poison]] = {
    "panic": Poison(_raising(Panic("index out of bounds"))),
    "generator exit": Poison(_raising(GeneratorExit())),
    "keyboard interrupt": Poison(_raising(KeyboardInterrupt())),
    "keyboard interrupt in a child task": Poison(_interrupt_in_a_child_task),
    "cancelled error": Poison(_raising(asyncio.CancelledError())),
    "group of base exceptions": Poison(_raising(BaseExceptionGroup("x", [Panic(), KeyboardInterrupt()]))),
    "stop iteration": Poison(_raising(StopAsyncIteration())),
    "sys.exit": Poison(_doing(sys.exit)),
    "sys.exit in a child that is waited for": Poison(_exit_in_a_child_that_is_waited_for),
    "sys.exit in a child task": Poison(_exit_in_a_child_task),
    "sys.exit in a task group": Poison(_exit_in_a_group),
    "sys.exit in a callback of the loop": Poison(_exit_in_a_callback, is_dead=False),
    "KeyboardInterrupt in a callback of the loop": Poison(_interrupt_in_a_callback, is_dead=False),
    "an error whose text exits": Poison(_raising(_ExitingError())),
    "stops the loop": Poison(_stop_the_loop, is_dead=False),
    "closes the loop": Poison(_doing(lambda: asyncio.get_running_loop().close())),
    "has no output": Poison(_doing(_take_the_output_away), is_dead=False),
    "makes warnings errors": Poison(_doing(lambda: warnings.simplefilter("error")), is_dead=False),
    "loses its context": Poison(_lose_the_context, is_dead=False),
    "an exception handler that exits": Poison(_exit_in_the_exception_handler, is_dead=False),
    "closes its output": Poison(_doing(_close_the_output), is_dead=False),
    "closes all descriptors": Poison(_doing(lambda: os.closerange(3, 4096))),
    "changes the folder": Poison(_doing(lambda: os.chdir("/")), is_dead=False),
    "forks": Poison(_doing(os.fork), is_dead=False),
    "becomes another program": Poison(_doing(lambda: os.execv("/bin/true", ["true"]))),  # noqa: S606 - as authors do
    "an alarm": Poison(_alarm),
    "recursion in C": Poison(_doing(_recurse)),
    "cancels its own task": Poison(_cancel_itself),
    "cancels its own task, and fails": Poison(_cancel_itself_and_fail),
    "cancels its own task, and goes on": Poison(_cancel_itself_and_go_on, is_dead=False),
    "cancels its own task before an await": Poison(_cancel_itself_without_an_await),
    "cancels its own task at the end": Poison(_cancel_itself_without_an_await, is_dead=False, is_late=True),
    "cancels all tasks": Poison(_cancel_all, is_dead=False),
    "cancels all tasks at the end": Poison(_cancel_all_without_an_await, is_dead=False, is_late=True),
    "takes back cancellations that never were": Poison(_uncancel_too_often, is_dead=False),
    "os._exit": Poison(_doing(lambda: os._exit(1))),
    "os._exit with 0": Poison(_doing(lambda: os._exit(0))),
    "segmentation fault": Poison(_doing(lambda: ctypes.string_at(0))),
    "abort": Poison(_doing(os.abort)),
    "memory": Poison(_exceed_memory),
    "kill -9": Poison(_doing(_kill)),
}
