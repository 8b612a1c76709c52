"""Wraps the handlers that load.json names, and notes in a journal when each begins and how it ends.

One line each: `EVENT UPDATE_ID MONOTONIC_NS PID KEY`. The events are "begin", then "end" (it returned) or "fail" (it
raised, or was cancelled); and "connect" for each connection that the process tries to open, since a refused one is
seen by nobody else. An update that no handler wants begins and ends, too: it is acknowledged.
"""

import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final

from telegram.dialogue import Context, Filter, Resource, Router, load_router
from telegram.dialogue.routes import Entry, Route, Taken
from telegram.load.plan import BotPlan

PID: Final = os.getpid()


class Journal:
    """A file that takes whole lines only, whatever kills the process."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def note(self, event: str, update_id: int = 0, key: str = "-") -> None:
        """Write one line at once."""
        os.write(self._fd, f"{event} {update_id} {time.monotonic_ns()} {PID} {key}\n".encode())


class _Watched:
    """An entry of a router; what it takes is noted."""

    def __init__(self, entry: Entry, journal: Journal) -> None:
        self._entry = entry
        self._journal = journal
        self.kinds = entry.kinds
        self.hint = entry.hint
        self.scope = entry.scope

    def take(self, ctx: Context) -> Taken | None:
        """Take what the entry takes."""
        taken = self._entry.take(ctx)
        return None if taken is None else taken._replace(run=partial(self._run, ctx, taken.run))

    async def _run(self, ctx: Context, run: Callable[..., Awaitable[Any]], *more: Any) -> None:
        told = (ctx.update_id, ctx.key)
        self._journal.note("begin", *told)
        try:
            await run(*more)
        except BaseException:
            self._journal.note("fail", *told)
            raise
        self._journal.note("end", *told)


class Witness(Router):
    """Matches as `router` does; what it finds is watched, and so is that it finds nothing."""

    def __init__(self, router: Router, journal: Journal) -> None:
        super().__init__()
        self._router = router
        self._journal = journal

    def resources(self) -> list[Resource[Any]]:
        """What the router opens."""
        return self._router.resources()

    def allowed_updates(self) -> list[str]:
        """The kinds that the router asks for."""
        return self._router.allowed_updates()

    def entries(self, above: tuple[Filter, ...] = ()) -> Iterator[tuple[Entry, tuple[Filter, ...]]]:
        """All entries of the router, and one for what nobody wants."""
        for entry, filters in self._router.entries(above):
            yield _Watched(entry, self._journal), filters
        yield _Watched(Route(None, (), _nothing), self._journal), ()


async def _nothing(ctx: Context) -> None:
    """What becomes of an update that no handler wants."""


def _die_with_parent() -> None:
    """A load test that was killed leaves no bot behind: its end of our standard input ends, too."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _watch(plan: BotPlan) -> Router:
    if plan.until_eof:
        _die_with_parent()
    router = load_router(plan.handlers)
    if plan.journal is None:
        return router
    journal = Journal(plan.journal)
    sys.addaudithook(lambda event, _: journal.note("connect") if event == "socket.connect" else None)
    return Witness(router, journal)


router = _watch(BotPlan.read())
