"""Calls asked of a store at the same time: is there an order of them that explains every answer and what came of it?

Who was cut off may have been heard or not; who was answered was heard; who was refused changed nothing.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, combinations
from typing import Any

from engine import (
    Delivery,
    LeaseLost,
    NotPeeked,
    Queue,
    StateChanged,
    StoreUnavailable,
    TooManyTimers,
)
from engine.stores.contract import append
from tests.kit.model import Impossible, Model
from tests.kit.view import plain_answer, plain_delivery


@dataclass
class Ask:
    """One call: a method's name and arguments, and once it is played, what became of it."""

    name: str
    args: tuple[Any, ...]
    named: dict[str, Any] = field(default_factory=dict)
    session: int = 0
    depths: dict[str, int] = field(default_factory=dict)  # of the lanes when it was asked
    outcome: str = "waiting"  # answered, refused, cut
    refusal: type[Exception] = LeaseLost
    answer: Any = None
    task: "asyncio.Task[Any] | None" = None

    def start(self, store: Any) -> None:
        method = partial(append, store) if self.name == "append" else getattr(store, self.name)
        self.task = asyncio.get_running_loop().create_task(method(*self.args, **self.named))

    def note_outcome(self) -> None:
        """Take the outcome over from the task; an error that no store may raise is raised here."""
        if self.task is None or not self.task.done():
            return
        if self.task.cancelled():
            self.outcome = "cut"
            return
        match error := self.task.exception():
            case None:
                self.outcome, self.answer = "answered", self.task.result()
            case LeaseLost() | StateChanged() | NotPeeked() | TooManyTimers():
                self.outcome, self.refusal = "refused", type(error)
            case StoreUnavailable():
                self.outcome = "cut"
            case _:
                raise error

    def plain_answer(self) -> Any:
        delivery = self.args[0] if self.args and isinstance(self.args[0], Delivery) else None
        return plain_answer(delivery.lease.queue if delivery else Queue.INBOX, self.answer)

    def __str__(self) -> str:
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.named.items())]
        told = f" -> {self.answer!r}" if self.outcome == "answered" else ""
        told = f" by {self.refusal.__name__}" if self.outcome == "refused" else told
        return f"{self.name}({', '.join(given)}): {self.outcome}{told}"


def explain(model: Model, asks: list[Ask], fits: Callable[[Model], Model | None]) -> Model | None:
    """Return what `fits` makes of the model after the asks, in the first order in which it fits; else None."""
    if not asks and (found := fits(model)) is not None:
        return found
    if model.due():  # a moment came, before or after what else happens
        after = model.copy()
        after.happen()
        if (found := explain(after, asks, fits)) is not None:
            return found
    for index, ask in enumerate(asks):
        rest = asks[:index] + asks[index + 1 :]
        for after, then in _afterwards(model, ask):
            if (found := explain(after, [*rest, *then], fits)) is not None:
                return found
    return None


def _afterwards(model: Model, ask: Ask) -> Iterator[tuple[Model, list[Ask]]]:
    """Yield how the store may stand after this ask, if it was the next to be heard, and what is still to come of it."""
    if ask.outcome == "answered":
        for after, answer in _heard(model, ask):
            told = ask.plain_answer()
            if answer == told:
                yield after, []
            elif (
                isinstance(answer, Delivery)
                and isinstance(told, Delivery)
                and answer._replace(state=told.state) == told  # it was read a little later
            ):
                name = (told.lease.key, told.envelope.scope)
                yield after, [Ask("state", name, outcome="answered", answer=told.state)]
    elif ask.outcome == "refused":
        refusals: list[type[Exception]] = []
        if not any(_heard(model, ask, refusals)) and ask.refusal in refusals:
            yield model, []
    else:
        yield model, []
        yield from _cut_off(model, ask)


def _cut_off(model: Model, ask: Ask) -> Iterator[tuple[Model, list[Ask]]]:
    """Yield how the store may stand after this ask, if it was heard and the answer had nobody to go to."""
    if ask.name == "claim":  # no lease stays, but the lane may have lost its turn
        queue: Queue = ask.args[0]
        for key in model.longest_ready(queue):
            after = model.copy()
            after.hold(queue, key)
            yield after, [_let_go(queue, key)]
        return
    for after, answer in _heard(model, ask):
        yield after, []
        if isinstance(answer, Delivery):  # cut off on the way back with the next: the lane may be let go
            yield after, [_let_go(answer.lease.queue, answer.lease.key)]


def _let_go(queue: Queue, key: str) -> Ask:
    return Ask("let_go", (queue, key), outcome="answered")


def _heard(
    model: Model, ask: Ask, refusals: list[type[Exception]] | None = None
) -> Iterator[tuple[Model, Any]]:
    """Yield the model after the call, and the answer; nothing if the call is refused or cannot be heard now."""
    refusals = [] if refusals is None else refusals
    for args, named in _choices(model, ask):
        after = model.copy()
        try:
            answer = getattr(after, ask.name)(*args, **named)
        except (LeaseLost, StateChanged, NotPeeked, TooManyTimers, Impossible) as error:
            refusals.append(type(error))
            continue
        yield after, answer


def _choices(model: Model, ask: Ask) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield the arguments for the model, with what is left to the store to choose."""
    args = tuple(plain_delivery(arg) if isinstance(arg, Delivery) else arg for arg in ask.args)
    if ask.name == "claim":
        if ask.outcome == "answered":  # it is refused never, and waits if there is nothing
            yield (ask.session, ask.answer.lease), {}
    elif ask.name == "append":
        free = sorted(model.may_forget(envelope.id for envelope in args[0]))
        for ids in chain.from_iterable(combinations(free, size) for size in range(len(free) + 1)):
            yield args, {"forgotten": ids}
            yield args, {"forgotten": ids, "depths": ask.depths}
    else:
        yield args, ask.named
