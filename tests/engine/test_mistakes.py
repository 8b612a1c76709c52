"""What is a mistake in the program is given up at the first attempt; what a broken connection may have caused is not."""

import asyncio
import json
import sysconfig
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine import PROGRAMMING_ERRORS, Effects, Reject, Retry, is_mistake, outcome_of
from telegram.botapi.types import User
from telegram.dialogue import ChatContext, Flow, MessageContext, Router, command, text
from telegram.testing import Conversations
from tests.kit.deliveries import Direct, delivery, message
from tests.kit.house import House, dead, in_house, update
from tests.kit.offline import Scene, play

LIBRARY = "/srv/venv/lib/python3.11/site-packages/redis/asyncio/connection.py"
STDLIB = sysconfig.get_path("stdlib")


def raised(body: str, file: str, **names: Any) -> BaseException:
    """What the function `f` raises whose code says that it stands in `file`."""
    namespace: dict[str, Any] = dict(names)
    exec(compile(f"def f():\n    {body}\n", file, "exec"), namespace)  # noqa: S102 - our own text
    try:
        namespace["f"]()
    except BaseException as error:  # noqa: BLE001 - the point
        return error
    raise AssertionError


def library(body: str = "None.at_eof()", file: str = LIBRARY) -> Any:
    namespace: dict[str, Any] = {}
    exec(compile(f"def broken():\n    {body}\n", file, "exec"), namespace)  # noqa: S102 - our own text
    return namespace["broken"]


@pytest.mark.parametrize(
    "body",
    [
        "len(5)",
        "None.text",
        "unknown_name",
        "(lambda a: a)()",
        "import a_module_that_is_not_there",
        "raise NotImplementedError",
        "x = x + 1",
        "eval('1 +')",
        "__import__('json').dumps(object())",  # raised in json/encoder.py
        "__import__('datetime').date.fromisoformat(None)",
    ],
)
def test_what_the_bots_own_code_raises_is_a_mistake(body):
    error = raised(body, "/srv/bot/handlers.py")
    assert is_mistake(error)
    assert isinstance(outcome_of(error), Reject)
    assert isinstance(outcome_of(error, ()), Retry)


@pytest.mark.parametrize(
    "body",
    ["{}['x']", "[][0]", "int('x')", "1 / 0", "raise OSError('x')", "raise RuntimeError('x')", "assert 0"],
)
def test_what_may_come_of_what_another_service_answered_is_tried_again(body):
    error = raised(body, "/srv/bot/handlers.py")
    assert not is_mistake(error)
    assert isinstance(outcome_of(error), Retry)


@pytest.mark.parametrize(
    ("inner", "file"),
    [
        ("None.at_eof()", LIBRARY),  # aio-libs-abandoned/aioredis-py#447
        ("object().host", LIBRARY),  # redis/redis-py#3815
        ("(lambda n: n())(None)", f"{STDLIB}/asyncio/selector_events.py"),  # redis/redis-py#3546
        ("None.cancelled()", "asyncpg/protocol/protocol.pyx"),  # MagicStack/asyncpg#240
        ("None.read()", f"{STDLIB}/ssl.py"),
        ("None.read()", "/usr/lib/python3/dist-packages/psycopg2/extras.py"),
        ("None.x", r"C:\bot\venv\Lib\site-packages\redis\client.py"),
    ],
)
def test_what_a_library_raises_may_be_its_connection(inner, file):
    assert not is_mistake(raised("broken()", "/srv/bot/handlers.py", broken=library(inner, file)))


def test_it_counts_who_raised_it_and_not_who_was_in_between():
    """A library may call the bot's code (a retry's decorator, say), and json is called by a library."""
    calls = library("f()")
    calls.__globals__["f"] = lambda: len(5)  # type: ignore[arg-type] # the point
    assert is_mistake(raised("calls()", "/srv/bot/main.py", calls=calls))
    dumps = library("__import__('json').dumps(object())")
    assert not is_mistake(raised("broken()", "/srv/bot/handlers.py", broken=dumps))


def test_of_a_group_one_mistake_is_enough():
    mistake, other = raised("None.x", "/srv/bot/a.py"), OSError("x")
    assert is_mistake(BaseExceptionGroup("g", [other, BaseExceptionGroup("h", [mistake])]))
    assert not is_mistake(ExceptionGroup("g", [other]))
    assert not is_mistake(TypeError("never raised"), ())
    assert TypeError in PROGRAMMING_ERRORS


# ---- in the pool and in a bot


@pytest.mark.parametrize(("error", "attempts"), [(TypeError("x"), 1), (OSError("x"), 5)])
def test_the_pool_gives_a_mistake_up_at_the_first_attempt(error, attempts):
    async def handler(house: House, delivery: Any) -> Effects:
        raise error

    house = House(handler)
    in_house(house, update(1))
    assert dead(house) == [(1, attempts, f"{type(error).__name__}: x")]


def test_effects_that_are_none_are_given_up_at_the_first_attempt():
    async def handler(house: House, delivery: Any) -> Any:
        return "effects"

    house = House(handler)
    in_house(house, update(1))
    assert dead(house) == [(1, 1, "the handler returned str, not Effects")]


@pytest.mark.parametrize(("retry", "runs"), [(False, 1), (True, 5)])
def test_the_setting_has_mistakes_tried_again(retry, runs):
    router = Router()
    ran = []

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        ran.append(ctx.attempt)
        ctx.reply("hi", reply_markpu=1)  # type: ignore[call-arg]

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("Ann")
        await scene.idle()
        return await scene.reasons()

    ((reason, _),) = play(router, scenario, retry_programming_errors=retry)
    assert "reply_markup" in reason
    assert ran == list(range(1, runs + 1))


def test_a_name_that_an_object_of_telegram_does_not_have_is_a_mistake():
    """Other libraries have it: 'Message' object has no attribute ... in ehForwarderBot/efb-telegram-master#48, yasirarism/MissKatyPyro#294."""
    router = Router()

    @router.message(text)
    async def handler(ctx: MessageContext) -> None:
        ctx.message.reply_text("hi")  # type: ignore[attr-defined] # that is the story

    with Conversations(router) as bot:
        with pytest.raises(AttributeError, match="'Message' object has no attribute 'reply_text'"):
            bot.chat("Ann").says("x")
        assert [letter.attempts for letter in bot.dead_letters()] == [1]


def test_a_field_that_telegram_added_later_is_still_there():
    found = User(id=1, is_bot=False, first_name="Ann", newer=5)
    assert (found.newer, getattr(found, "newest", 7)) == (5, 7)  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["returned", "in a burst", "task"])
def test_a_call_that_is_returned_and_not_awaited_is_a_mistake(how):
    """A missing `await`: LonamiWebs/Telethon#892 (nothing is sent), rahiel/telegram-send#121 (a TypeError one line later)."""
    router = Router()

    async def later() -> None: ...

    async def forgets(ctx: MessageContext) -> Any:
        return asyncio.get_running_loop().create_future() if how == "task" else later()

    (router.burst if how == "in a burst" else router.message)(text)(forgets)
    with Conversations(router) as bot:
        with pytest.raises(TypeError, match=r"forgets returned a .* that was never awaited: write `await`"):
            bot.chat("Ann").says("x")
        (letter,) = bot.dead_letters()
        assert letter.attempts == 1


class S(Enum):
    ASKED = "asked"


class Nothing(BaseModel):
    pass


@pytest.mark.parametrize("where", ["entry", "asks"])
def test_so_it_is_in_a_flow(where):
    flow = Flow("f", S, Nothing)

    async def later() -> None: ...

    @flow.entry.message(command("go"))
    async def begin(ctx: MessageContext) -> Literal[S.ASKED]:
        return later() if where == "entry" else S.ASKED  # type: ignore[return-value] # the point

    @flow.at(S.ASKED).asks
    async def asks(ctx: ChatContext) -> Any:
        return later()

    router = Router()
    router.include(flow)
    with Conversations(router) as bot:
        with pytest.raises(TypeError, match="never awaited"):
            bot.chat("Ann").says("/go")
        assert [letter.attempts for letter in bot.dead_letters()] == [1]


async def test_a_mistake_whose_text_holds_a_token_is_given_up_without_it():
    router = Router()

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        raise TypeError("bot123456789:AAmade-up-secret_0123456789abcdefghi")

    with pytest.raises(Reject) as caught:
        await Direct(router)(delivery({"message": message()}))
    assert "secret" not in caught.value.reason
    assert json.dumps(caught.value.reason)
