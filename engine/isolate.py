"""Run a coroutine inside the current task, but in a context (contextvars) of its own.

A worker's task lives as long as the pool; a context variable that one handler sets must not be visible to the next
handler, which serves another chat. A task per delivery would isolate as well, at ten times the cost.
"""

from collections.abc import Awaitable, Generator
from contextvars import Context
from types import FrameType, coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
_FRAMES_MAX: Final = 200


@coroutine  # awaitable itself: an object with `__await__` would be one more per delivery
def isolated(context: Context, awaitable: Awaitable[T]) -> Generator[Any, Any, T]:
    """Await `awaitable` in the current task, with its context variables kept in `context`; return its result."""
    run = context.run
    steps = run(awaitable.__await__)
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


def frames_of(task: "asyncio.Task[Any]") -> list[FrameType]:
    """Return the frames in which a suspended task waits, outermost first, also of what runs in `isolated`."""
    frames: list[FrameType] = []
    awaited: Any = task.get_coro()
    while awaited is not None and len(frames) < _FRAMES_MAX:
        kind = next((each for each in ("cr", "gi", "ag") if hasattr(awaited, f"{each}_frame")), None)
        frame = None if kind is None else getattr(awaited, f"{kind}_frame")
        if frame is None:  # a future, or it has ended
            break
        frames.append(frame)
        if frame.f_code is isolated.__code__:
            awaited = frame.f_locals.get("awaitable")
        else:
            awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    return frames
