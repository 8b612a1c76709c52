"""A separate process that kills the bot's process if a stop does not finish in time.

No thread of the bot's process can do that while a call into C holds the interpreter lock, or while the interpreter is
shutting down. Run as a script by `Watchdog`, with the standard library only; it sleeps until the first signal, and ends
with the bot's process.
"""

import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Final

TRACE_SIGNAL: Final = getattr(signal, "SIGVTALRM", signal.SIGTERM)  # Windows has none, and no guard
"""Ends the bot's process after its tracebacks were written to stderr (`faulthandler.register`). Hardly any program uses
this signal, and it writes no core file."""

AT_ONCE_S: Final = 1.0
"""Time for an orderly immediate stop after a second signal."""

LATER_S: Final = 0.35
"""How much later than the bot's own thread this process acts: the thread can log why, and clears the notes of handlers."""

ENDING: Final = 0x7F
"""The byte by which the bot's thread says that it is ending the process: then at least LATER_S are left. No signal's number."""

HEARD: Final = (signal.SIGINT, signal.SIGTERM)

_TICK_S: Final = 0.1
_TICK_MAX_S: Final = 0.5  # a longer tick means that this process was stopped itself
_TRACE_S: Final = 0.15
_TRACE_LOOKS: Final = 15


def guard(
    wakeup: socket.socket, forwarded: socket.socket, stop_s: float, *, is_supervised: bool = False
) -> None:
    """End the parent process LATER_S after it should have ended: `stop_s` after its first signal, AT_ONCE_S after the second.

    With `is_supervised` several SIGTERM are one.
    The interpreter writes a byte for each signal to `wakeup` at once; the bot's thread reads it, and forwards it through
    `forwarded`. A byte that stays unread has not reached the bot.
    """
    bot = os.getppid()
    heard, left_s, is_stopping = b"", stop_s + LATER_S, False
    before = time.monotonic()
    while os.getppid() == bot:
        if not is_stopping:
            wait(wakeup, forwarded)
        unread = b""
        with suppress(BlockingIOError):
            if not (data := forwarded.recv(100)):
                return  # the bot's process has ended
            heard += _signals(data)
            if ENDING in data:
                left_s = max(left_s, LATER_S)
        with suppress(BlockingIOError):
            unread = _signals(wakeup.recv(100, socket.MSG_PEEK))
        signals = _count(heard + unread, is_supervised=is_supervised)
        if not is_stopping:
            is_stopping, before = signals > 0, time.monotonic()
        if signals > 1:
            left_s = min(left_s, AT_ONCE_S + LATER_S)
        time.sleep(_TICK_S)
        if is_stopping:
            now = time.monotonic()
            left_s -= 0.0 if _is_stopped(bot) else min(_TICK_MAX_S, now - before)
            before = now
        if left_s <= 0:
            _end(bot)
            return


def wait(*sockets: socket.socket, timeout_s: float | None = None) -> bool:
    """Wait until one of `sockets` is readable or broken; return whether one is. Not by `select`: descriptors may exceed 1,023."""
    waiting = select.poll()
    for each in sockets:
        waiting.register(each, select.POLLIN)
    return bool(waiting.poll(None if timeout_s is None else timeout_s * 1000))


def _end(bot: int) -> None:
    for number in (TRACE_SIGNAL, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(bot, number)
        for _ in range(_TRACE_LOOKS):
            if os.getppid() != bot:
                return
            time.sleep(_TRACE_S / _TRACE_LOOKS)


def _signals(data: bytes) -> bytes:
    return bytes(number for number in data if number in HEARD)


def _count(signals: bytes, *, is_supervised: bool) -> int:
    repeated = signals.count(signal.SIGTERM) - 1
    return len(signals) - (repeated if is_supervised and repeated > 0 else 0)


def _is_stopped(pid: int) -> bool:
    """Return whether a process is stopped (SIGSTOP), which does not count. Linux only: proc(5), /proc/pid/stat."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib costs this process a third of its start
            return file.read().rpartition(b")")[2].split()[:1] in ([b"T"], [b"t"])
    except OSError:
        return False


if __name__ == "__main__":
    for each in (*HEARD, signal.SIGHUP):  # they may be for all processes of a service, or of a name
        signal.signal(each, signal.SIG_IGN)
    wakeup_fd, told_fd = int(sys.argv[1]), int(sys.argv[2])
    sockets = [socket.socket(fileno=fd) for fd in (wakeup_fd, told_fd)]
    for each_socket in sockets:
        each_socket.setblocking(False)
    guard(sockets[0], sockets[1], float(sys.argv[3]), is_supervised=sys.argv[4] == "1")
