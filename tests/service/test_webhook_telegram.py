"""Whole bots with a webhook, at a fake Telegram that delivers by the rules of the official server."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from engine.errors import StoreUnavailable
from engine.stores import open_store
from engine.stores.memory import MemoryStore
from telegram.client import TgClient
from telegram.dialogue import MessageContext, Router, text
from telegram.fake import FakeServer
from telegram.listening import Address
from telegram.load.bot.service import held_port
from telegram.service.bot import Bot, BotConfig
from telegram.settings.webhook import WebhookConfig
from tests.kit.bounds import WITHIN_S
from tests.kit.docs import modules
from tests.kit.waiting import until

USER = 5


def counting():
    router = Router()

    @router.message(text)
    async def count(ctx: MessageContext) -> None:
        ctx.data["count"] = ctx.data.get("count", 0) + 1
        ctx.reply(f"{ctx.data['count']}: {ctx.text}")

    return router


class Stage:
    def __init__(self, fake, store, port):
        self.fake = fake
        self.store = store
        self.webhook = WebhookConfig(
            f"http://127.0.0.1:{port}/hook", Address("127.0.0.1", port), "made-up-secret"
        )
        self.said = 0

    @asynccontextmanager
    async def bot(self, webhook=None):
        self.fake.clock.advance(1)  # setWebhook is allowed once a second
        async with TgClient(self.fake.token, base_url=self.fake.url, wall=self.fake.clock) as client:
            config = BotConfig(messages_per_s=0, drain_timeout_s=WITHIN_S)
            bot = Bot(client, self.store, counting(), config, webhook=webhook)
            await bot.start()
            try:
                yield bot
            finally:
                await bot.stop()

    def say(self, count):
        for _ in range(count):
            self.said += 1
            self.fake.world.send_message(USER, USER, f"text {self.said}")

    async def answered(self):
        await self.fake.wait_for_calls(self.said, "sendMessage", timeout_s=60)
        expected = [f"{n}: text {n}" for n in range(1, self.said + 1)]
        assert [call.text for call in self.fake.calls if call.method == "sendMessage"] == expected


@pytest.fixture(params=["memory:", "sqlite:"])
async def stage(request, tmp_path):
    store = await open_store(
        request.param + (str(tmp_path / "a.db") if request.param == "sqlite:" else ""), "4200000042"
    )
    async with FakeServer(seed=1, local=True) as fake:
        with held_port() as port:
            yield Stage(fake, store, port)
    await store.close()


async def test_updates_come_by_the_webhook(stage):
    async with stage.bot(stage.webhook):
        stage.say(30)
        await stage.answered()
        assert len([each for each in stage.fake.deliveries if each.status == 200]) == 30
        assert not stage.fake.polls
    assert stage.fake.world.webhooks.current is not None, "Telegram keeps the updates while it is stopped"
    assert stage.fake.world.webhooks.current.secret_token == "made-up-secret"


async def test_polling_and_webhook_take_turns_and_nothing_is_lost_or_repeated(stage):
    for webhook in (stage.webhook, None) * 3:
        stage.say(10)  # while none runs
        async with stage.bot(webhook):
            stage.say(10)
            await stage.answered()
            stage.say(10)  # some of these are left to the next one
    async with stage.bot():
        await stage.answered()
        await until(lambda: not stage.fake.queue.pending)  # the last confirmation may be given up in a stop
    assert stage.fake.polls
    assert stage.fake.deliveries


async def test_what_the_store_cannot_take_comes_again_and_stays_in_order():
    store = MemoryStore()
    append, fails = store.append, iter([True, False, True, True] + [False] * 100)

    async def failing(*arguments):
        if next(fails):
            raise StoreUnavailable("away")
        return await append(*arguments)

    store.append = failing  # type: ignore[method-assign]
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(FakeServer(seed=1, local=True))
        stage = Stage(fake, store, stack.enter_context(held_port()))
        async with stage.bot(stage.webhook):
            stage.say(5)
            waking = asyncio.create_task(_let_time_pass(fake))
            await stage.answered()
            waking.cancel()
        assert 503 in {each.status for each in fake.deliveries}


async def _let_time_pass(fake):
    while True:
        fake.clock.advance(0.5)  # instead of Retry-After's seconds
        fake.wake_webhook()
        await asyncio.sleep(0.01)


async def test_a_webhook_that_somebody_else_deletes_is_set_again(stage, monkeypatch):
    monkeypatch.setattr("telegram.service.webhook.LOOK_EVERY_S", 0.05)
    monkeypatch.setattr("telegram.service.webhook.RIGHT_EVERY_S", 0.01)
    async with stage.bot(stage.webhook), TgClient(stage.fake.token, base_url=stage.fake.url) as other:
        stage.say(1)
        await stage.answered()
        await other.delete_webhook()
        stage.fake.clock.advance(2)
        stage.say(1)
        await stage.answered()


async def test_another_web_application_takes_the_updates(tmp_path):
    """The example of docs/webhook.md."""
    async with AsyncExitStack() as stack:
        port = stack.enter_context(held_port())
        fake = await stack.enter_async_context(FakeServer(seed=1, local=True))
        client = await stack.enter_async_context(TgClient(fake.token, base_url=fake.url))
        url = f"http://127.0.0.1:{port}/updates"
        with modules("webhook.md") as made:
            app = made["embedded"].application(client, f"sqlite:{tmp_path / 'a.db'}", url, "made-up-secret")
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            try:
                for n in range(5):
                    fake.world.send_message(USER, USER, str(n))
                calls = await fake.wait_for_calls(5, "sendMessage", timeout_s=60)
                async with aiohttp.ClientSession() as http:
                    assert (await http.post(url, data=b"{}")).status == 404
                    secret = {"X-Telegram-Bot-Api-Secret-Token": "made-up-secret"}
                    assert (await http.post(url, data=b"{}", headers=secret)).status == 400
            finally:
                await runner.cleanup()
        assert [call.text for call in calls] == [str(n) for n in range(5)]
