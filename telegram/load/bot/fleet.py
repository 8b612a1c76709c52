"""Several processes of one bot over one database, as a load test starts, disturbs and stops them."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from telegram.load.bot.service import Ended, Service


class Fleet:
    """The processes, in one folder: they write one journal. `async with` kills those that run at the end."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.services = tuple(services)
        self._next = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self.services:
            await each.__aexit__(kind, error, trace)

    @property
    def folder(self) -> Path:
        """The folder with the journal."""
        return self.services[0].folder

    @property
    def is_running(self) -> bool:
        """Whether all of them run."""
        return all(each.is_running for each in self.services)

    async def start(self) -> None:
        """Start them, and wait until each handles updates; TimeoutError."""
        for each in self.services:  # one after the other: the first creates the tables
            await each.start()

    def victim(self) -> Service:
        """Return the one that the next fault concerns: each in its turn."""
        self._next += 1
        return self.services[self._next % len(self.services)]

    async def stop(self) -> Ended:
        """Let all of them stop; return the highest exit code, and the longest time."""
        ended = await asyncio.gather(
            *(each.stop(signal.SIGTERM) for each in self.services if each.is_running)
        )
        return Ended(max((each.code for each in ended), key=abs), max(each.took_s for each in ended))

    def logs(self) -> list[tuple[Service, list[dict[str, Any]]]]:
        """Return the log of each current process."""
        return [(each, each.log()) for each in self.services]

    def last_log_line(self) -> str:
        """Return the last line of the log of one that has ended, if there is one."""
        ended = [each for each in self.services if not each.is_running]
        return (ended or list(self.services))[0].last_log_line()
