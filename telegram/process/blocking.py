"""Detects from another thread that an event loop is blocked, and which line of the author's code blocks it."""

import asyncio
import contextlib
import os
import sys
import sysconfig
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

BLOCKED_S: Final = 0.5
"""A loop that takes no step for this long is blocked, and the blocking line is reported."""

TICK_S: Final = 0.1
"""Interval of the checks."""

_OUTSIDE: Final = (asyncio.base_events.__file__, str(Path(__file__).with_name("running.py")))
"""Files of the code that runs the loop: frames from there outwards are not handlers."""

_LIBRARIES: Final = (
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    *(str(Path(__file__).parents[2] / name) for name in ("engine", "telegram")),
    "<frozen ",
)

_DEBUGGERS: Final = ("bdb.py", "pydevd.py")


class Place(NamedTuple):
    """A line of a program. `is_authors`: it is the author's code, not a library's or Chatlane's."""

    file: str
    line: int
    function: str
    is_authors: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}"


class LoopWatch:
    """Watches the loop of the thread that created this, for another thread, which calls `look` every TICK_S.

    `report` is called, in either thread, with the place and the seconds, once each time that the loop is blocked. `at_step`
    is called in the loop at each step that `look` has requested.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        report: Callable[[Place, float], object],
        at_step: Callable[[], object] = lambda: None,
    ) -> None:
        self._loop = loop
        self._report = report
        self._at_step = at_step
        self._thread = threading.get_ident()
        self._queue = RunQueue(threading.get_native_id())
        self._asked_at: float | None = None  # when the outstanding step was requested
        self._place: Place | None = None
        self._is_reported = False
        self._stalled_s = 0.0
        self._late_s = 0.0  # of the outstanding step: what does not count

    def look(self) -> float:
        """Return for how many seconds the loop has taken no step; 0.0 if it takes steps, or does not run."""
        late_s = max(self._queue.waited_s(), self._stalled_s)  # one is a part of the other
        self._stalled_s = 0.0
        asked_at, now = self._asked_at, time.monotonic()
        if asked_at is None or not self._loop.is_running():
            self._asked_at, self._late_s = now, 0.0
            if asked_at is None:
                with contextlib.suppress(RuntimeError):  # it was closed meanwhile
                    self._loop.call_soon_threadsafe(self._step)
            return 0.0
        self._late_s += late_s
        blocked_s = now - asked_at - self._late_s
        if blocked_s > BLOCKED_S / 2 and not self._is_reported:
            self._place = place_in(self._thread)
            self._report_if_long(self._place, blocked_s)
        return blocked_s

    def forgive(self, seconds: float) -> None:
        """Do not count, from the next look on, a time in which the whole process was stalled."""
        self._stalled_s += seconds

    def _step(self) -> None:
        """Record a step; called in the loop."""
        if self._asked_at is not None and self._place and not self._is_reported:
            self._report_if_long(self._place, time.monotonic() - self._asked_at - self._late_s)
        self._place, self._is_reported = None, False
        self._asked_at = None
        self._at_step()

    def _report_if_long(self, place: Place, seconds: float) -> None:
        if seconds > BLOCKED_S - TICK_S:  # the step was requested up to a tick after the last one
            self._is_reported = True
            self._report(place, seconds)


class RunQueue:
    """Measures how long a thread waited for a processor: on a busy machine that is not the handler's time."""

    def __init__(self, native_id: int) -> None:
        self._fd = -1
        with contextlib.suppress(OSError):  # another system
            self._fd = os.open(f"/proc/self/task/{native_id}/schedstat", os.O_RDONLY)
            weakref.finalize(self, os.close, self._fd)
        self._ns = self._waited_ns()

    def waited_s(self) -> float:
        """Return the seconds since the last call in which the thread was ready to run and did not; 0.0 if unknown."""
        before, self._ns = self._ns, self._waited_ns()
        return max(0, self._ns - before) / 1e9

    def _waited_ns(self) -> int:
        """Read the second figure of the thread's schedstat (Linux, Documentation/scheduler/sched-stats.rst).

        One system call: after each the caller waits for the interpreter, which a handler may hold for tenths of a second.
        """
        if self._fd < 0:
            return 0
        try:
            return int(os.pread(self._fd, 100, 0).split()[1])
        except (OSError, ValueError, IndexError):  # another system, or the thread has ended
            return 0


class StallClock:
    """Measures how long the whole process was stalled while a thread slept: it was stopped, or got no CPU.

    A call that holds the interpreter lock delays the thread, too, but uses CPU time meanwhile.
    """

    _LATE_S: Final = 0.3

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._used = time.process_time()

    def stalled_s(self, asked_s: float) -> float:
        """Return by how much the time since the last call exceeds `asked_s`; 0.0 for an ordinary delay."""
        at, used = time.monotonic(), time.process_time()
        late_s = at - self._at - max(asked_s, used - self._used)
        self._at, self._used = at, used
        return late_s if late_s > self._LATE_S else 0.0


def place_in(thread: int | None) -> Place:
    """Return where a thread is now: the innermost frame of the author's code inside the loop, else the innermost one."""
    innermost = at = _frame_of(thread)
    while at is not None and at.f_code.co_filename not in _OUTSIDE:
        if (place := _authors(at)) is not None:
            return place
        at = at.f_back
    if innermost is None:
        return Place("", 0, "", is_authors=False)
    code = innermost.f_code
    return Place(code.co_filename, innermost.f_lineno, code.co_name, is_authors=False)


def place_among(frames: Sequence[FrameType]) -> Place | None:
    """Return where a task waits: the innermost of its frames (outermost first) that is the author's code, if there is one."""
    return next((place for frame in reversed(frames) if (place := _authors(frame)) is not None), None)


def _authors(frame: FrameType) -> Place | None:
    code = frame.f_code
    if code.co_filename.startswith(_LIBRARIES) or _is_generated(frame):
        return None
    return Place(code.co_filename, frame.f_lineno, code.co_name, is_authors=True)


def _is_generated(frame: FrameType) -> bool:
    """Return whether the library has made it, like `__init__` of a dataclass. A program of `python -c` has that file, too.

    `__new__` of a named tuple is a lambda in a namespace with a name of its own (CPython, collections/__init__.py).
    """
    if frame.f_code.co_filename != "<string>":
        return False
    module = str(frame.f_globals.get("__name__"))
    return frame.f_code.co_name.startswith("__") or module.startswith("namedtuple_")


def is_at_breakpoint(thread: int | None) -> bool:
    """Return whether a debugger holds a thread, for as long as a person wants."""
    at = _frame_of(thread)
    while at is not None:
        if Path(at.f_code.co_filename).name in _DEBUGGERS:
            return True
        at = at.f_back
    return False


def _frame_of(thread: int | None) -> FrameType | None:
    return sys._current_frames().get(thread or 0)  # noqa: SLF001 - the documented way to ask
