"""Handlers that are plain functions: `@in_thread` runs one in a thread, so that it may block.

    @router.message(command("report"))
    @in_thread
    def report(ctx: MessageContext) -> None:
        ctx.reply(slow_library.report())

The handler's context may be used as in any other handler: while the thread runs, nothing else does with it. What needs an
`await` (ctx.client, ctx.progress, ctx.answer_now) is not for threads. A thread cannot be stopped: a time-out, a stop of the bot
or a `stop=` ends the handler when its thread has returned, and until then its lane waits. A bot that stops does not wait
longer than DRAIN_TIMEOUT_S; the threads end with the process.
"""

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from telegram.dialogue.contexts.signature import is_async

P = ParamSpec("P")
R = TypeVar("R")


def _start_thread(run: Callable[[], None], name: str) -> None:
    # A daemon: the process does not wait for it when it ends. A pool would be full of those that hang.
    threading.Thread(target=run, name=name, daemon=True).start()


def in_thread(function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Return an async function that runs `function` in a thread of its own. TypeError for an async one."""
    if is_async(function):
        raise TypeError(f"{getattr(function, '__qualname__', function)!r} is async: it needs no thread")

    @wraps(function)
    async def handler(*args: P.args, **given: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[R] = loop.create_future()
        context = contextvars.copy_context()

        def end(result: Any, error: BaseException | None) -> None:
            if error is None:
                ended.set_result(result)
            else:
                ended.set_exception(error)

        def run() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = context.run(function, *args, **given)
            except StopIteration as wrong:  # a future cannot raise it
                error = RuntimeError(f"the handler raised StopIteration: {wrong}")
            except BaseException as wrong:  # noqa: BLE001 - raised where the handler is awaited
                error = wrong
            try:
                loop.call_soon_threadsafe(end, result, error)
            except RuntimeError:  # the loop is closed: the process ends
                return

        start = getattr(loop, "start_thread", _start_thread)  # a loop in virtual time has its own
        start(run, getattr(function, "__name__", "handler"))
        cancelled: asyncio.CancelledError | None = None
        while not ended.done():
            try:
                await asyncio.shield(ended)
            except asyncio.CancelledError as cut:  # kept: the thread still uses the context
                cancelled = cut
            except BaseException:  # noqa: BLE001, S110 - raised below
                pass
        if cancelled is not None:
            ended.exception()  # seen, else asyncio logs it
            raise cancelled
        return ended.result()

    return handler
