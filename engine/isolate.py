"""Run a coroutine inside the current task, but in a context (contextvars) of its own.

A worker's task lives as long as the pool; a context variable that one handler sets must not be visible to the next
handler, which serves another chat. A task per delivery would isolate as well, at ten times the cost.
"""

from collections.abc import Awaitable, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Isolated(Generic[T]):
    """`await Isolated(context, awaitable)` is `await awaitable`, with its context variables kept in `context`."""

    __slots__ = ("_awaitable", "_context")

    def __init__(self, context: Context, awaitable: Awaitable[T]) -> None:
        self._context = context
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, T]:
        run = self._context.run
        steps = run(self._awaitable.__await__)
        is_closed = False
        try:
            waited_for = run(steps.__next__)
            while True:
                try:
                    yield waited_for
                except BaseException as error:  # noqa: BLE001 - e.g. a cancellation, passed on to the awaitable
                    is_closed = isinstance(error, GeneratorExit)
                    waited_for = run(steps.throw, error)
                else:
                    waited_for = run(steps.__next__)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except GeneratorExit as exit_:
            if is_closed:  # the task itself is destroyed
                raise
            raise RuntimeError("GeneratorExit") from exit_
