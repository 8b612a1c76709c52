"""The kinds of update that a bot asks Telegram for: derived from its router, sent with each getUpdates."""

import asyncio
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from engine.stores import open_store
from telegram.botapi.types import KINDS
from telegram.client import TgClient
from telegram.dialogue import (
    CallbackContext,
    ChatContext,
    Context,
    Flow,
    MessageContext,
    Router,
    any_of,
    command,
    data,
    inline,
    kind,
)
from telegram.dialogue.router.kinds import NEEDED, log_kinds, read_kinds
from telegram.fake import FakeServer
from telegram.service.bot import Bot, BotConfig
from tests.kit.offline import play, said


async def handler(ctx: Any) -> None:
    """Any handler."""


def asked(router: Router) -> set[str]:
    kinds = router.allowed_updates()
    assert len(set(kinds)) == len(kinds)
    assert set(kinds) >= NEEDED
    return set(kinds) - NEEDED


def test_an_empty_router_asks_for_what_the_bot_itself_reads():
    assert Router().allowed_updates() == ["message", "callback_query", "my_chat_member"]


def test_each_kind_with_a_handler_is_asked_for_however_deep_its_router_lies():
    inner, middle, router = Router(), Router(), Router()
    inner.message_reaction()(handler)
    middle.chat_member()(handler)
    middle.include(inner)
    router.any_message()(handler)
    router.include(middle)
    assert asked(router) == {
        "message_reaction", "chat_member", "edited_message", "channel_post", "edited_channel_post",
        "business_message", "edited_business_message", "guest_message",
    }  # fmt: skip


def test_a_handler_of_any_update_asks_for_all_that_is_known():
    router = Router()
    router.update()(handler)
    assert router.allowed_updates() == list(KINDS)


def test_a_filter_of_kinds_decides_what_a_handler_of_any_update_requests():
    router = Router(kind("chat_boost", "poll", "chat_member"))
    router.update(any_of(kind("chat_boost"), kind("poll")))(handler)
    assert asked(router) == {"chat_boost", "poll"}
    router = Router()
    router.update(any_of(kind("poll"), command("x")))(handler)
    assert router.allowed_updates() == list(KINDS)


def test_a_newer_kind_is_asked_for_by_its_name():
    router = Router()
    router.update(kind("telepathy"))(handler)
    with capture_logs() as logs:
        log_kinds(router.allowed_updates(), router.allowed_updates())
    assert router.allowed_updates()[-1] == "telepathy"
    assert [each["kinds"] for each in logs if each["log_level"] == "warning"] == [["telepathy"]]


def test_who_asks_for_members_does_not_lose_the_rest():
    """grammyjs/grammY#264: with chat_member alone in the list, messages and buttons do not come any more."""
    router = Router()
    router.chat_member()(handler)
    assert router.allowed_updates() == ["message", "callback_query", "my_chat_member", "chat_member"]


def test_a_timer_is_no_kind_of_update():
    router = Router()
    router.timer("tea")(handler)
    assert asked(router) == set()


def test_what_stops_a_handler_is_asked_for():
    router = Router()
    router.inline_query(stop=kind("edited_message"))(handler)
    assert asked(router) == {"inline_query", "edited_message"}
    router = Router()
    router.inline_query(stop=data("stop"))(handler)
    assert asked(router) == {"inline_query"}  # a button or a command


class Step(Enum):
    """The states of both flows."""

    ONE = "one"
    TWO = "two"


class Nothing(BaseModel):
    """No data."""


def test_a_flow_asks_for_what_its_steps_and_its_sub_flows_take():
    below = Flow("below", Step, Nothing)
    below.at(Step.ONE).update(kind("poll_answer"))(handler)
    above = Flow("above", Step, Nothing)
    above.at(Step.ONE).any_message()(handler)
    above.anywhere.update(kind("message_reaction"))(handler)
    above.otherwise.update(kind("chat_member"))(handler)

    @above.entry.update(kind("chat_join_request"))
    async def begin(ctx: Context) -> Literal[Step.ONE]:
        return Step.ONE

    @above.at(Step.TWO).runs(below)
    async def done(ctx: ChatContext) -> None:
        """Nothing."""

    router = Router()
    router.include(above)
    assert asked(router) >= {"poll_answer", "message_reaction", "chat_member", "chat_join_request"}
    assert "inline_query" not in asked(router)


def test_any_update_in_a_step_of_a_flow_asks_for_all():
    flow = Flow("flow", Step, Nothing)
    flow.at(Step.ONE).update()(handler)
    router = Router()
    router.include(flow)
    assert router.allowed_updates() == list(KINDS)


def test_what_a_setting_leaves_out_is_logged():
    with capture_logs() as logs:
        log_kinds(["message", "chat_member"], ["message", "message_reaction"])
    assert [(each["log_level"], each.get("kinds")) for each in logs] == [
        ("info", None),
        ("warning", ["message_reaction"]),
        ("info", ["chat_member"]),
    ]
    assert logs[0]["allowed_updates"] == ["message", "chat_member"]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [("message", ["message"]), (" Poll , message,poll,", ["poll", "message"]), ("all", list(KINDS))],
)
def test_a_setting_is_read(text, kinds):
    assert read_kinds(text) == kinds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mesage", "there is no kind of update 'mesage': did you mean 'message'?"),
        ("message,reaction_message", "there is no kind of update 'reaction_message': did you mean"),
        ("xyz", "there is no kind of update 'xyz'$"),
        (" , ", "name kinds of update, separated by commas, or all"),
    ],
)
def test_a_kind_that_does_not_exist_is_refused_with_the_nearest_one(text, says):
    with pytest.raises(ValueError, match=says):
        read_kinds(text)


def test_each_poll_names_the_kinds_also_the_last_one():
    router = Router()
    router.message_reaction()(handler)

    async def scenario(scene: Any) -> Any:
        scene.telegram.push(said("x"))
        await scene.idle()
        return scene.telegram

    telegram = play(router, scenario)
    assert telegram.asked
    assert all(each == router.allowed_updates() for each in telegram.asked)
    telegram = play(router, scenario, allowed_updates=["poll"])
    assert all(each == ["poll"] for each in telegram.asked)


@pytest.mark.parametrize("url", ["memory:", "sqlite:{}/bot.db"])
async def test_reactions_joins_and_presses_come_though_a_former_program_had_asked_for_messages_only(
    url, tmp_path
):
    """A reaction, a join and a press are all handled.

    home-assistant/core#179896: a token once narrowed to ["message"] stays narrowed, so buttons seemed dead. It is the same
    in python-telegram-bot#3463; pengrad/java-telegram-bot-api#411 is about reactions, which must be asked for. Telegram
    keeps a list until another one is sent (Bot API, getUpdates; tdlib/telegram-bot-api,
    Client::update_allowed_update_types).
    """
    came: list[str | None] = []
    all_came = asyncio.Event()
    router = Router()

    def note(ctx: Context) -> None:
        came.append(ctx.kind)
        if len(came) == 4:
            all_came.set()

    @router.message_reaction()
    async def reacted(ctx: ChatContext) -> None:
        note(ctx)

    @router.chat_member()
    async def joined(ctx: ChatContext) -> None:
        note(ctx)

    @router.callback_query()
    async def pressed(ctx: CallbackContext) -> None:
        note(ctx)

    @router.message(command("start"))
    async def start(ctx: MessageContext) -> None:
        note(ctx)
        ctx.reply("Press", reply_markup=inline([("x", "x")]))

    store = await open_store(url.format(tmp_path), "1")
    async with FakeServer(seed=1) as fake, TgClient(fake.token, base_url=fake.url) as client:
        fake.queue.allow(["message"])
        bot = Bot(client, store, router, BotConfig())
        await bot.start()
        await fake.wait_for_long_poll()
        fake.world.send_message(7, 7, "/start")
        await fake.wait_for_calls(1, method="sendMessage")
        fake.world.press(7, 7, fake.world.messages(7)[-1]["message_id"], "x")
        fake.world.push("message_reaction", REACTION)
        fake.world.push("chat_member", JOINED)
        await fake.wait_for_calls(1, method="answerCallbackQuery")
        await all_came.wait()
        await bot.stop()
        assert fake.queue.allowed == set(router.allowed_updates())
    await store.close()
    assert set(came) == {"callback_query", "chat_member", "message", "message_reaction"}


USER = {"id": 7, "is_bot": False, "first_name": "Ann"}
GROUP = {"id": -1001, "type": "supergroup", "title": "Group"}
REACTION = {
    "chat": GROUP,
    "message_id": 1,
    "user": USER,
    "date": 1_790_000_000,
    "old_reaction": [],
    "new_reaction": [{"type": "emoji", "emoji": "👍"}],
}
JOINED = {
    "chat": GROUP,
    "from": USER,
    "date": 1_790_000_000,
    "old_chat_member": {"status": "left", "user": USER},
    "new_chat_member": {"status": "member", "user": USER},
}
