"""More stories from public trackers, each told to a whole bot over HTTP on each store: handlers that take long, and floods."""

import asyncio

from telegram.dialogue import MessageContext, Router, command, text
from telegram.fake.server.faults import Fault
from tests.kit.stage import Stage


async def test_who_waits_in_a_handler_waits_for_himself(stage: Stage):
    """python-telegram-bot/python-telegram-bot#4423: a sleep of ten seconds, and no other update is handled meanwhile."""
    router, gate = Router(), asyncio.Event()

    @router.message(text)
    async def works(ctx: MessageContext) -> None:
        if ctx.text == "wait":
            await gate.wait()
        ctx.reply(f"{ctx.chat_id} {ctx.text}")

    async with stage.bot(router):
        stage.fake.world.send_message(5, 5, "wait")
        stage.fake.world.send_message(5, 5, "then")
        stage.fake.world.send_message(6, 6, "hi")
        await stage.fake.wait_for_calls(1, "sendMessage", delivered=True)
        assert stage.texts() == ["6 hi"]
        gate.set()
        await stage.idle()
    assert stage.texts() == ["6 hi", "5 wait", "5 then"]


async def test_a_loop_that_began_with_a_command_is_ended_by_another_one(stage: Stage):
    """eternnoir/pyTelegramBotAPI#334 and #1118: /start loops until a variable changes, and /stop is never heard."""
    router, began = Router(), asyncio.Event()

    @router.message(command("start"), stop=command("stop"))
    async def news(ctx: MessageContext) -> None:
        began.set()
        while True:
            await asyncio.sleep(3600)

    @router.message(command("stop"))
    async def stops(ctx: MessageContext) -> None:
        ctx.reply("stopped")

    async with stage.bot(router):
        stage.fake.world.send_message(5, 5, "/start")
        await began.wait()
        await stage.says(5, 5, "/stop")
    assert stage.texts() == ["stopped"]
    assert await stage.reasons() == []


async def test_a_flood_in_one_group_is_waited_out_there_and_nothing_is_lost(stage: Stage):
    """NousResearch/hermes-agent#52143: tries of its own used up the attempts before the wait was over, and the answer was lost."""
    router = Router()

    @router.message(text)
    async def echo(ctx: MessageContext) -> None:
        ctx.reply(ctx.text)

    stage.fake.faults.add(
        Fault("status", code=429, retry_after=1, method="sendMessage", chat_id=-100, times=1)
    )
    async with stage.bot(router):
        for number in range(3):
            stage.fake.world.send_message(-100, 5, f"{number}")
        await stage.fake.wait_for_calls(1, "sendMessage")
        await stage.says(6, 6, "hi")
    calls = [call for call in stage.fake.calls if call.method == "sendMessage"]
    assert [call.status for call in calls if call.params["chat_id"] == -100] == [429, 200, 200, 200]
    sent = [(call.params["chat_id"], call.params["text"]) for call in calls if call.status == 200]
    assert [words for chat_id, words in sent if chat_id == -100] == ["0", "1", "2"]
    assert (6, "hi") in sent
    assert await stage.reasons() == []


async def test_a_front_that_answers_with_html_is_waited_out(stage: Stage):
    """tdlib/telegram-bot-api serves JSON; the front of api.telegram.org answers 502 with a page (php-telegram-bot/core#549)."""
    router = Router()

    @router.message(text)
    async def echo(ctx: MessageContext) -> None:
        ctx.reply(ctx.text)

    for method in ("getUpdates", "sendMessage"):
        stage.fake.faults.add(Fault("html", method=method, times=1))
    async with stage.bot(router):
        stage.fake.world.send_message(5, 5, "a")
        stage.fake.world.send_message(5, 5, "b")
        await stage.idle()
    sent = [
        call.params["text"]
        for call in stage.fake.calls
        if call.method == "sendMessage" and call.status == 200
    ]
    assert sent == ["a", "b"]
    assert await stage.reasons() == []
