"""What blocks the event loop is named: by its line, in time, and only if it does."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections import namedtuple
from dataclasses import field, make_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from telegram.dialogue import MessageContext, Router, text
from telegram.process import blocking
from telegram.process.blocking import (
    BLOCKED_S,
    TICK_S,
    LoopWatch,
    Place,
    RunQueue,
    StallClock,
    is_at_breakpoint,
    place_among,
    place_in,
)
from telegram.testing import Conversations
from telegram.testing.blocked import BlockedLoop
from tests.kit.bounds import WITHIN_S


class Clock:
    """Time that a test sets."""

    def __init__(self, monkeypatch):
        self.now = self.used = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "process_time", lambda: self.used)


class FakeLoop:
    """As much of an event loop as the watch needs: it takes steps when a test says so."""

    def __init__(self):
        self.asked = []
        self.runs = True

    def is_running(self):
        return self.runs

    def call_soon_threadsafe(self, callback):
        self.asked.append(callback)

    def step(self):
        asked, self.asked = self.asked, []
        for each in asked:
            each()


class Watched:
    """A watch over such a loop, and what it has reported."""

    def __init__(self, monkeypatch):
        self.clock = Clock(monkeypatch)
        self.waited_ns = 0
        monkeypatch.setattr(RunQueue, "_waited_ns", lambda _: self.waited_ns)
        self.reports: list[Any] = []
        self.loop = FakeLoop()
        loop: Any = self.loop
        self.watch = LoopWatch(loop, lambda place, seconds: self.reports.append((place, seconds)))

    def passes(self, seconds):
        for _ in range(round(seconds / TICK_S)):
            self.clock.now += TICK_S
            self.watch.look()


@pytest.fixture
def watched(monkeypatch):
    return Watched(monkeypatch)


def test_a_loop_that_takes_steps_is_not_reported(watched):
    for _ in range(20):
        watched.passes(TICK_S)
        watched.loop.step()
    assert watched.reports == []


def test_a_loop_that_is_blocked_is_reported_once_while_it_is(watched):
    watched.passes(BLOCKED_S + TICK_S)
    ((place, seconds),) = watched.reports
    assert place.file == __file__
    assert seconds <= BLOCKED_S
    watched.passes(10.0)
    assert len(watched.reports) == 1
    watched.loop.step()
    watched.passes(10.0)
    assert len(watched.reports) == 2


def test_a_block_that_ends_between_two_looks_is_reported_by_the_step(watched):
    watched.passes(BLOCKED_S - TICK_S)  # the first look only asks
    assert watched.reports == []
    watched.clock.now += TICK_S * 1.1
    watched.loop.step()
    assert len(watched.reports) == 1


def test_a_loop_that_does_not_run_is_not_blocked(watched):
    watched.loop.runs = False
    watched.passes(10.0)
    watched.loop.runs = True
    watched.passes(BLOCKED_S - 2 * TICK_S)
    assert watched.reports == []


def test_what_is_forgiven_does_not_count(watched):
    watched.passes(TICK_S)
    watched.clock.now += 10.0
    watched.watch.forgive(10.0)
    watched.passes(BLOCKED_S - 2 * TICK_S)
    assert watched.reports == []


def test_a_thread_that_waits_for_a_processor_is_not_blocked(watched):
    """On a busy machine everything takes long, and no line of a handler is the reason."""
    watched.passes(TICK_S)
    for _ in range(20):
        watched.waited_ns += 90_000_000
        watched.passes(TICK_S)
    assert watched.reports == []
    watched.passes(0.5)
    assert len(watched.reports) == 1


def test_a_wait_is_forgiven_once_by_whichever_clock_sees_more_of_it(watched):
    """A process that gets half of a processor is late by that half, and waits in the queue for it."""
    watched.passes(TICK_S)
    for _ in range(20):
        watched.waited_ns += 50_000_000
        watched.watch.forgive(0.05)
        watched.passes(TICK_S)
    assert len(watched.reports) == 1


def test_the_kernel_says_how_long_a_thread_waited_for_a_processor():
    """Two threads of two processes, or more, on one processor: each waits for the others."""
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("this system does not say it")
    queue = RunQueue(threading.get_native_id())
    there = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(there)})
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        waited_s = 0.0
        while waited_s < 0.01:
            waited_s += queue.waited_s()
    finally:
        other.kill()
        other.wait()
        os.sched_setaffinity(0, there)
    assert RunQueue(0).waited_s() == 0.0  # there is no such thread


def test_a_process_that_was_stopped_stood_still_and_one_that_computed_did_not(monkeypatch):
    clock = Clock(monkeypatch)
    stalls = StallClock()
    clock.now += 0.2
    assert stalls.stalled_s(0.1) == 0.0  # an ordinary delay
    clock.now += 5.1
    assert stalls.stalled_s(0.1) == pytest.approx(5.0)
    clock.now += 5.1
    clock.used += 5.1
    assert stalls.stalled_s(0.1) == 0.0  # a call that held the interpreter


def a_line_of_an_author(at):
    at.wait()  # inside of the library: threading


def test_the_place_is_the_innermost_line_of_the_author():
    at = threading.Event()
    thread = threading.Thread(target=a_line_of_an_author, args=(at,))
    thread.start()
    try:
        while place_in(thread.ident).function != "a_line_of_an_author":
            pass
        place = place_in(thread.ident)
    finally:
        at.set()
        thread.join()
    assert (place.file, place.is_authors) == (__file__, True)
    assert str(place) == f"{__file__}:{place.line} a_line_of_an_author"


def test_a_generated_method_is_not_the_authors():
    at = threading.Lock()
    row = make_dataclass("Row", [("done", bool, field(default_factory=at.acquire))])
    thread = threading.Thread(target=row)
    with at:
        thread.start()
        while sys._current_frames()[thread.ident or 0].f_code.co_filename != "<string>":
            pass
        place = place_in(thread.ident)  # it has no frame inside: a lock is not written in Python
    thread.join()
    assert (place.function, place.is_authors) == ("__init__", False)


def test_a_named_tuple_is_not_the_authors():
    """That of a library that prints a log was blamed as a handler's line."""
    frames: list[FrameType] = []
    Row = namedtuple("Row", "done")  # noqa: PYI024 - as libraries have them

    def trace(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            frames.append(frame)

    sys.setprofile(trace)
    try:
        Row(True)
    finally:
        sys.setprofile(None)
    assert frames[0].f_code.co_filename == "<string>"
    assert place_among(frames[:1]) is None


async def test_a_thread_that_runs_the_loop_does_not_block_it():
    """This module runs the loop, too; but inside of the loop there is only a library's line."""
    found: list[Place] = []
    code = compile("found.append(place_in(get_ident()))", threading.__file__, "exec")
    names = {"found": found, "place_in": place_in, "get_ident": threading.get_ident}
    asyncio.get_running_loop().call_soon(exec, code, names)
    await asyncio.sleep(0)
    assert not found[0].is_authors


def test_a_breakpoint_is_no_blockade(monkeypatch):
    assert not is_at_breakpoint(threading.get_ident())
    monkeypatch.setattr(blocking, "_DEBUGGERS", ("test_blocking.py",))
    assert is_at_breakpoint(threading.get_ident())


# -- in the test kit


def router_of(handler):
    router = Router()
    router.message(text)(handler)
    return router


def test_a_test_fails_with_the_line_of_a_handler_that_blocks_the_loop(monkeypatch):
    reported = threading.Event()
    report = BlockedLoop._report

    def reports(*about: Any) -> None:
        report(*about)
        reported.set()

    monkeypatch.setattr(BlockedLoop, "_report", reports)

    async def handle(ctx: MessageContext) -> None:
        reported.wait(WITHIN_S)
        ctx.reply("done")

    with Conversations(router_of(handle)) as bot:
        alice = bot.chat("Alice")
        with pytest.warns(RuntimeWarning, match=r"blocks the event loop: .*test_blocking\.py:\d+ handle"):
            alice.says("hello")
        assert alice.sees("done")


def test_what_is_given_to_a_thread_does_not_block_the_loop():
    def work():
        time.sleep(BLOCKED_S + 2 * TICK_S)

    async def handle(ctx: MessageContext) -> None:
        await asyncio.to_thread(work)
        ctx.reply("done")

    with Conversations(router_of(handle)) as bot:
        alice = bot.chat("Alice")
        alice.says("hello")
        assert alice.sees("done")
