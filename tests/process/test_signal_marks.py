"""A signal is heard once, wherever the interpreter's byte of it has gone."""

import os
import signal
import socket

import pytest

from telegram.process.watchdog import Watchdog

BYTE, MARK = "byte", "mark"
TERM = signal.SIGTERM


@pytest.fixture
def dog():
    """A watchdog without its thread; the wakeup descriptor is its own, as `_hold` leaves it."""
    watchdog = Watchdog()
    watchdog._reading, watchdog._writing = socket.socketpair()
    watchdog._telling, forwarded = socket.socketpair()
    for each in (watchdog._reading, watchdog._writing, forwarded):
        each.setblocking(False)
    before = signal.set_wakeup_fd(watchdog._writing.fileno())
    yield watchdog, forwarded
    signal.set_wakeup_fd(before)
    for each in (watchdog._reading, watchdog._writing, watchdog._telling, forwarded):
        each.close()


@pytest.mark.parametrize(
    ("signs", "times"),
    [
        ([BYTE, MARK], 1),
        ([BYTE], 1),  # the main thread is inside of a call into C
        (
            [MARK],
            1,
        ),  # the byte has gone to the event loop's descriptor, which was replaced before Python's handler ran
        ([BYTE, MARK, BYTE, MARK], 2),
        ([BYTE, BYTE, MARK], 2),  # Python calls a handler once for signals that come at once
        ([MARK, BYTE, MARK], 2),
    ],
)
def test_a_signal_is_heard_once(dog, signs, times):
    watchdog, forwarded = dog
    for sign in signs:
        if sign is BYTE:
            watchdog._writing.send(bytes([TERM]))
        else:
            watchdog._take(TERM, None)
        watchdog._read(watchdog._reading.recv(100))
    assert watchdog._heard == [TERM] * times
    assert forwarded.recv(100) == bytes([TERM]) * times


def test_several_sigterm_are_one_to_a_supervised_process(dog):
    """uvicorn #1069, and systemd's KillMode=control-group: SIGTERM comes from whoever stops all, and from the supervisor."""
    watchdog, forwarded = dog
    watchdog._is_supervised = True
    for number in (TERM, TERM, signal.SIGINT):
        watchdog._writing.send(bytes([number]))
        watchdog._take(number, None)
        watchdog._read(watchdog._reading.recv(100))
    assert watchdog._heard == [TERM, signal.SIGINT]
    assert forwarded.recv(100) == bytes([TERM, signal.SIGINT])


def test_other_loops_get_the_bytes_without_marks(dog):
    watchdog, _ = dog
    ours, theirs = socket.socketpair()
    with ours, theirs:
        watchdog._fd_of_others = ours.fileno()
        watchdog._writing.send(bytes([signal.SIGHUP]))
        watchdog._take(TERM, None)
        watchdog._read(watchdog._reading.recv(100))
        assert os.read(theirs.fileno(), 100) == bytes([signal.SIGHUP])
    assert watchdog._heard == [TERM]
