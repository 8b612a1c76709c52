"""What the bot of the survey's campaign runs: handlers/, with a short time-out, and handlers that take a moment.

The moment comes when a handler has decided everything and nothing is committed: that is when a kill is worst. Timers are
recorded here, since the load test's router records updates only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import cache, partial
from typing import Any, Final

from handlers import router as all_of_them
from handlers.survey import Step, survey, too_late
from telegram.dialogue import Context, Filter, Resource, Router, TimerContext
from telegram.dialogue.routes.route import Entry, Match
from telegram.load.bot.journal import Journal
from telegram.load.bot.plan import BotPlan
from tests.torture.survey_model import TIMEOUT_S

MOMENT_S: Final = 0.03

survey.at(*Step).timeout(TIMEOUT_S)(too_late)


class _Slow:
    """An entry of a router of which nothing is over at once."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.kinds = entry.kinds
        self.hint = entry.hint
        self.scope = entry.scope

    def take(self, ctx: Context) -> Match | None:
        """Take what the entry takes."""
        taken = self._entry.take(ctx)
        if taken is None:
            return None
        run = partial(_slowly, taken.run)
        return taken._replace(run=partial(_recorded, ctx, run) if isinstance(ctx, TimerContext) else run)


async def _recorded(ctx: Context, run: Callable[..., Awaitable[Any]], *more: Any) -> None:
    note = partial(_journal().note, update_id=ctx.update_id, key=ctx.key)
    note("begin")
    try:
        await run(*more)
    except BaseException:
        note("fail")
        raise
    note("end")


@cache
def _journal() -> Journal:
    return Journal(str(BotPlan.read().journal))


async def _slowly(run: Callable[..., Awaitable[Any]], *more: Any) -> None:
    await run(*more)
    await asyncio.sleep(MOMENT_S)


class _SlowRouter(Router):
    """Matches as `router` does."""

    def __init__(self, router: Router) -> None:
        super().__init__()
        self._router = router

    def resources(self) -> list[Resource[Any]]:
        """What the router opens."""
        return self._router.resources()

    def entries(self, above: tuple[Filter, ...] = ()) -> Iterator[tuple[Entry, tuple[Filter, ...]]]:
        """All entries of the router."""
        for entry, filters in self._router.entries(above):
            yield _Slow(entry), filters


router = _SlowRouter(all_of_them)
