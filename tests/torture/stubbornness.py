"""Handlers that will not stop, by what they do: tests/torture/stubborn.py. Each would go on for an hour."""

import asyncio
import atexit
import collections
import contextlib
import ctypes
import gc
import itertools
import logging
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

_LONG_S: Final = 3600
_LETS_GO_S: Final = 0.05
"""Kinds that block the interpreter do so a moment after they were seen to begin."""

Resist = Callable[[], Coroutine[Any, Any, None]]


async def _swallow() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(_LONG_S)


async def _swallow_everything() -> None:
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.sleep(_LONG_S)


async def _uncancel() -> None:
    while True:
        try:
            await asyncio.sleep(_LONG_S)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            while task.cancelling():
                task.uncancel()


async def _wait_in_finally() -> None:
    try:
        await asyncio.sleep(_LONG_S)
    finally:
        await asyncio.sleep(_LONG_S)


async def _wait_for_long_in_finally() -> None:
    try:
        await asyncio.sleep(_LONG_S)
    finally:
        with contextlib.suppress(BaseException):
            await asyncio.wait_for(_swallow(), _LONG_S)
        await _swallow()


async def _shield() -> None:
    task = asyncio.ensure_future(asyncio.sleep(_LONG_S))
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)


async def _children() -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(_swallow())


async def _gathered() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*(_swallow() for _ in range(10)))
    await _swallow()


async def _left_task() -> None:
    _left.append(asyncio.ensure_future(_swallow_everything()))
    await asyncio.sleep(_LONG_S)


_left: Final[list[object]] = []


async def _generator() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(_LONG_S)
        finally:
            await _swallow()

    async for _ in numbers():
        pass


async def _abandoned_generator() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await _swallow()

    _left.append(found := numbers())
    await anext(found)
    await asyncio.sleep(_LONG_S)


async def _wait_for_a_task() -> None:
    task = asyncio.ensure_future(_swallow())
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])


async def _lock() -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await lock.acquire()


async def _thread() -> None:
    await asyncio.to_thread(time.sleep, _LONG_S)


async def _threads_of_its_own() -> None:
    executor = ThreadPoolExecutor()
    _left.append(executor)
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.run_in_executor(executor, time.sleep, _LONG_S) for _ in range(4)))


async def _thread_that_is_left() -> None:
    threading.Thread(target=time.sleep, args=(_LONG_S,)).start()
    await asyncio.sleep(_LONG_S)


async def _child_process() -> None:
    process = await asyncio.create_subprocess_exec("sleep", str(_LONG_S))
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await process.wait()


async def _forked_process() -> None:
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(_LONG_S,))
    process.start()
    await asyncio.to_thread(process.join)


async def _fork() -> None:
    if os.fork():
        await asyncio.sleep(_LONG_S)


async def _exit_in_finally() -> None:
    try:
        await asyncio.sleep(_LONG_S)
    finally:
        sys.exit(3)


async def _interrupt_at_the_end() -> None:
    try:
        await asyncio.sleep(_LONG_S)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _exit_of_children() -> None:
    async def child() -> None:
        try:
            await asyncio.sleep(_LONG_S)
        finally:
            sys.exit(3)

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(child())


async def _stop_the_loop() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(_LONG_S)
        asyncio.get_running_loop().stop()


async def _block_at_exit() -> None:
    atexit.register(time.sleep, _LONG_S)
    await asyncio.sleep(_LONG_S)


class _Remains:
    itself: "_Remains"

    def __del__(self) -> None:
        time.sleep(_LONG_S)


async def _block_at_finalization() -> None:
    cycle = _Remains()
    cycle.itself = cycle
    sys.modules["remains"] = cycle  # type: ignore[assignment] # it lives as long as the interpreter
    await asyncio.sleep(_LONG_S)


async def _signals_of_its_own() -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    await asyncio.sleep(_LONG_S)


async def _signals_ignored() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    await asyncio.sleep(_LONG_S)


async def _signals_masked() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    await asyncio.sleep(_LONG_S)


async def _signals_of_the_loop() -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print, "not now")
    await asyncio.sleep(_LONG_S)


async def _wakeup_descriptor() -> None:
    signal.set_wakeup_fd(-1)
    await _swallow()


def _later(act: Callable[[], object]) -> Resist:
    async def resist() -> None:
        await asyncio.sleep(_LETS_GO_S)
        act()

    return resist


async def _resource() -> None:
    RESOURCE_CLOSES.clear()
    await asyncio.sleep(_LONG_S)


RESOURCE_CLOSES: Final = threading.Event()
"""Cleared by a kind: the bot's resource then does not close."""
RESOURCE_CLOSES.set()


async def _store_locked() -> None:
    connection = sqlite3.connect("bot.db")
    _left.append(connection)
    connection.execute("BEGIN IMMEDIATE")
    await asyncio.sleep(_LONG_S)


def _keep_the_interpreter() -> None:
    sys.setswitchinterval(1000.0)
    threading.Thread(target=_spin, daemon=True).start()


def _open_a_pipe() -> None:
    os.mkfifo("pipe")
    os.open("pipe", os.O_RDONLY)


def _spin() -> None:
    while True:
        pass


def _sleep_on() -> None:
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(_LONG_S)


def _join_a_thread() -> None:
    thread = threading.Thread(target=time.sleep, args=(_LONG_S,))
    thread.start()
    thread.join()


def _take_a_lock_twice() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def _hold_the_log() -> None:
    for handler in logging.getLogger().handlers:
        handler.acquire()
    time.sleep(_LONG_S)


def _hold_the_streams() -> None:
    _reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.dup2(writing, 2)  # nobody reads
    os.write(writing, bytes(60_000))
    while True:
        print("x" * 1000, flush=True)


def _wait_for_input() -> None:
    reading, _ = os.pipe()
    os.read(reading, 1)


def _match() -> None:
    re.match(r"(a|aa)+$", "a" * 200 + "b")


def _consume() -> None:
    collections.deque(itertools.repeat(0), maxlen=0)


def _sleep_natively() -> None:
    library = ctypes.CDLL(None)
    while True:
        library.sleep(_LONG_S)


def _mutex() -> None:
    mutex = ctypes.create_string_buffer(256)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)


def _block_in_the_garbage() -> None:
    cycle = _Remains()
    cycle.itself = cycle
    del cycle
    gc.collect()


async def _block_when_cancelled() -> None:
    try:
        await asyncio.sleep(_LONG_S)
    finally:
        time.sleep(_LONG_S)


KINDS: Final[dict[str, Resist]] = {
    "swallows its cancellation": _swallow,
    "swallows everything": _swallow_everything,
    "takes back its cancellation": _uncancel,
    "waits in a finally": _wait_in_finally,
    "waits in a finally, whatever comes": _wait_for_long_in_finally,
    "shields an endless task": _shield,
    "child tasks that swallow": _children,
    "gathered tasks that swallow": _gathered,
    "a task that it has left": _left_task,
    "a generator that waits in its finally": _generator,
    "a generator that was abandoned": _abandoned_generator,
    "asyncio.wait without a time-out": _wait_for_a_task,
    "a lock that nobody releases": _lock,
    "a thread that does not end": _thread,
    "threads of an executor of its own": _threads_of_its_own,
    "a thread that it has left": _thread_that_is_left,
    "a subprocess that does not end": _child_process,
    "a process of multiprocessing": _forked_process,
    "a fork that goes on": _fork,
    "sys.exit in a finally": _exit_in_finally,
    "KeyboardInterrupt at its cancellation": _interrupt_at_the_end,
    "sys.exit in child tasks": _exit_of_children,
    "stops the event loop": _stop_the_loop,
    "atexit that blocks": _block_at_exit,
    "finalization that blocks": _block_at_finalization,
    "a signal handler of its own": _signals_of_its_own,
    "signals that are ignored": _signals_ignored,
    "signals that are masked": _signals_masked,
    "a signal handler of the loop": _signals_of_the_loop,
    "no wakeup descriptor": _wakeup_descriptor,
    "time.sleep in the loop": _later(lambda: time.sleep(_LONG_S)),
    "time.sleep in the loop, whatever comes": _later(_sleep_on),
    "time.sleep at its cancellation": _block_when_cancelled,
    "a busy loop": _later(_spin),
    "joins a thread": _later(_join_a_thread),
    "takes a lock twice": _later(_take_a_lock_twice),
    "waits for a process": _later(lambda: subprocess.run(["sleep", str(_LONG_S)], check=False)),
    "waits for input": _later(_wait_for_input),
    "waits for a signal": _later(signal.pause),
    "holds the log": _later(_hold_the_log),
    "fills a pipe that nobody reads": _later(_hold_the_streams),
    "a resource that does not close": _resource,
    "a lock on the bot's store": _store_locked,
    "a thread that keeps the interpreter": _later(_keep_the_interpreter),
    "os.system": _later(lambda: os.system(f"sleep {_LONG_S}")),  # noqa: S605 - as authors do
    "opens a pipe without a writer": _later(_open_a_pipe),
    "a destructor that blocks": _later(_block_in_the_garbage),
    "a regular expression": _later(_match),
    "a call into C without an end": _later(_consume),
    "a native sleep": _later(_sleep_natively),
    "a native lock, with the interpreter's": _later(_mutex),
}
