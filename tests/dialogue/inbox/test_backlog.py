"""What is done with messages that waited at Telegram's while the bot was away (telegram/dialogue/inbox/backlog.py).

People ask for each of the policies: to have what was sent meanwhile handled (HKUDS/nanobot#2652), to have it ignored
(telegraf/telegraf#1050, eternnoir/pyTelegramBotAPI#97), to have it ignored above an age (jTelegram/jTelegramBotAPI#50),
and to have its sender told so (jaaacki/claude-telegram-nodejs#56).
"""

import asyncio
import time
from typing import Any

import pytest

from engine.stores import open_store
from telegram.client import TgClient
from telegram.dialogue import Context, MessageContext, Router, command, text
from telegram.dialogue.inbox.backlog import BACKLOG_TEXT, Backlog, read_backlog
from telegram.dialogue.router.kinds import read_kinds
from telegram.fake import FakeServer
from telegram.service.bot import Bot, BotConfig
from telegram.testing import Conversations

HOUR = 3600
PAID = {"currency": "XTR", "total_amount": 5, "invoice_payload": "p", "telegram_payment_charge_id": "1",
        "provider_payment_charge_id": "2"}  # fmt: skip


def noting(handled: list[str]) -> Router:
    router = Router()

    @router.message(text)
    async def say(ctx: MessageContext) -> None:
        handled.append(ctx.text)
        ctx.reply(f"echo {ctx.text}")

    @router.update()
    async def rest(ctx: Context) -> None:
        handled.append(ctx.kind or "")

    return router


def conversations(handled: list[str], policy: str, **config: Any) -> Conversations:
    config = {"backlog": policy, "allowed_updates": read_kinds("all"), **config}
    return Conversations(noting(handled), config=BotConfig(**config))


def ago(bot: Conversations, seconds: float) -> int:
    return int(bot.now.timestamp() - seconds)


@pytest.mark.parametrize(
    ("policy", "expected"), [("handle", ["old", "young"]), ("drop:600", ["young"]), ("tell:600", ["young"])]
)
def test_updates_that_waited_longer_are_dropped_by_the_policy(policy, expected):
    handled: list[str] = []
    with conversations(handled, policy) as bot:
        ann = bot.chat("Ann")
        ann.says("old", date=ago(bot, HOUR))
        ann.says("young", date=ago(bot, 599))
        assert handled == expected
        assert bot.dropped() == ({} if policy == "handle" else {"backlog": 1})
        assert bot.dead_letters() == []


def test_each_private_chat_gets_one_text_for_any_backlog_also_with_a_restart_in_it():
    handled: list[str] = []
    with conversations(handled, "tell:600", backlog_text="I was away.") as bot:
        ann, bob, group = bot.chat("Ann"), bot.chat("Bob"), bot.group("G").member("Ann")
        for number in range(3):
            ann.says(f"{number}", date=ago(bot, HOUR - number))
            group.says(f"{number}", date=ago(bot, HOUR))
            bot.restart()  # the rest of it comes with a later poll
        bob.sends(photo=True, date=ago(bot, HOUR))
        told = [(call.params["chat_id"], call.params["text"]) for call in bot.calls("sendMessage")]
        assert told == [(ann.id, "I was away."), (bob.id, "I was away.")]
        ann.says("again")
        assert handled == ["again"]
        bot.passes(hours=5)  # another downtime
        ann.says("later", date=ago(bot, HOUR))
        assert [call.params["text"] for call in bot.calls("sendMessage")][2:] == ["echo again", "I was away."]


def test_what_waits_in_the_bots_own_lane_is_no_backlog():
    handled: list[str] = []
    router = Router()

    @router.message(command("work"))
    async def work() -> None:
        await asyncio.sleep(50)

    router.include(noting(handled))
    with Conversations(router, config=BotConfig(backlog="drop:10")) as bot:
        ann = bot.chat("Ann")
        ann.says("/work", wait=False)
        ann.says("waits", wait=False)
        bot.settles()
        assert handled == ["waits"]


def test_money_members_and_migrations_are_never_dropped():
    """Telegram Bot API: successful_payment, refunded_payment, migrate_to_chat_id are messages of service."""
    handled: list[str] = []
    with conversations(handled, "drop:600") as bot:
        ann = bot.chat("Ann")
        old: Any = {"date": ago(bot, HOUR)}
        ann.sends(successful_payment=PAID, **old)
        ann.sends(refunded_payment={**PAID}, **old)
        ann.sends(migrate_to_chat_id=-1005, **old)
        for kind in ("my_chat_member", "chat_member", "chat_join_request", "business_connection"):
            ann.sends_update(kind, date=ago(bot, HOUR))
        ann.sends_update("pre_checkout_query")
        ann.sends_update("callback_query")
        ann.sends_update("message_reaction", date=ago(bot, HOUR))
        assert handled == [
            "message", "message", "message", "my_chat_member", "chat_member", "chat_join_request",
            "business_connection", "pre_checkout_query", "callback_query",
        ]  # fmt: skip
        assert bot.dropped() == {"backlog": 1}


def test_a_business_chat_gets_no_text():
    """The text would be sent as the person whose account it is (Telegram Bot API, sendMessage: business_connection_id)."""
    handled: list[str] = []
    with conversations(handled, "tell:600") as bot:
        ann = bot.chat("Ann")
        ann.sends_update("business_message", date=ago(bot, HOUR), business_connection_id="b", text="old")
        assert (handled, bot.calls(), bot.dropped()) == ([], [], {"backlog": 1})


@pytest.mark.parametrize(
    "wrong", ["", "drop", "drop:", "drop:x", "tell:-5", "tell:0", "drop:86401", "skip:5", "handle:5", "drop:5s", "drop:\u0661"]
)  # fmt: skip
def test_a_policy_that_is_none_is_refused_at_once(wrong):
    with pytest.raises(ValueError, match=r"write handle, drop:SECONDS or tell:SECONDS|from 1 to 86400"):
        BotConfig(backlog=wrong)


def test_policies_are_read():
    assert read_backlog("handle") is None
    assert read_backlog("drop:60") == Backlog("drop", 60.0, BACKLOG_TEXT)
    assert read_backlog("tell:86400", "Hi") == Backlog("tell", 86_400.0, "Hi")
    with pytest.raises(ValueError, match="at most 4096 characters, not 4097"):
        BotConfig(backlog_text="x" * 4097)


@pytest.mark.parametrize("store", ["memory:", "sqlite:"])
async def test_over_http_a_long_backlog_gets_one_text_and_new_updates_are_handled(store, tmp_path):
    url = store if store == "memory:" else f"sqlite:{tmp_path / 'bot.db'}"
    handled: list[str] = []
    async with FakeServer(seed=1) as fake:
        for number in range(250):  # of three polls
            fake.world.send_message(5, 5, f"{number}", date=int(time.time()) - HOUR)
        fake.world.send_message(5, 5, "fresh")
        opened = await open_store(url, "1")
        for start in range(2):  # the second one finds nothing of it
            async with TgClient(fake.token, base_url=fake.url) as client:
                bot = Bot(client, opened, noting(handled), BotConfig(backlog="tell:60", messages_per_s=0))
                await bot.start()
                fake.world.send_message(6, 6, "more")
                await fake.wait_for_calls(3 + start, "sendMessage", delivered=True)
                await bot.stop()
            assert bot.dropped == ({} if start else {"backlog": 250})
        texts = [call.text for call in fake.calls if call.params.get("chat_id") in {5, "5"}]
        assert texts == [BACKLOG_TEXT, "echo fresh"]
        assert sorted(handled) == ["fresh", "more", "more"]
        assert await opened.dead_letters() == []
        await opened.close()
