"""Objects that handlers ask for (`@router.provide`, `given`): opened where asked, once per update, closed before the commit.

Met by others: aiogram/aiogram#637 (what a middleware gives is missing in a nested router: a TypeError at the first update),
aiogram/aiogram#1687 and Tishka17/aiogram_dialog#129 (it is lost on the way to another handler of the same update).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine import Park, Reject
from telegram.client import TgClient
from telegram.dialogue import (
    HANDLED,
    ChatContext,
    Context,
    Flow,
    Handled,
    Invalid,
    MessageContext,
    Router,
    command,
    given,
    in_thread,
    load_router,
    text,
)
from telegram.dialogue.contexts.tools import Tools
from telegram.dialogue.router.table import Table
from telegram.testing import Conversations
from tests.dialogue.flows.test_flow import Answers, Step
from tests.kit.rig import open_rig
from tests.kit.rig import text as typed
from tests.kit.virtual import run_virtual


class Session:
    """A session of a database, as a provider opens it."""

    def __init__(self, diary: list[str], name: str = "session") -> None:
        self.diary = diary
        self.name = name
        diary.append(f"open {name}")

    def end(self, error: BaseException | None) -> None:
        self.diary.append(
            f"close {self.name}" if error is None else f"undo {self.name}: {type(error).__name__}"
        )


def with_session(router: Router, name: str = "session") -> list[str]:
    diary: list[str] = []

    async def session(ctx: Context) -> AsyncIterator[Session]:
        made = Session(diary, name)
        try:
            yield made
        except BaseException as error:
            made.end(error)
            raise
        made.end(None)

    session.__name__ = name
    router.provide(session)
    return diary


def play(router: Router, *updates: Any, **config: Any) -> tuple[list[str], list[Any]]:
    async def main() -> tuple[list[str], list[Any]]:
        async with open_rig("memory", Path(), router, **{"attempts_max": 1, **config}) as rig:
            await rig.comes(*(updates or (typed("hello"),)))
            await rig.settles()
            return rig.texts(), await rig.store.dead_letters()

    with capture_logs():
        return run_virtual(main())


def test_it_is_opened_only_for_a_handler_that_asks_and_closed_after_it():
    router = Router()
    diary = with_session(router)

    @router.message(command("without"))
    async def without() -> None:
        diary.append("without")

    @router.message(text)
    async def handler(ctx: MessageContext, database: Session = given) -> None:
        diary.append(f"handler {database.name}")

    @router.after
    async def after() -> None:
        diary.append("after")

    play(router, typed("/without"), typed("x"))
    assert diary == ["without", "after", "open session", "handler session", "after", "close session"]


@pytest.mark.parametrize("error", [ValueError("x"), Park("p", delay_s=1), Reject("r"), Invalid("no")])
def test_it_knows_that_the_handler_has_failed(error):
    router = Router()
    diary = with_session(router)

    @router.message()
    async def handler(ctx: MessageContext, session: Session = given) -> None:
        if len(diary) > 1:
            return
        raise error

    play(router)
    assert diary[:2] == ["open session", f"undo session: {type(error).__name__}"]


def test_a_time_out_is_a_failure_for_it_too():
    router = Router()
    diary = with_session(router)

    @router.message(timeout_s=1)
    async def handler(session: Session = given) -> None:
        await asyncio.sleep(10)

    _, dead = play(router)
    assert diary == ["open session", "undo session: CancelledError"]
    assert len(dead) == 1


def test_a_provider_that_swallows_the_error_makes_no_success():
    router = Router()

    @router.provide
    async def lenient() -> AsyncIterator[int]:
        with suppress(Exception):
            yield 1

    @router.message()
    async def handler(ctx: MessageContext, lenient: int = given) -> None:
        ctx.reply("not to be sent")
        raise OSError("lost")

    texts, dead = play(router)
    assert "not to be sent" not in texts
    assert [letter.reason for letter in dead] == ["OSError: lost"]


@pytest.mark.parametrize("when", ["open", "close"])
def test_an_error_of_a_provider_is_the_handlers(when):
    router = Router()
    seen: list[str] = []

    @router.provide
    async def broken() -> AsyncIterator[int]:
        if when == "open":
            raise OSError("no connection")
        yield 1
        raise OSError("not committed")

    @router.message()
    async def handler(ctx: MessageContext, broken: int = given) -> None:
        ctx.reply("not to be sent")

    @router.error(OSError)
    async def hook(ctx: ChatContext, error: OSError) -> Handled:
        seen.append(str(error))
        ctx.reply("the database is away")
        return HANDLED

    texts, dead = play(router)
    assert texts == ["the database is away"]
    assert not dead
    assert seen == ["no connection" if when == "open" else "not committed"]


def test_providers_ask_for_others_and_all_share_one_of_each():
    router = Router()
    diary = with_session(router)

    @router.provide
    async def user(ctx: Context, session: Session = given) -> AsyncIterator[str]:
        diary.append(f"open user in {session.name}")
        yield f"user {ctx.user_id}"
        diary.append("close user")

    seen: list[Any] = []

    @router.before
    async def before(session: Session = given) -> None:
        seen.append(session)

    @router.message()
    async def handler(ctx: MessageContext, *, user: str = given, database: Session = given) -> None:
        seen.extend((user, database))

    play(router)
    assert diary == ["open session", "open user in session", "close user", "close session"]
    assert seen[1] == "user 7"
    assert seen[0] is seen[2]


def test_the_innermost_router_gives_it_first_and_names_come_before_types():
    outer, inner = Router(), Router()
    outer_diary, inner_diary = with_session(outer), with_session(inner)
    other = with_session(outer, "archive")
    outer.include(inner)

    @inner.message()
    async def handler(session: Session = given, archive: Session = given) -> None: ...

    play(outer)
    assert (outer_diary, inner_diary, other) == (
        [],
        ["open session", "close session"],
        ["open archive", "close archive"],
    )


def test_a_step_of_a_flow_may_ask():
    router, flow = Router(), Flow("f", Step, Answers)
    diary = with_session(router)
    router.include(flow)

    @flow.entry.message()
    async def begin(ctx: MessageContext, data: Answers, session: Session = given) -> Step:
        data.name = session.name
        return Step.NAME

    play(router)
    assert diary == ["open session", "close session"]
    with pytest.raises(TypeError, match="session = given: a prompt"):

        @flow.at(Step.NAME).asks
        async def prompt(ctx: ChatContext, session: Session = given) -> None: ...


def handler_asking(annotation: Any) -> Any:
    async def handler(ctx: MessageContext, wanted: Any = given) -> None: ...

    handler.__annotations__["wanted"] = annotation
    return handler


incomplete = Router()
incomplete.message()(handler_asking(Session))


def test_what_no_provider_gives_is_an_error_at_the_start():
    router = Router()
    router.message()(handler_asking(Session))
    with pytest.raises(TypeError, match=r"handler: no @router.provide gives wanted \(there are: none\)"):
        Table(router)
    with pytest.raises(
        ValueError, match=r"^HANDLERS: .*no @router.provide gives wanted \(there are: none\)$"
    ):
        load_router(f"{__name__}:incomplete")
    outer = Router()
    with_session(outer)
    outer.include(router)
    Table(outer)
    with_session(outer, "archive")
    with pytest.raises(
        TypeError, match="several providers fit wanted, give it the name of one: session, archive"
    ):
        Table(outer)


def test_other_mistakes_are_errors_at_the_start():
    router = Router()

    @router.provide
    async def wanted() -> AsyncIterator[int]:
        yield 1

    router.message()(handler_asking(str))
    with pytest.raises(TypeError, match=r"wanted is .*str.*, but provider wanted yields .*int"):
        Table(router)
    with_session(router)
    with pytest.raises(ValueError, match="has a provider session already"):
        with_session(router)

    async def no_generator() -> int:
        return 1

    with pytest.raises(TypeError, match="yields once"):
        Router().provide(no_generator)  # type: ignore[arg-type]
    circle = Router()

    @circle.provide
    async def one(two: int = given) -> AsyncIterator[int]:
        yield two

    @circle.provide
    async def two(one: int = given) -> AsyncIterator[int]:
        yield one

    circle.before(handler_two)
    circle.message()(two_of_none)
    with pytest.raises(TypeError, match=r"asks for itself"):
        Table(circle)


async def two_of_none() -> None: ...


async def handler_two(ctx: ChatContext, two: int = given) -> None: ...


# ---- handlers in threads, resources with the client


def test_a_plain_function_runs_in_a_thread_and_collects_effects():
    router = Router()

    @router.message(text)
    @in_thread
    def handler(ctx: MessageContext) -> None:
        ctx.data["seen"] = 1
        ctx.message.reply(f"{ctx.text} from a thread")

    async def main() -> list[str]:
        async with open_rig("memory", Path(), router) as rig:
            await rig.comes(typed("hello"))
            await rig.settles()
            return rig.texts()

    assert asyncio.run(main()) == ["hello from a thread"]


def test_the_test_kit_runs_it_although_its_clock_does_not_wait():
    router = Router()

    @router.message(text)
    @in_thread
    def handler(ctx: MessageContext) -> None:
        __import__("time").sleep(0.01)
        ctx.reply("slept")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("hello")
        assert alice.text == "slept"


@pytest.mark.parametrize("error", [ValueError("in the thread"), StopIteration("odd"), SystemExit("exit")])
async def test_what_it_raises_is_raised(error):
    @in_thread
    def handler() -> None:
        raise error

    with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
        await handler()


async def test_a_cancelled_one_ends_when_its_thread_has_returned():
    loop = asyncio.get_running_loop()
    began, may_end = asyncio.Event(), __import__("threading").Event()
    done: list[str] = []

    @in_thread
    def handler() -> None:
        loop.call_soon_threadsafe(began.set)
        may_end.wait(30)
        done.append("returned")

    task: asyncio.Task[None] = asyncio.create_task(handler())  # type: ignore[arg-type]
    await began.wait()
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["returned"]


def test_an_async_handler_needs_no_thread():
    with pytest.raises(TypeError, match="is async: it needs no thread"):
        in_thread(handler_two)


async def test_a_resource_may_take_the_client_at_the_start_and_the_stop():
    router = Router()
    seen: list[Any] = []

    @router.resource
    async def commands(client: TgClient) -> AsyncIterator[None]:
        seen.append(client)
        yield
        seen.append("stopped")

    client: Any = object()
    async with Tools(client=client).open(router.resources()):
        assert seen == [client]
    assert seen == [client, "stopped"]
