"""A thread beside the event loop, for what the loop cannot do while a handler blocks it.

* It receives SIGINT and SIGTERM even while the loop is blocked, and passes them on to the loop.
* From the first signal on the process has a deadline, after which it is killed. A second signal leaves AT_ONCE_S.
* It logs the line that blocks the loop. A loop that is blocked for longer than any handler may take serves no update
  any more, and nothing can be cancelled in it: the process is killed, and the running updates count an attempt.

| the stop is delayed by                                          | it is ended by                            |
|-----------------------------------------------------------------|-------------------------------------------|
| a handler that ignores its cancellation, a thread of the pool   | Engine.drain, Running: they do not wait   |
| Python code that blocks the loop, or runs at the process's end  | this thread                               |
| a call into C that holds the interpreter lock                   | the process of guard.py                   |

Signals: Python's own handlers run in the main thread between two bytecodes, so not during a call into C. But the
interpreter writes a byte to the wakeup descriptor (`signal.set_wakeup_fd`) at once, and this thread reads it.
"""

import _thread
import asyncio
import contextlib
import faulthandler
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final, NoReturn

import structlog

from telegram.process import guard
from telegram.process.blocking import TICK_S, LoopWatch, Place, StallClock, is_at_breakpoint, place_in

log = structlog.get_logger(__name__)

EXIT_FORCED: Final = 1
"""Exit code of a process that was killed because a stop did not finish in time."""

SPARE_S: Final = 0.4
"""How long after `drain_timeout_s` a stop is forced: within the second that is promised."""

_FAILURES_MAX: Final = 20
"""Maximum number of consecutive failed ticks."""

_TAKEN: Final = 0x80
"""Added to the number of a signal: the mark of Python's handler. Numbers of signals are below it."""

_LOG_S: Final = 0.15
"""Maximum time for writing a log line: the blocked thread may hold the log's lock."""

_LAST_LOG_S: Final = 5.0
"""The same for the line that says why a blocked process ends: nothing waits for that end, and a busy machine may be slow."""

_LEAVE_S: Final = 2.0
"""Time for remaining threads and `atexit` functions at the end of the process, e.g. for error trackers to send reports."""

_WINDS_UP_S: Final = 3.0
"""Minimum CPU time without a step of this thread after which the kernel ends the process."""


class Watchdog:
    """`start` it in the main thread, before the event loop; call `watch` inside the loop.

    `at_force` is called, in the thread, before a stop is forced.
    """

    def __init__(self) -> None:
        self.at_force: Callable[[], object] = lambda: None
        self._stop_s = self._blocked_max_s = math.inf
        self._reading: socket.socket
        self._writing: socket.socket
        self._telling: socket.socket
        self._guard: subprocess.Popen[bytes]
        self._main = threading.main_thread().ident
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._before: dict[int, Any] = {}
        self._fd_of_others = -1
        self._watch: LoopWatch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._notify: Callable[[signal.Signals], object] | None = None
        self._heard: list[signal.Signals] = []
        self._bytes: Counter[int] = Counter()  # from the interpreter, by signal
        self._taken: Counter[int] = Counter()  # from `_take`
        self._left_s = math.inf
        self._ticked_at = time.monotonic()
        self._blocked_s = 0.0
        self._is_supervised = False
        self._serves_since = math.inf
        self._exit_code: int | None = None
        self._left_behind: list[str] = []

    def start(
        self, *, drain_timeout_s: float, blocked_max_s: float = math.inf, is_supervised: bool = False
    ) -> None:
        """Handle signals from now on. The process ends at the latest SPARE_S after `drain_timeout_s` from the first signal,
        or when the loop has been blocked for `blocked_max_s`.

        `is_supervised`: a supervisor passes SIGTERM on, which systemd may have sent to all processes of the service: several
        are one, and SIGINT after it stops at once. SIGHUP is the supervisor's.
        """
        self._is_supervised = is_supervised
        if is_supervised:
            signal.signal(signal.SIGHUP, lambda *_: None)
        self._stop_s, self._blocked_max_s = drain_timeout_s + SPARE_S, blocked_max_s
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        self._before = {number: signal.getsignal(number) for number in guard.HEARD}
        self._hold()
        os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=self._in_a_copy)
        faulthandler.register(guard.TRACE_SIGNAL, file=sys.__stderr__ or 2, chain=True)
        self._start_guard()
        self._thread.start()

    def _start_guard(self) -> None:
        self._telling, told = socket.socketpair()
        self._telling.setblocking(False)
        fds = (self._reading.fileno(), told.fileno())
        given = (*map(str, fds), str(self._stop_s), str(int(self._is_supervised)))
        try:
            self._guard = subprocess.Popen(  # noqa: S603 - our own script
                (sys.executable, "-I", "-S", guard.__file__, *given),
                pass_fds=fds,
                start_new_session=True,  # Ctrl+C in a terminal is for the bot
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        except (OSError, ValueError) as error:
            log.warning("a call into C that holds the interpreter can outlast a stop", reason=str(error))
        told.close()

    def watch(self, notify: Callable[[signal.Signals], object]) -> None:
        """Watch the running loop; `notify` is called in it with each signal, also with those received before."""
        self._loop, self._notify = asyncio.get_running_loop(), notify
        self._hold()
        self._watch = LoopWatch(self._loop, _report, self._hold)
        for number in self._heard:
            notify(number)

    def serve(self) -> None:
        """From now on the bot handles updates; before this, opening resources may block the loop for long."""
        self._serves_since = time.monotonic()
        self._wind_up()

    def unwatch(self, left: Sequence[str] = ()) -> None:
        """Note that the loop has ended and the process is ending; `left` names the tasks that did not end."""
        self._watch = self._loop = self._notify = None
        self._fd_of_others = -1
        self._left_behind = list(left)
        self._hold()

    def leave(self, code: int) -> int:
        """Return the exit code of a process that has finished its work.

        Threads and `atexit` functions may delay its end for _LEAVE_S, tasks not at all: then it is ended with this code.
        """
        self._exit_code = code
        if self._left_behind:  # Python would complain about each of them
            self._leave(code)
        self._left_s = min(self._left_s, _LEAVE_S)
        return code

    # -- in the main thread, between two bytecodes ---------------------------------------------------------------------

    def _hold(self) -> None:
        """Install the signal handlers and the wakeup descriptor again: a starting loop, or a handler, replaces them."""
        for number in guard.HEARD:
            if signal.getsignal(number) != self._take:
                signal.signal(number, self._take)
        fd = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        if fd != self._writing.fileno():
            self._fd_of_others = fd

    def _take(self, number: int, _: FrameType | None) -> None:
        """Python's handler of a signal. The interpreter's own byte may have gone to another wakeup descriptor, also to one
        that was replaced between the signal and this call: so the thread gets a mark, and counts the two as one signal.
        """
        fd = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        if fd != self._writing.fileno():
            self._fd_of_others = fd
        with contextlib.suppress(OSError):
            self._writing.send(bytes([number | _TAKEN]))

    def _in_a_copy(self) -> None:
        """Run in a fork of the process: restore its signals, so that it does not act as a second bot."""
        self._telling.close()  # else the guard would not see the end of the process
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        _unblock()
        if self._loop is not None:
            self._loop.call_soon(_end_the_copy)

    # -- in the watchdog's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        clock, failures = StallClock(), 0
        while True:
            try:
                self._tick(clock)
                failures = 0
            except Exception as error:  # noqa: BLE001 - no memory, no threads, descriptors that a handler has closed
                failures += 1
                if failures == _FAILURES_MAX:
                    self._exit(
                        EXIT_FORCED, f"signals cannot be heard any more ({type(error).__name__}: {error})"
                    )
                time.sleep(TICK_S)

    def _tick(self, clock: StallClock) -> None:
        self._wind_up()
        is_readable = guard.wait(self._reading, timeout_s=TICK_S)
        stalled_s = clock.stalled_s(TICK_S)
        # With a look in between: beside a thread that computes, each of its system calls waits for the interpreter.
        before, self._ticked_at = self._ticked_at, time.monotonic()
        self._left_s -= self._ticked_at - before - stalled_s
        if is_readable:
            self._read(self._reading.recv(100))
        if self._left_s <= 0:
            self._end()
        if (watch := self._watch) is not None:
            watch.forgive(stalled_s)
            self._look(watch)

    def _wind_up(self) -> None:
        """Reset the CPU time after which the kernel ends a process in which this thread takes no step."""
        if math.isfinite(self._serves_since) and math.isfinite(self._blocked_max_s):
            signal.setitimer(signal.ITIMER_VIRTUAL, max(_WINDS_UP_S, self._blocked_max_s))

    def _read(self, data: bytes) -> None:
        heard = bytes(number & ~_TAKEN for number in data if self._is_new(number))
        self._forward(self._telling.fileno(), heard)
        self._forward(self._fd_of_others, bytes(number for number in data if not number & _TAKEN))
        for number in heard:
            self._hear(signal.Signals(number))

    def _forward(self, fd: int, data: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(fd, data)

    def _is_new(self, number: int) -> bool:
        """Count a byte; return whether it is the first sign of a signal: the interpreter's byte, or the mark of `_take`."""
        counts, others = (self._taken, self._bytes) if number & _TAKEN else (self._bytes, self._taken)
        number &= ~_TAKEN
        counts[number] += 1
        is_repeated = self._is_supervised and number == signal.SIGTERM and counts[number] > 1
        return number in guard.HEARD and counts[number] > others[number] and not is_repeated

    def _hear(self, number: signal.Signals) -> None:
        self._heard.append(number)
        self._left_s = min(self._left_s, self._stop_s if len(self._heard) == 1 else guard.AT_ONCE_S)
        loop, notify = self._loop, self._notify
        if loop is not None and notify is not None:
            with contextlib.suppress(RuntimeError):  # it was closed meanwhile
                loop.call_soon_threadsafe(notify, number)

    def _look(self, watch: LoopWatch) -> None:
        blocked_s, before_s = watch.look(), self._blocked_s
        self._blocked_s = blocked_s
        if blocked_s < before_s and before_s > guard.AT_ONCE_S:
            log.warning("the event loop takes steps again", blocked_s=round(before_s, 1))
        # Its step may have been asked for before the bot served, and come later.
        counts_s = min(blocked_s, time.monotonic() - self._serves_since)
        if counts_s > self._blocked_max_s and not is_at_breakpoint(self._main):
            why = "the event loop is blocked for longer than a handler may take"
            self._exit(EXIT_FORCED, why, log_s=_LAST_LOG_S)

    def _tell_the_guard(self) -> None:
        """Keep the guard from ending the process while this thread does, e.g. on a machine that is busy."""
        self._forward(self._telling.fileno(), bytes([guard.ENDING]))

    def _end(self) -> NoReturn:
        if self._exit_code is not None:
            self._leave(self._exit_code)
        self._tell_the_guard()
        _briefly(self.at_force)
        code = EXIT_FORCED if len(self._heard) == 1 else 128 + self._heard[-1]
        self._exit(code, "the stop was forced: what was not committed is handled again at the next start")

    def _leave(self, code: int) -> NoReturn:
        self._tell_the_guard()
        main = threading.main_thread()
        threads = [each.name for each in threading.enumerate() if not each.daemon and each is not main]
        place = str(place_in(self._main))
        _briefly(
            lambda: log.warning(
                "left behind at the end of the process", tasks=self._left_behind, threads=threads, at=place
            )
        )
        _exit(code)

    def _exit(self, code: int, why: str, log_s: float = _LOG_S) -> NoReturn:
        self._tell_the_guard()
        place = str(place_in(self._main))
        _briefly(lambda: log.error(why, at=place), log_s)
        _exit(code)


def _exit(code: int) -> NoReturn:
    _briefly(_flush)
    os._exit(code)


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _block() -> None:
    """Block signals before a fork: one to the copy must not be taken for one to the bot."""
    signal.pthread_sigmask(signal.SIG_BLOCK, guard.HEARD)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, guard.HEARD)


def _end_the_copy() -> NoReturn:
    sys.stderr.write("a handler has forked the process and went on in the copy: the copy ends here\n")
    os._exit(EXIT_FORCED)


def _report(place: Place, seconds: float) -> None:
    event = "a handler blocks the event loop" if place.is_authors else "the event loop is blocked"
    _briefly(lambda: log.warning(event, at=str(place), seconds=round(seconds, 1)))


def _briefly(act: Callable[[], object], within_s: float = _LOG_S) -> None:
    """Call `act` in a thread, and wait at most `within_s` for it. Not a `threading.Thread`: its `start` waits without a limit."""
    done = threading.Lock()
    done.acquire()

    def run() -> None:
        try:
            act()
        finally:
            done.release()

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # the process may have no more threads
        act()
    else:
        done.acquire(timeout=within_s)
