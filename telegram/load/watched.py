"""Wraps the handlers of a router, and notes in a journal when each begins and how it ends.

One line each: `EVENT UPDATE_ID MONOTONIC_NS PID KEY`. The events are "begin", then "end" (it returned, or an update has
stopped it: then it is handled) or "fail" (it raised, or was cancelled otherwise); and "connect" for each connection that the process tries to open, since a refused one is
seen by nobody else. An update that no handler wants begins and ends, too: it is acknowledged. Of what a handler has done,
before its "end":

    untaken   no handler takes the update
    enter     a conversation has begun
    leave     one has ended
    cancel    one was ended by a command

Timers are not noted: nobody has said them.
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from telegram.dialogue import Context, Filter, Invalid, Resource, Router, TimerContext
from telegram.dialogue.flows.plan import Plan
from telegram.dialogue.routes import Entry, Match, Route

PID: Final = os.getpid()


class Journal:
    """A file that takes whole lines only, whatever kills the process."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def note(self, event: str, update_id: int = 0, key: str = "-") -> None:
        """Write one line at once."""
        os.write(self._fd, f"{event} {update_id} {time.monotonic_ns()} {PID} {key}\n".encode())


class _Handling:
    __slots__ = ("has_begun", "is_stopped")

    def __init__(self) -> None:
        self.has_begun = False
        self.is_stopped = False  # by an update


class _Watched:
    """An entry of a router; what it takes is noted."""

    def __init__(self, entry: Entry, journal: Journal) -> None:
        self._entry = entry
        self._journal = journal
        self.kinds = entry.kinds
        self.hint = entry.hint
        self.scope = entry.scope

    def take(self, ctx: Context) -> Match | None:
        """Take what the entry takes."""
        taken = self._entry.take(ctx)
        if taken is None or isinstance(ctx, TimerContext):
            return taken
        handling = _Handling()
        options = taken.options
        if (stop := options.stop) is not None:
            options = replace(options, stop=partial(self._stops, ctx, stop, handling))
        return taken._replace(run=partial(self._run, ctx, handling, taken.run), options=options)

    def _stops(self, ctx: Context, stop: Filter, handling: "_Handling", other: Context) -> bool:
        handling.is_stopped = handling.is_stopped or stop(other)
        if handling.is_stopped and not handling.has_begun:
            handling.has_begun = True  # it never will
            self._journal.note("begin", ctx.update_id, ctx.key)
            self._journal.note("end", ctx.update_id, ctx.key)
        return handling.is_stopped

    async def _run(
        self, ctx: Context, handling: "_Handling", run: Callable[..., Awaitable[Any]], *more: Any
    ) -> None:
        told = (ctx.update_id, ctx.key)
        went_on = self._goes_on(ctx)
        handling.has_begun = True
        self._journal.note("begin", *told)
        try:
            await run(*more)
        except Invalid:  # the update is handled: its answer is what was wrong
            self._journal.note("end", *told)
            raise
        except BaseException:
            self._journal.note("end" if handling.is_stopped else "fail", *told)
            raise
        if went_on != self._goes_on(ctx):
            left = "leave" if ctx.command is None else "cancel"
            self._journal.note(left if went_on else "enter", *told)
        if self._entry is _UNTAKEN:
            self._journal.note("untaken", *told)
        self._journal.note("end", *told)

    def _goes_on(self, ctx: Context) -> bool:
        """Whether a conversation of the entry, if it is a flow, goes on."""
        if not isinstance(self._entry, Plan):
            return False
        record = ctx.conversation(self._entry.scope).flow
        return record is not None and record["stack"][0]["flow"] == self._entry.name


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
        yield _Watched(_UNTAKEN, self._journal), ()


async def _nothing(ctx: Context) -> None:
    """What becomes of an update that no handler wants."""


_UNTAKEN: Final = Route(None, (), _nothing)
