"""Messages to systemd (sd_notify(3)): ready, stopping, and the watchdog's heartbeat from the event loop.

Without NOTIFY_SOCKET nothing is sent. A failed message changes nothing: systemd restarts a service that is silent.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Self

_EVERY_S: Final = 10.0
_LONGER_USEC: Final = 30_000_000
"""A start that waits (another process has the bot alone; Telegram cannot be reached) asks systemd for so much more time, every _EVERY_S."""


SESSION: Final = "X_CHATLANE_SESSION"
"""Name of a field of our own, which systemd ignores (sd_notify(3))."""


class Systemd:
    """Entered while the event loop runs; `environ` has NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, if systemd set them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._every_s = _EVERY_S
        usec = environ.get("WATCHDOG_USEC", "")
        pid = str(os.getpid())
        self._has_watchdog = bool(usec.isdecimal() and int(usec)) and environ.get("WATCHDOG_PID", pid) == pid
        if self._has_watchdog:
            self._every_s = min(_EVERY_S, int(usec) / 2e6)  # half, as sd_watchdog_enabled(3) recommends
        self._is_ready = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._is_heard:
            self._task = asyncio.create_task(self._beat(), name="systemd")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def _is_heard(self) -> bool:
        return bool(self._address)

    def ready(self) -> None:
        """Report that the bot handles updates."""
        self._is_ready = True
        self._send("READY=1")

    def stopping(self) -> None:
        """Report that the bot stops."""
        self._send("STOPPING=1")

    def session(self, number: int) -> None:
        """Report a session in the store, before it begins: a supervisor ends it if this process dies."""
        self._send(f"{SESSION}={number}")

    async def _beat(self) -> None:
        while self._has_watchdog or not self._is_ready:
            if self._has_watchdog:
                self._send("WATCHDOG=1")
            if not self._is_ready:
                self._send(f"EXTEND_TIMEOUT_USEC={_LONGER_USEC}")
            await asyncio.sleep(self._every_s)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(message.encode(), self._address)


def watchdog_of(environ: Mapping[str, str]) -> float | None:
    """Return the time of systemd's watchdog in seconds; None: there is none."""
    usec = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(usec) / 1e6 if usec.isdecimal() and int(usec) and is_ours else None
