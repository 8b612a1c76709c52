"""Wraps the handlers of a router and records start and end of each handling in the journal (journal.py).

Timers are not recorded: they are not updates that a user has sent.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from telegram.dialogue import Context, Filter, Invalid, Resource, Router, TimerContext
from telegram.dialogue.flows.plan import Plan
from telegram.dialogue.routes import Entry, Match, Route
from telegram.load.bot.journal import Journal


class _Handling:
    __slots__ = ("has_begun", "is_stopped")

    def __init__(self) -> None:
        self.has_begun = False
        self.is_stopped = False  # by an update


class _RecordedEntry:
    """An entry of a router whose handlings are recorded."""

    def __init__(self, entry: Entry, journal: Journal) -> None:
        self._entry = entry
        self._journal = journal
        self.kinds = entry.kinds
        self.hint = entry.hint
        self.scope = entry.scope

    def take(self, ctx: Context) -> Match | None:
        """Match like the entry; the handler of the match is wrapped."""
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
            handling.has_begun = True  # its handler will not run
            self._journal.note("begin", ctx.update_id, ctx.key)
            self._journal.note("end", ctx.update_id, ctx.key)
        return handling.is_stopped

    async def _run(
        self, ctx: Context, handling: "_Handling", run: Callable[..., Awaitable[Any]], *more: Any
    ) -> None:
        about = (ctx.update_id, ctx.key)
        went_on = self._goes_on(ctx)
        handling.has_begun = True
        self._journal.note("begin", *about)
        try:
            await run(*more)
        except Invalid:  # the update is handled: the user gets the reason
            self._journal.note("end", *about)
            raise
        except BaseException:
            self._journal.note("end" if handling.is_stopped else "fail", *about)
            raise
        if went_on != self._goes_on(ctx):
            left = "leave" if ctx.command is None else "cancel"
            self._journal.note(left if went_on else "enter", *about)
        if self._entry is _UNTAKEN:
            self._journal.note("untaken", *about)
        self._journal.note("end", *about)

    def _goes_on(self, ctx: Context) -> bool:
        """Whether the entry is a flow with a running conversation."""
        if not isinstance(self._entry, Plan):
            return False
        record = ctx.conversation(self._entry.scope).flow
        return record is not None and record["stack"][0]["flow"] == self._entry.name


class RecordingRouter(Router):
    """Matches like `router` and records all handlings, also updates that no handler takes."""

    def __init__(self, router: Router, journal: Journal) -> None:
        super().__init__()
        self._router = router
        self._journal = journal

    def resources(self) -> list[Resource[Any]]:
        """Return the resources of the router."""
        return self._router.resources()

    def allowed_updates(self) -> list[str]:
        """Return the kinds of update that the router takes."""
        return self._router.allowed_updates()

    def entries(self, above: tuple[Filter, ...] = ()) -> Iterator[tuple[Entry, tuple[Filter, ...]]]:
        """Yield all entries of the router, and one for updates that no handler takes."""
        for entry, filters in self._router.entries(above):
            yield _RecordedEntry(entry, self._journal), filters
        yield _RecordedEntry(_UNTAKEN, self._journal), ()


async def _nothing(ctx: Context) -> None:
    """The handler of updates that no other handler takes."""


_UNTAKEN: Final = Route(None, (), _nothing)
