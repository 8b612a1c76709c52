"""A process that a supervisor has started (supervisor.py): what it reports, and its stop when the supervisor is dead.

Both have an end of a stream. The process writes the lines of systemd.py; that it can read the end of the stream means that the
supervisor is gone, however it ended: then the process stops as after SIGTERM.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Final, NamedTuple, Self

import structlog

from telegram.process.systemd import Systemd

log = structlog.get_logger(__name__)

VARIABLE: Final = "CHATLANE_SUPERVISED"
"""The environment variable with the number of the process and the descriptor of the stream."""

_OF_SUPERVISOR: Final = frozenset({VARIABLE, "NOTIFY_SOCKET", "WATCHDOG_PID"})


class Place(NamedTuple):
    """Which of the processes of a supervisor this one is (from 0 on), and the descriptor of its stream."""

    number: int
    fd: int


def environment_of(environ: Mapping[str, str], place: Place) -> dict[str, str]:
    """Return the environment of a process at this place. It reports to the supervisor, not to systemd."""
    kept = {name: value for name, value in environ.items() if name not in _OF_SUPERVISOR}
    return {**kept, VARIABLE: f"{place.number}:{place.fd}"}


def take_place(environ: MutableMapping[str, str]) -> Place | None:
    """Return the place of this process, and remove it from the environment; None: no supervisor has started it."""
    number, colon, fd = environ.pop(VARIABLE, "").partition(":")
    if not (colon and number.isdecimal() and fd.isdecimal()):
        return None
    os.set_inheritable(int(fd), False)  # programs that handlers start are no business of the supervisor
    return Place(int(number), int(fd))


class Supervised(Systemd):
    """Reports to the supervisor what others report to systemd."""

    def __init__(self, place: Place, environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        self._stream = socket.socket(fileno=place.fd)
        self._stream.setblocking(False)

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._stream, self._heard)
        return await super().__aenter__()

    async def __aexit__(self, *details: object) -> None:
        await super().__aexit__(*details)
        asyncio.get_running_loop().remove_reader(self._stream)
        self._stream.close()

    @property
    def _is_heard(self) -> bool:
        return True

    def _send(self, message: str) -> None:
        with suppress(OSError):  # it is dead, or stopped
            self._stream.send(f"{message}\n".encode())

    def _heard(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            if self._stream.recv(100):
                return
        asyncio.get_running_loop().remove_reader(self._stream)
        log.warning("the supervisor has ended: this process stops, too")
        os.kill(os.getpid(), signal.SIGTERM)
