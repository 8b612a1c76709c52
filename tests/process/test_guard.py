"""When the guard ends the bot's process: with a clock of the test's own, and no process."""

import signal
import socket
from types import SimpleNamespace

import pytest

from telegram.process import guard

BOT = 4711
TERM = bytes([signal.SIGTERM])
STOP_S = 10.0


class Bot:
    """The bot's process as the guard sees it: its signals, what its thread forwards, and when it was ended."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        self.stopped = range(0)  # ticks in which it is stopped (SIGSTOP)
        self.ended: list[tuple[int, float]] = []  # (number of the signal, seconds since the start)
        self._ticks = 0
        self._later = []
        self._wakeup, self._read_by_guard = socket.socketpair()
        self._thread, self._forwarded = socket.socketpair()
        for each in (self._read_by_guard, self._forwarded):
            each.setblocking(False)
        os = SimpleNamespace(getppid=lambda: 1 if self.ended else BOT, kill=self._kill)
        monkeypatch.setattr(guard, "os", os)
        monkeypatch.setattr(guard, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self._sleep))
        monkeypatch.setattr(guard, "_is_stopped", lambda _: self._ticks in self.stopped)

    def receives(self, data, after_s=0.0):
        """Signals arrive; the thread does not read them."""
        self._at(after_s, lambda: self._wakeup.send(data))

    def forwards(self, data, after_s=0.0):
        self._at(after_s, lambda: self._thread.send(data))

    def guarded(self, **named):
        guard.guard(self._read_by_guard, self._forwarded, STOP_S, **named)
        for each in (self._wakeup, self._read_by_guard, self._thread, self._forwarded):
            each.close()
        return self.ended

    def _at(self, after_s, act):
        if after_s:
            self._later.append((100.0 + after_s, act))
        else:
            act()

    def _sleep(self, seconds):
        self._ticks += 1
        self.now += seconds
        for each in [each for each in self._later if each[0] <= self.now + 1e-9]:
            self._later.remove(each)
            each[1]()

    def _kill(self, pid, number):
        assert pid == BOT
        self.ended.append((number, round(self.now - 100.0, 3)))


@pytest.fixture
def bot(monkeypatch):
    return Bot(monkeypatch)


def ended_at(seconds):
    """At the first look after it."""
    return [(signal.SIGVTALRM, pytest.approx(seconds, abs=guard._TICK_S))]


def test_it_ends_a_process_that_has_not_read_its_signal(bot):
    bot.receives(TERM)
    assert bot.guarded() == ended_at(STOP_S + guard.LATER_S)
    assert bot.ended[0][1] >= STOP_S + guard.LATER_S - 1e-9


def test_a_second_signal_leaves_less_time(bot):
    bot.forwards(TERM)
    bot.receives(TERM, after_s=0.1)
    assert bot.guarded() == ended_at(0.1 + guard.AT_ONCE_S + guard.LATER_S)


def test_several_sigterm_are_one_to_a_supervised_process(bot):
    bot.forwards(TERM)
    bot.receives(TERM + TERM, after_s=0.1)
    assert bot.guarded(is_supervised=True) == ended_at(STOP_S + guard.LATER_S)


def test_sigint_stops_a_supervised_process_at_once(bot):
    bot.forwards(TERM)
    bot.receives(TERM + bytes([signal.SIGINT]), after_s=0.1)
    assert bot.guarded(is_supervised=True) == ended_at(0.1 + guard.AT_ONCE_S + guard.LATER_S)


def test_a_thread_that_is_ending_the_process_has_time_for_it(bot):
    bot.forwards(TERM)
    bot.forwards(bytes([guard.ENDING]), after_s=STOP_S + 0.3)
    assert bot.guarded() == ended_at(STOP_S + 0.3 + guard.LATER_S)


def test_a_thread_that_is_ending_the_process_gets_no_time_twice(bot):
    bot.forwards(TERM)
    bot.forwards(bytes([guard.ENDING]), after_s=0.1)
    assert bot.guarded() == ended_at(STOP_S + guard.LATER_S)


def test_the_time_in_which_the_process_is_stopped_does_not_count(bot):
    bot.forwards(TERM)
    bot.stopped = range(5, 105)
    assert bot.guarded() == ended_at(STOP_S + guard.LATER_S + 100 * guard._TICK_S)


def test_it_ends_with_the_bot(bot):
    bot.forwards(TERM)
    bot._thread.shutdown(socket.SHUT_WR)
    assert bot.guarded() == []
