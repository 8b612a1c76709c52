"""Hooks of a router, around the handlers of its entries and of the routers that it includes.

    @router.before          before the handler; `return HANDLED` acknowledges the update without it, `raise Reject` gives it up
    @router.after           after the handler has returned; what it collects is committed with the handler's effects
    @router.error(OSError)  after the handler has raised such an error; decides what becomes of the update

Of the error hooks that fit, one runs: the innermost router's, in it the first. The handler's effects are discarded before.

| an error hook                        | the update                            | the hook's calls          | its data and timers |
|--------------------------------------|---------------------------------------|---------------------------|---------------------|
| returns HANDLED                      | acknowledged                          | sent                      | committed           |
| returns None                         | as without the hook: mostly a retry   | sent if it is given up    | discarded           |
| raises Retry                         | is handled again                      | sent if it is given up    | discarded           |
| raises Reject                        | a dead letter                         | sent                      | discarded           |
| raises Park                          | waits, not counted                    | discarded                 | discarded           |
| fails, or takes over HOOK_TIMEOUT_S  | as without the hook; the log says why | discarded                 | discarded           |

So a hook runs at each attempt, and its calls are sent once: at the attempt that decides. If one of them goes to the update's
chat, or answers its button, the user gets no apology beside it. A handler that overruns its time limit is cancelled, and its error
is a TimeoutError (which is an OSError). Outcomes that a handler asks for (Retry, Park, Reject, Invalid) and a handler that is
cut off otherwise (by a stop, or a lost lease) are no errors: no hook runs.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, NamedTuple

import structlog

from engine import Call, Delivery, Park, Reject, Retries, Retry, Work
from engine.failures import Failures
from engine.outcome import described
from telegram.botapi.errors import redact
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.invalid import Invalid
from telegram.dialogue.filters.limits import Limit
from telegram.dialogue.routes.providing import Provider, Scope, check
from telegram.dialogue.routes.route import NO_RETRIES, Handler, Match, checked_retries
from telegram.dialogue.routes.stopping import Stopped

log = structlog.get_logger(__name__)

HOOK_TIMEOUT_S: Final = 10.0
"""Maximum duration of an error hook in seconds. It counts to the handler's time-out, too, unless that has passed."""

_SETTLES_S: Final = 5.0
"""How long an update may take to be settled after the error hook of a time-out."""

_WORDS_MAX: Final = 1_000
_OUTCOMES: Final = (Retry, Park, Reject, Invalid, Stopped)


class Handled:
    """The type of HANDLED."""

    def __repr__(self) -> str:
        return "HANDLED"


HANDLED: Final = Handled()
"""Returned by a hook that has handled the update: it is acknowledged, with what the hook has collected."""


class ErrorHook(NamedTuple):
    """A hook for errors of these types; `run` takes the context and the error."""

    types: tuple[type[Exception], ...]
    run: Handler
    name: str


class Hooks(Limit):
    """The hooks, providers and retries of one router."""

    def __init__(self, retries: Retries, never_retry: tuple[type[Exception], ...]) -> None:
        if wrong := [
            each for each in never_retry if not (isinstance(each, type) and issubclass(each, Exception))
        ]:
            raise TypeError(f"never_retry has types of errors, not {wrong[0]!r}")
        self.retries = checked_retries(retries)
        self.never_retry = never_retry
        self.errors: list[ErrorHook] = []
        self.before: list[Handler] = []
        self.after: list[Handler] = []
        self.providers: list[Provider[Any]] = []

    def is_empty(self) -> bool:
        """Return whether there is nothing: then handlers run without it."""
        return self.retries == NO_RETRIES and not (
            self.never_retry or self.errors or self.before or self.after or self.providers
        )


def checked_types(types: tuple[Any, ...]) -> tuple[type[Exception], ...]:
    """Return the types of an error hook, by default Exception. TypeError for anything else, and for outcomes."""
    for each in types:
        if not (isinstance(each, type) and issubclass(each, Exception)):
            raise TypeError(f"name types of errors: @router.error(ValueError), not {each!r}")
        if issubclass(each, _OUTCOMES):
            raise TypeError(f"{each.__name__} is an outcome that a handler asks for, not an error")
    return types or (Exception,)


class Around:
    """Runs handlers with their routers' hooks, and keeps the calls of error hooks until the update is settled."""

    def __init__(self) -> None:
        self._failures = Failures()
        self._words: OrderedDict[int, tuple[Call, ...]] = OrderedDict()  # by update: calls of its error hook

    async def run(
        self, ctx: Context, match: Match, work: Work, handle: Callable[[], Awaitable[None]], about: Any
    ) -> None:
        """Run the hooks and, with `handle`, the handler. `about` returns the fields of a log line about a failure."""
        hooks = hooks_of(match)
        retries = work.retries = _retries(match, hooks)
        self._words.pop(ctx.update_id, None)
        if retries.attempts_max is not None and work.attempt > retries.attempts_max:
            raise Reject(f"it was cut off at attempt {work.attempt - 1} of {retries.attempts_max}")
        try:
            await self._around(ctx, hooks, handle)
        except _OUTCOMES:
            raise
        except asyncio.CancelledError as cut:
            if (error := _overran(ctx, hooks, work)) is None:
                raise
            await self._failed(ctx, hooks, work, error.with_traceback(cut.__traceback__), about)
        except Exception as raised:  # noqa: BLE001 - raised again there
            await self._failed(ctx, hooks, work, _overran(ctx, hooks, work) or raised, about)
        else:  # it may have swallowed its cancellation
            if (error := _overran(ctx, hooks, work)) is not None:
                await self._failed(ctx, hooks, work, error, about)

    async def sql_failed(self, ctx: Context, match: Match, work: Work, error: Exception, about: Any) -> None:
        """Let an error hook decide about an update whose SQL was refused at the commit, as `run` about other errors."""
        hooks = hooks_of(match)
        work.retries = _retries(match, hooks)
        self._words.pop(ctx.update_id, None)
        await self._failed(ctx, hooks, work, error, about)

    async def _failed(
        self, ctx: Context, hooks: list[Hooks], work: Work, error: Exception, about: Any
    ) -> None:
        """Return if an error hook has handled the error; raise what it decides, else the error itself."""
        found = _error_hook(hooks, error)
        outcome: Any = Reject(redact(described(error))) if _never_retried(hooks, error) else None
        if found is not None:
            outcome = await self._decide(ctx, hooks, found, error) or outcome
        if outcome is None:
            raise error
        self._failures.log(error, about(work.delivery))
        if outcome is not HANDLED:
            raise outcome from error

    async def _around(self, ctx: Context, hooks: list[Hooks], handle: Callable[[], Awaitable[None]]) -> None:
        async with _open(ctx, hooks):
            for each in hooks:
                for before in each.before:
                    if await before(ctx) is HANDLED:
                        return
            await handle()
            for each in reversed(hooks):
                for after in each.after:
                    await after(ctx)

    async def _decide(self, ctx: Context, hooks: list[Hooks], hook: ErrorHook, error: Exception) -> Any:
        """Run an error hook; return what it decides, None for the default."""
        ctx.discard()
        ctx.marks = None
        decided: Any = None
        try:
            async with asyncio.timeout(HOOK_TIMEOUT_S), _open(ctx, hooks):
                decided = await hook.run(ctx, error)
        except (Retry, Park, Reject) as outcome:
            decided = outcome
        except Exception:  # the update has its default outcome
            log.exception("an error hook failed", hook=hook.name, key=ctx.key, id=ctx.update_id)
            ctx.discard()
            return None
        if decided is HANDLED:
            return HANDLED
        calls = ctx.effects().calls
        if calls and not isinstance(decided, Park):
            self._words[ctx.update_id] = calls
            if len(self._words) > _WORDS_MAX:
                self._words.popitem(last=False)
        return decided if isinstance(decided, Exception) else None

    def last_words(self, delivery: Delivery, *, given_up: bool) -> tuple[Call, ...]:
        """Return the calls of the error hook of an update that is given up."""
        calls = self._words.pop(delivery.envelope.id, ()) if self._words else ()
        return calls if given_up else ()


class _open:  # noqa: N801 - read as a function
    """Opens the scope of a context, and closes it; an error is raised again whatever a provider does with it."""

    def __init__(self, ctx: Context, hooks: list[Hooks]) -> None:
        self._ctx = ctx
        self._scope = Scope(ctx, [each.providers for each in hooks])

    async def __aenter__(self) -> AsyncExitStack:
        self._ctx.around = self._scope
        return self._scope.stack

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ctx.around = None
        await self._scope.stack.__aexit__(kind, error, trace)


def hooks_of(match: Match) -> list[Hooks]:
    """Return the hooks of the routers around a handler, outermost first."""
    return [each for each in match.around if isinstance(each, Hooks)]


def _retries(match: Match, hooks: list[Hooks]) -> Retries:
    """Return the handler's own retries, where it has none those of the innermost router that has some."""
    own = [match.options.retries, *(each.retries for each in reversed(hooks))]
    return Retries(
        next((each.attempts_max for each in own if each.attempts_max is not None), None),
        next((each.backoff_s for each in own if each.backoff_s is not None), None),
    )


def _overran(ctx: Context, hooks: list[Hooks], work: Work) -> TimeoutError | None:
    """Return the error of a handler that was cancelled for its time, if a router decides about it, and go on.

    Not if it got several messages: they are handled again one at a time, as after other errors.
    """
    task, probe = asyncio.current_task(), TimeoutError()
    if task is None or not task.cancelling() or ctx.taken:
        return None
    if _error_hook(hooks, probe) is None and not _never_retried(hooks, probe):
        return None
    return work.go_on(HOOK_TIMEOUT_S + _SETTLES_S)


def _never_retried(hooks: list[Hooks], error: Exception) -> bool:
    return isinstance(error, tuple(each for one in hooks for each in one.never_retry))


def _error_hook(hooks: list[Hooks], error: Exception) -> ErrorHook | None:
    fitting = (hook for each in reversed(hooks) for hook in each.errors if isinstance(error, hook.types))
    return next(fitting, None)


def check_row(routes: list[Any], above: tuple[Any, ...]) -> None:
    """Raise TypeError if a handler, or a hook around it, asks for something that no provider around it gives."""
    chain = [each for each in above if isinstance(each, Hooks)]
    around = [each.providers for each in chain]
    for route in routes:
        check(route.handler, around)
    for at, each in enumerate(chain, start=1):
        for hook in (*each.before, *each.after, *(error.run for error in each.errors)):
            check(hook, around[:at])
