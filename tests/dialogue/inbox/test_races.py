"""Stories from other frameworks' issue trackers, of conversations that race with themselves: here they cannot.

A whole bot over HTTP against the fake server, on each store. The handlers give way in the middle of every step, so
whatever could get between would.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine.stores import open_store
from telegram.client import TgClient
from telegram.dialogue import (
    END,
    CallbackContext,
    CallbackData,
    ChatContext,
    End,
    Flow,
    MessageContext,
    Router,
    command,
    inline,
    no,
    text,
)
from telegram.fake import FakeServer
from telegram.service.bot import Bot, BotConfig
from tests.kit.bounds import WITHIN_S

Start = Callable[..., Any]


class House:
    def __init__(self, fake: FakeServer, bot: Bot, store: Any) -> None:
        self.fake = fake
        self.bot = bot
        self.store = store

    async def appended(self, count: int) -> None:
        """Wait until so many updates have reached the inbox."""
        async with asyncio.timeout(WITHIN_S):
            while (await self.store.stats()).inbox.appended < count:
                await asyncio.sleep(0.01)

    async def idle(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            while True:
                stats = await self.store.stats()
                if not stats.inbox.pending + stats.outbox.pending:
                    return
                await asyncio.sleep(0.01)

    def texts(self) -> list[str]:
        return [call.text for call in self.fake.calls if call.method == "sendMessage"]


@pytest.fixture(params=["memory", "sqlite"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    url = "memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'bot.db'}"

    @asynccontextmanager
    async def run(router: Router, **config: Any) -> AsyncIterator[House]:
        async with FakeServer(seed=1, strict=True) as fake, TgClient(fake.token, base_url=fake.url) as client:
            store = await open_store(url, "1")
            bot = Bot(client, store, router, BotConfig(drain_timeout_s=5, messages_per_s=0, **config))
            await bot.start()
            try:
                yield House(fake, bot, store)
            finally:
                await bot.stop()
                await store.close()

    return run


class Gate:
    """Where a handler waits in the middle of its step."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self) -> None:
        self.entered.set()
        await self.open.wait()
        for _ in range(5):  # and then others may run, if they can
            await asyncio.sleep(0)


# -- aiogram#960: several answers are forwarded at once, and the states see the wrong ones ---------------------------


class Ask(Enum):
    NAME = "name"
    AGE = "age"
    CITY = "city"


class Person(BaseModel):
    name: str = ""
    age: int = 0
    city: str = ""


def survey(gate: Gate) -> Router:
    flow = Flow("survey", Ask, Person)

    @flow.entry.message(command("survey"))
    async def begin() -> Literal[Ask.NAME]:
        return Ask.NAME

    flow.at(Ask.NAME).ask("Name?")
    flow.at(Ask.AGE).ask("Age?")
    flow.at(Ask.CITY).ask("City?")

    @flow.at(Ask.NAME).message(text)
    async def name(ctx: MessageContext, data: Person) -> Literal[Ask.AGE]:
        await gate()
        data.name = ctx.text
        return Ask.AGE

    @flow.at(Ask.AGE).message(text)
    async def age(ctx: MessageContext, data: Person) -> Literal[Ask.CITY]:
        await gate()
        data.age = ctx.text  # type: ignore[assignment] # held to its type afterwards
        return Ask.CITY

    @flow.at(Ask.CITY).message(text)
    async def city(ctx: MessageContext, data: Person) -> End[None]:
        await gate()
        data.city = ctx.text
        ctx.reply(f"{data.name}, {data.age}, {data.city}")
        return END

    router = Router()
    router.include(flow)

    @router.message()
    async def stranger(ctx: MessageContext) -> None:
        ctx.reply(f"no survey: {ctx.text}")

    return router


async def test_answers_that_are_forwarded_at_once_go_to_their_states(start):
    gate = Gate()
    async with start(survey(gate)) as house:
        for what in ("/survey", "Ann", "42", "Oslo", "and more"):
            house.fake.world.send_message(1, 1, what)
        await gate.entered.wait()
        await house.appended(5)  # all of them wait while the first answer is being handled
        gate.open.set()
        await house.idle()
        assert house.texts() == ["Name?", "Age?", "City?", "Ann, 42, Oslo", "no survey: and more"]


async def test_a_wrong_answer_among_them_is_asked_again_and_the_next_one_is_taken(start):
    gate = Gate()
    gate.open.set()
    async with start(survey(gate)) as house:
        for what in ("/survey", "Ann", "old", "42", "Oslo"):
            house.fake.world.send_message(1, 1, what)
        await house.appended(5)
        await house.idle()
        sent = house.texts()
        assert [*sent[:2], *sent[3:]] == ["Name?", "Age?", "Age?", "City?", "Ann, 42, Oslo"]
        assert sent[2].startswith("age: ")


async def test_people_who_answer_at_once_do_not_get_into_each_others_way(start):
    gate = Gate()
    gate.open.set()
    async with start(survey(gate)) as house:
        group = house.fake.world.add_group("Group", [1, 2, 3])["id"]
        for what in ("/survey", "N", "4", "C"):
            for user in (1, 2, 3):
                answer = (
                    what if what == "/survey" else f"{what}{user}".replace("N", "Ann").replace("C", "City")
                )
                house.fake.world.send_message(group, user, answer)
                house.fake.world.send_message(user, user, answer)
        await house.appended(24)
        await house.idle()
        done = sorted(each for each in house.texts() if ", " in each)
        assert done == sorted([f"Ann{user}, 4{user}, City{user}" for user in (1, 2, 3)] * 2)


# -- telegraf#1372, aiogram#1317: the session is read before its turn, so a change gets lost -----------------------------


async def test_a_counter_that_is_read_and_written_around_an_await_loses_nothing(start):
    gate = Gate()
    router = Router()

    @router.message(text)
    async def count(ctx: MessageContext) -> None:
        before = ctx.data.get("count", 0)
        await gate()
        ctx.data["count"] = before + 1
        ctx.reply(f"{ctx.text}: {before + 1}")

    async with start(router) as house:
        house.fake.world.send_message(1, 1, "0")
        await gate.entered.wait()
        for number in range(1, 20):  # while the first one is being handled
            house.fake.world.send_message(1, 1, f"{number}")
        await house.appended(20)
        gate.open.set()
        await house.idle()
        assert house.texts() == [f"{number}: {number + 1}" for number in range(20)]


# -- fast double presses -------------------------------------------------------------------------------------------------


class Buy(CallbackData, prefix="buy"):
    item: str


class Shop(Enum):
    OPEN = "open"
    SOLD = "sold"


class Basket(BaseModel):
    sold: int = 0


def shop(gate: Gate) -> Router:
    flow = Flow("shop", Shop, Basket, takes_any_button=True)  # to say it in its own words

    @flow.entry.message(command("shop"))
    async def begin() -> Literal[Shop.OPEN]:
        return Shop.OPEN

    @flow.at(Shop.OPEN).asks
    async def offer(ctx: ChatContext) -> None:
        ctx.reply("Buy?", reply_markup=inline([("Tea", Buy(item="tea"))]))

    @flow.at(Shop.OPEN).callback_query(Buy)
    async def buy(ctx: CallbackContext, data: Basket, pressed: Buy) -> Literal[Shop.SOLD]:
        await gate()
        data.sold += 1
        ctx.answer(f"{pressed.item}: {data.sold}")
        ctx.edit(f"Sold {data.sold}")
        return Shop.SOLD

    @flow.at(Shop.SOLD).callback_query(Buy)
    async def again(ctx: CallbackContext) -> None:
        ctx.answer("You have it already")

    router = Router()
    router.include(flow)
    return router


async def test_a_button_that_is_pressed_three_times_is_bought_once(start):
    gate = Gate()
    async with start(shop(gate)) as house:
        house.fake.world.send_message(1, 1, "/shop")
        (asked,) = await house.fake.wait_for_calls(1, method="sendMessage")
        assert asked.text == "Buy?"
        message = house.fake.world.messages(1)[-1]
        data = message["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        house.fake.world.press(1, 1, message["message_id"], data)
        await gate.entered.wait()
        for _ in range(2):  # while the first press is being handled
            house.fake.world.press(1, 1, message["message_id"], data)
        await house.appended(4)
        gate.open.set()
        await house.idle()
        answers = [call.text for call in house.fake.calls if call.method == "answerCallbackQuery"]
        edits = [call.text for call in house.fake.calls if call.method == "editMessageText"]
        assert answers == ["tea: 1", "You have it already", "You have it already"]
        assert edits == ["Sold 1"]


# -- grammyjs/conversations#155: after an action throws, the conversation hangs for ever ----------------------------------


@pytest.mark.parametrize("attempts_max", [1, 2])
async def test_a_step_that_throws_does_not_hold_the_conversation_up(start, attempts_max):
    router = Router()
    flow = Flow("survey", Ask, Person)
    tries = []

    @flow.entry.message(command("survey"))
    async def begin() -> Literal[Ask.NAME]:
        return Ask.NAME

    @flow.at(Ask.NAME).message(text)
    async def name(ctx: MessageContext, data: Person) -> Literal[Ask.AGE]:
        tries.append((ctx.text, ctx.attempt, data.name))
        data.name = ctx.text
        ctx.reply(f"{ctx.text}!")
        await asyncio.sleep(0)
        if ctx.text == "Bad":
            raise ZeroDivisionError
        return Ask.AGE

    @flow.at(Ask.AGE).message(text)
    async def age(ctx: MessageContext, data: Person) -> End[None]:
        ctx.reply(f"{data.name} is {ctx.text}")
        return END

    router.include(flow)
    async with start(router, attempts_max=attempts_max) as house:
        for what in ("/survey", "Bad", "Ann", "42"):
            house.fake.world.send_message(1, 1, what)
        await house.appended(4)
        await house.idle()
        told = [each for each in house.texts() if not each.startswith("Sorry")]
        assert told == ["Ann!", "Ann is 42"]
        assert tries == [*(("Bad", number + 1, "") for number in range(attempts_max)), ("Ann", 1, "")]
        assert [letter.reason for letter in await house.store.dead_letters()] == ["ZeroDivisionError: "]


# -- /cancel while a step takes its time -----------------------------------------------------------------------------------


async def test_cancel_ends_a_long_step_and_what_came_behind_it_is_handled(start):
    """How soon, on virtual time: tests/dialogue/routes/test_stopping.py."""
    router = Router()
    flow = Flow("survey", Ask, Person)
    gate = Gate()

    @flow.entry.message(command("survey"))
    async def begin() -> Literal[Ask.NAME]:
        return Ask.NAME

    @flow.anywhere.message(command("cancel"))
    async def cancel(ctx: MessageContext, data: Person) -> End[None]:
        ctx.reply(f"cancelled: {data.name!r}")
        return END

    @flow.at(Ask.NAME).message(text, no(command("cancel")), stop=command("cancel"))
    async def name(ctx: MessageContext, data: Person) -> Literal[Ask.AGE]:
        data.name = ctx.text
        ctx.reply("never said")
        await gate()  # it never opens
        return Ask.AGE

    router.include(flow)

    @router.message()
    async def other(ctx: MessageContext) -> None:
        ctx.reply(f"other: {ctx.text}")

    async with start(router) as house:
        for what in ("/survey", "Ann"):
            house.fake.world.send_message(1, 1, what)
        await gate.entered.wait()
        await house.fake.wait_for_long_poll()
        house.fake.world.send_message(1, 1, "/cancel")
        house.fake.world.send_message(1, 1, "hello")
        await house.appended(4)
        await house.idle()
        assert house.texts() == ["cancelled: ''", "other: hello"]
        assert await house.store.dead_letters() == []
