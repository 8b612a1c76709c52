"""Objects that a handler asks for: `@router.provide` opens one for an update, and closes it when the update was handled.

    @router.provide
    async def session(ctx: Context) -> AsyncIterator[Session]:
        async with pool.begin() as session:      # commits, or rolls back if the block raises
            yield session

    @router.message(command("buy"))
    async def buy(ctx: MessageContext, session: Session = given) -> None: ...

* A parameter with the default `given` is asked for: by its name if a provider has that name, else by its type. Without a
  provider in the handler's router, or one around it, the bot does not start.
* It is opened only for a handler (or hook) that asks for it; once per update, however many ask. A provider may ask for others.
* They are closed in reverse after the handler and the `after` hooks have returned, and BEFORE the update's commit. A handler
  that raised (also Invalid, Park, a time-out, a stop) raises at the `yield`, whatever the provider does with that; an error of
  a provider is an error of the handler.
* So what a provider commits is repeated if the process dies between its commit and the update's: at least once. Write
  `ctx.idempotency_key`, which is the same at each attempt, with it, under a unique index. Closing after the commit instead
  would lose what was not committed yet, without a second attempt.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Generic, TypeVar, get_args

from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.signature import Asked, annotations_of, arranged, asked_by, fits

T = TypeVar("T")


class Provider(Generic[T]):
    """Made by `@router.provide`. `type` is what it yields, by its annotation; Any if it has none."""

    def __init__(self, opens: Callable[..., AsyncIterator[T]]) -> None:
        self.name = getattr(opens, "__name__", "")
        if not inspect.isasyncgenfunction(opens):
            raise TypeError(f"{self.name or opens!r}: @router.provide is for an `async def` that yields once")
        yields = get_args(annotations_of(opens).get("return"))
        self.type: Any = yields[0] if yields else Any
        self.asked = asked_by(opens)
        self._opens = asynccontextmanager(arranged(opens, (Context,), more=True, is_async_required=False))

    def __repr__(self) -> str:
        return f"provider {self.name}"

    def open(self, ctx: Context, asked: dict[str, Any]) -> Any:
        """Return the async context manager of the object for one update."""
        return self._opens(ctx, **asked)


class Scope:
    """The objects of one update."""

    def __init__(self, ctx: Context, around: Sequence[Iterable[Provider[Any]]]) -> None:
        """`around` has the providers of the routers around the handler, outermost first."""
        self._ctx = ctx
        self._around = around
        self._values: dict[Provider[Any], Any] = {}
        self.stack = AsyncExitStack()

    async def give(self, asked: Iterable[Asked]) -> dict[str, Any]:
        """Return the objects by the names of the parameters that ask for them; opens those that are not open yet."""
        found = {}
        for each in asked:
            provider = find(each, self._around, "")
            if provider not in self._values:
                inner = await self.give(provider.asked)
                self._values[provider] = await self.stack.enter_async_context(provider.open(self._ctx, inner))
            found[each.name] = self._values[provider]
        return found


def find(asked: Asked, around: Sequence[Iterable[Provider[Any]]], by: str) -> Provider[Any]:
    """Return the provider of a parameter: by its name, else by its type; the innermost router first.

    TypeError, one line, if there is none, or several of the type; `by` is the name of the function that asks.
    """
    each: Provider[Any]
    for providers in reversed(around):
        for each in providers:
            if each.name == asked.name:
                if not fits(each.type, asked.type):
                    raise TypeError(f"{by}: {asked.name} is {asked.type}, but {each!r} yields {each.type}")
                return each
    for providers in reversed(around):
        fitting: list[Provider[Any]] = [
            each for each in providers if fits(each.type, asked.type, certainly=True)
        ]
        if len(fitting) > 1:
            names = ", ".join(each.name for each in fitting)
            raise TypeError(f"{by}: several providers fit {asked.name}, give it the name of one: {names}")
        if fitting:
            return fitting[0]
    there = ", ".join(dict.fromkeys(each.name for providers in around for each in providers)) or "none"
    raise TypeError(f"{by}: no @router.provide gives {asked.name} (there are: {there})")


def check(function: Any, around: Sequence[Iterable[Provider[Any]]]) -> None:
    """Raise TypeError if something that a function asks for has no provider, or if providers ask for each other in a circle."""
    _check(getattr(function, "__qualname__", str(function)), asked_by(function), around, ())


def _check(
    by: str,
    asked: Iterable[Asked],
    around: Sequence[Iterable[Provider[Any]]],
    path: tuple[Provider[Any], ...],
) -> None:
    for each in asked:
        provider = find(each, around, by)
        if provider in path:
            raise TypeError(f"{provider!r} asks for itself: {', '.join(one.name for one in path)}")
        _check(provider.name, provider.asked, around, (*path, provider))
