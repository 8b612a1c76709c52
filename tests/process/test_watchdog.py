"""A stop, whatever handlers do: each case is a process with one stubborn handler and a signal.

The tests judge who has ended the process: the loop, the watchdog's thread (code 1, or 128 and more) or the guard (SIGVTALRM).
When each of them acts is judged with a clock of the tests' own, here and in test_guard.py: in these processes whoever has to act
has all the time for it.
"""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from telegram.load.bot.service import ROOT
from telegram.process import guard, watchdog
from telegram.process.blocking import TICK_S
from tests.kit.bounds import WITHIN_S

pytestmark = pytest.mark.processes

DRAIN_TIMEOUT_S = 1.0

LONG_S = 3600.0
"""A deadline that does not end the process within the test: something else does, or the test fails."""

PROGRAM = """
import asyncio, atexit, collections, contextlib, ctypes, itertools, multiprocessing, os, re, resource, signal, sys, threading
import time
from concurrent.futures import ThreadPoolExecutor
from telegram.process import guard, watchdog as module
from telegram.process.running import Running

class Watchdog(module.Watchdog):
    ticks = []  # (when, what is left of the stop's time)

    def _tick(self, clock):
        super()._tick(clock)
        self.ticks.append((self._ticked_at, self._left_s))

    async def after_ticks(self, count):
        count += len(self.ticks)
        while len(self.ticks) < count:
            await asyncio.sleep(0.01)
        return self.ticks[-1]

def ready():
    print("ready", flush=True)

async def swallow():
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.sleep(3600)

async def thread():
    await asyncio.to_thread(time.sleep, 3600)

async def threads_of_its_own():
    executor = ThreadPoolExecutor()
    await asyncio.get_running_loop().run_in_executor(executor, ready)

async def exit_in_a_child():
    async def child():
        sys.exit(3)
    with contextlib.suppress(BaseException):
        await asyncio.create_task(child())

async def stop_the_loop():
    asyncio.get_running_loop().stop()
    await asyncio.sleep(3600)

async def ignore_signals():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, print, "hangup")
    while signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        await asyncio.sleep(0.01)
    print("heard again", flush=True)
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(3600)

async def go_on_in_a_copy():
    if os.fork():
        await asyncio.sleep(3600)
    await asyncio.sleep(0)
    print("the copy goes on", flush=True)

async def terminate_a_child():
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
    child.start()
    child.terminate()
    child.join()
    print("ended by", -child.exitcode, flush=True)
    await asyncio.sleep(3600)

async def quick():
    pass

async def block_at_the_end():
    atexit.register(time.sleep, 3600)

async def spin():
    print("ready", flush=True)  # a call of `ready` would be the author's line, too
    while True:
        pass

async def block():
    print("ready", flush=True)
    time.sleep(3600)

async def block_while_cancelled():
    try:
        await asyncio.sleep(3600)
    finally:
        while True:  # here the stop has DRAIN left, however long the way was
            watchdog._left_s = min(watchdog._left_s, DRAIN)
            time.sleep(0.01)

async def be_stopped():
    continued = []
    signal.signal(signal.SIGCONT, lambda *_: continued.append(1))
    ready()
    while watchdog._left_s == float("inf"):
        await asyncio.sleep(0.01)
    began_at, began_with_s = await watchdog.after_ticks(1)
    print("stopping", flush=True)
    while not continued:
        await asyncio.sleep(0.01)
    ended_at, left_s = await watchdog.after_ticks(2)
    print("did not count:", (ended_at - began_at) - (began_with_s - left_s), flush=True)

async def hold_the_interpreter():
    ready()
    collections.deque(itertools.repeat(0), maxlen=0)

async def hold_the_interpreter_and_wait():
    ready()
    mutex = ctypes.create_string_buffer(256)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)

def block_at_the_start():
    while watchdog._blocked_s < 1.5:
        time.sleep(0.01)
    globals()["block_at_the_start"] = quick

async def block_until_named(act, argument):
    while not watchdog._watch._is_reported:
        act(argument)
    count = len(watchdog.ticks) + 3
    while len(watchdog.ticks) < count:
        act(argument)
    await watchdog.after_ticks(1)

async def block_briefly():
    await block_until_named(time.sleep, 0.01)
    # some tenths of a second without a bytecode
    await block_until_named(lambda count: collections.deque(range(count), maxlen=0), 10_000_000)

async def main(watchdog, handler):
    heard = asyncio.Queue()
    watchdog.watch(heard.put_nowait)
    if handler == "block_at_the_start":
        block_at_the_start()
    watchdog.serve()
    task = asyncio.create_task(globals()[handler]())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.3, ready)
    await heard.get()
    if handler == "be_stopped":
        await task
    task.cancel()
    return 0

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
held = [os.dup(0) for _ in range(HELD)]
guard.__file__ = GUARD
briefly = module._briefly
module._briefly = lambda act, *_: briefly(act, WITHIN)
watchdog = Watchdog()
watchdog.at_force = lambda: print("forced", flush=True)
watchdog.start(drain_timeout_s=DRAIN, blocked_max_s=BLOCKED)
running = Running(FACTORY)
try:
    code = running.run(main(watchdog, sys.argv[1]))
finally:
    watchdog.unwatch(running.left)
sys.exit(watchdog.leave(code))
"""

UVLOOP = "__import__('uvloop').new_event_loop"


class Process:
    """One process of PROGRAM that has come so far as its handler says."""

    def __init__(
        self,
        handler,
        *,
        drain_timeout_s=DRAIN_TIMEOUT_S,
        blocked_max_s="float('inf')",
        factory=UVLOOP,
        held=0,
        guards,
    ):
        program = PROGRAM.replace("DRAIN", str(drain_timeout_s)).replace("BLOCKED", blocked_max_s)
        program = program.replace("FACTORY", factory).replace("HELD", str(held))
        program = program.replace("GUARD", repr(guards[handler.startswith("hold")]))
        program = program.replace("WITHIN", str(WITHIN_S))
        command = [sys.executable, "-uc", program, handler]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        self._written = b""
        self._fd = self._process.stdout.fileno()

    def until(self, text):
        """Return when it has written this."""
        give_up = time.monotonic() + WITHIN_S
        while text not in self._written.decode(errors="replace"):
            assert time.monotonic() < give_up, self._written
            assert select.select([self._fd], [], [], WITHIN_S)[0]
            data = os.read(self._fd, 10_000)
            assert data, self._written
            self._written += data
        return self

    @property
    def pid(self):
        return self._process.pid

    def signal(self, number=signal.SIGTERM):
        self._process.send_signal(number)
        return self

    def ended(self):
        """Return (exit code, what it has written)."""
        out, _ = self._process.communicate(timeout=100)
        return self._process.returncode, (self._written + out).decode(errors="replace")

    def kill(self):
        """End it with all that it has left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def guards(tmp_path_factory):
    """The guard's program: one that leaves the thread all the time it needs, and one that waits for the tracebacks."""
    folder = tmp_path_factory.mktemp("guards")
    changes = [{"LATER_S": WITHIN_S}, {"_TRACE_S": WITHIN_S, "_TRACE_LOOKS": int(WITHIN_S / 0.01)}]
    for number, change in enumerate(changes):
        program = Path(guard.__file__).read_text()
        for name, value in change.items():
            program, count = re.subn(rf"(?m)^{name}: Final = .*$", f"{name} = {value}", program)
            assert count == 1
        (folder / f"{number}.py").write_text(program)
    return [str(folder / f"{number}.py") for number in range(len(changes))]


@pytest.fixture
def begin(guards):
    """Make a Process; at the end of the test it is killed."""
    begun = []

    def one(*args, **options):
        begun.append(Process(*args, guards=guards, **options))
        return begun[-1]

    yield one
    for process in begun:
        process.kill()


@pytest.mark.parametrize(
    "handler",
    [
        "swallow",
        "thread",
        "threads_of_its_own",
        "exit_in_a_child",
        "stop_the_loop",
        "ignore_signals",
        "quick",
    ],
)
def test_a_handler_that_lets_the_loop_run_does_not_delay_the_end(begin, handler):
    process = begin(handler, drain_timeout_s=LONG_S).until("ready")
    if handler == "ignore_signals":
        process.until("heard again")
    code, out = process.signal().ended()
    assert (code, "forced" in out) == (0, False), out


@pytest.mark.parametrize("factory", ["asyncio.new_event_loop", UVLOOP])
def test_signal_handlers_of_the_author_run_beside_ours(begin, factory):
    process = begin("ignore_signals", factory=factory, drain_timeout_s=LONG_S)
    code, _ = process.until("hangup").signal().ended()
    assert code == 0


@pytest.mark.parametrize("factory", ["asyncio.new_event_loop", UVLOOP])
def test_a_signal_to_a_fork_is_not_ours(begin, factory):
    process = begin("terminate_a_child", factory=factory, drain_timeout_s=LONG_S).until("ended by 15")
    code, out = process.until("ready").signal().ended()
    assert (code, "forced" in out) == (0, False), out


def test_a_copy_of_the_process_does_not_go_on(begin):
    _, out = begin("go_on_in_a_copy").until("the copy ends here").signal().ended()
    assert "the copy goes on" not in out


@pytest.mark.parametrize(
    "handler",
    ["spin", "block", "block_while_cancelled", "hold_the_interpreter", "hold_the_interpreter_and_wait"],
)
def test_a_handler_that_blocks_the_loop_is_ended_by_force_and_named(begin, handler):
    code, out = begin(handler).until("ready").signal().ended()
    assert f" {handler}" in out
    # What ran is not to blame. Of a call that holds the interpreter nobody can know that it would have ended.
    by_the_guard = handler.startswith("hold")
    assert (code, "forced\n" in out) == (-signal.SIGVTALRM if by_the_guard else 1, not by_the_guard), out


def test_what_holds_up_the_end_of_the_process_does_not_change_its_code(begin):
    code, out = begin("block_at_the_end", drain_timeout_s=LONG_S).until("ready").signal().ended()
    assert code == 0, out
    assert "left behind" in out


@pytest.mark.parametrize("handler", ["block", "hold_the_interpreter", "hold_the_interpreter_and_wait"])
def test_a_second_signal_ends_the_process_at_once(begin, handler):
    code, out = begin(handler, drain_timeout_s=LONG_S).until("ready").signal().signal(signal.SIGINT).ended()
    by_the_thread = {128 + signal.SIGINT, 128 + signal.SIGTERM}  # by the one that came last
    assert code in (by_the_thread if handler == "block" else {-signal.SIGVTALRM}), out


@pytest.mark.parametrize("handler", ["quick", "hold_the_interpreter_and_wait"])
def test_signals_arrive_when_1200_descriptors_are_open(begin, handler):
    """select(2) knows none above 1,023. The second of these is ended by the guard's process."""
    drain_s = LONG_S if handler == "quick" else DRAIN_TIMEOUT_S
    code, out = begin(handler, held=1200, drain_timeout_s=drain_s).until("ready").signal().ended()
    assert (code, "any more" in out) == (0 if handler == "quick" else -signal.SIGVTALRM, False), out


def test_the_thread_says_that_it_ends_the_process_before_it_takes_time_for_it(monkeypatch):
    telling, told = socket.socketpair()
    told.setblocking(False)
    acts = []

    def briefly(*_):
        acts.append(told.recv(100))

    def exits(code):
        raise SystemExit(code)

    monkeypatch.setattr(watchdog, "_briefly", briefly)
    monkeypatch.setattr(watchdog, "_exit", exits)
    watching = watchdog.Watchdog()
    watching._telling = telling
    with telling, told:
        for end, code in ((watching._end, 128 + signal.SIGTERM), (lambda: watching._leave(0), 0)):
            watching._heard = [signal.SIGTERM] * 2
            with pytest.raises(SystemExit, match=str(code)):
                end()
    assert acts == [bytes([guard.ENDING])] * 3


def test_a_thread_that_does_not_run_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(watchdog, "_thread", SimpleNamespace(start_new_thread=lambda *_: 1))
    watchdog._briefly(lambda: None, 0.001)


def test_a_blocked_process_has_time_to_say_why_it_ends(monkeypatch):
    """A thread that writes to the log may not run for tenths of a second on a busy machine."""
    given = []
    monkeypatch.setattr(watchdog, "_briefly", lambda _, within_s=watchdog._LOG_S: given.append(within_s))
    monkeypatch.setattr(watchdog, "_exit", mock.Mock(side_effect=SystemExit))
    watching = watchdog.Watchdog()
    watching._telling = mock.Mock(fileno=lambda: -1)
    watching._serves_since, watching._blocked_max_s = 0.0, 30.0
    with pytest.raises(SystemExit):
        watching._look(mock.Mock(look=lambda: 31.0))
    assert given == [watchdog._LAST_LOG_S]
    assert watchdog._LAST_LOG_S >= 1.0


def test_the_time_in_which_the_process_was_stopped_does_not_count(monkeypatch):
    now = [100.0]

    def wait(*_, **__):
        now[0] += 5.0
        return False

    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(guard, "wait", wait)
    watching = watchdog.Watchdog()
    watching._reading = mock.Mock()
    watching._left_s = 10.0
    watching._tick(mock.Mock(stalled_s=lambda _: 4.75))
    assert watching._left_s == 9.75
    now[0] += 0.25  # a look beside a handler that computes takes its time, too
    watching._tick(mock.Mock(stalled_s=lambda _: 4.75))
    assert watching._left_s == 9.25


def test_a_process_that_was_stopped_in_the_middle_of_its_stop_has_the_rest_of_its_time(begin):
    process = begin("be_stopped", drain_timeout_s=LONG_S).until("ready").signal().until("stopping")
    process.signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    time.sleep(1.0)
    code, out = process.signal(signal.SIGCONT).ended()
    assert (code, "forced" in out) == (0, False), out
    assert float(out.partition("did not count: ")[2].split()[0]) > 1.0 - 1.5 * TICK_S, out


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="proc(5) is of Linux")
def test_the_guard_sees_whether_a_process_is_stopped():
    waiting = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    with waiting:
        assert not guard._is_stopped(waiting.pid)
        waiting.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, waiting.pid, os.WSTOPPED)
        assert guard._is_stopped(waiting.pid)
        waiting.kill()
    assert not guard._is_stopped(waiting.pid)


def test_a_loop_that_is_blocked_for_longer_than_any_handler_may_take_ends_the_process_and_names_the_line(
    begin,
):
    code, out = begin("block", blocked_max_s="1.0").ended()  # with its start
    assert code == 1
    assert "<string>:" in out
    assert "forced" not in out  # what ran has had an attempt


def test_a_loop_that_is_blocked_before_the_bot_serves_may_be_so(begin):
    process = begin("block_at_the_start", blocked_max_s="1.0", drain_timeout_s=LONG_S)
    code, out = process.until("ready").until("the event loop takes steps again").signal().ended()
    assert code == 0, out


def test_what_blocked_the_loop_before_the_bot_served_does_not_count(monkeypatch):
    """Its step that has been asked for comes after the start, in which the bot begins to serve."""
    now = [100.0]
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: now[0]))
    ended = mock.Mock()
    watching = watchdog.Watchdog()
    monkeypatch.setattr(watching, "_exit", ended)
    watching._blocked_max_s = 10.0
    watching.serve()
    now[0] += 1.0
    watching._look(mock.Mock(look=lambda: 50.0))
    ended.assert_not_called()
    now[0] += 10.0
    watching._look(mock.Mock(look=lambda: 60.0))
    ended.assert_called_once()


def test_the_kernel_is_asked_for_an_end_once_the_bot_serves_and_again_in_each_step(monkeypatch):
    asked: list[tuple[int, float]] = []
    kernel = SimpleNamespace(
        ITIMER_VIRTUAL=signal.ITIMER_VIRTUAL, setitimer=lambda which, seconds: asked.append((which, seconds))
    )
    monkeypatch.setattr(watchdog, "signal", kernel)
    monkeypatch.setattr(guard, "wait", lambda *_, **__: False)
    watching = watchdog.Watchdog()
    watching._reading = mock.Mock()
    watching._blocked_max_s = 10.0
    clock = mock.Mock(stalled_s=lambda _: 0.0)
    watching._tick(clock)
    assert asked == []
    watching.serve()
    watching._tick(clock)
    assert asked == [(signal.ITIMER_VIRTUAL, 10.0)] * 2


def test_a_call_that_holds_the_interpreter_for_longer_than_any_handler_may_take_ends_the_process(begin):
    code, out = begin("hold_the_interpreter", blocked_max_s="1.0").ended()
    assert code == -signal.SIGVTALRM
    assert "in hold_the_interpreter" in out


def test_each_time_that_the_loop_is_blocked_the_line_is_named_once(begin):
    _, out = begin("block_briefly").until("ready").signal().ended()
    assert out.count("a handler blocks the event loop") == 2
