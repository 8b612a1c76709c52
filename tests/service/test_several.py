"""Several bots in one process: each for itself, and one that ends takes no other with it."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from telegram.dialogue import MessageContext, Router, text
from telegram.fake import FakeServer, Fault
from telegram.service.several import Bots, OneBot
from telegram.settings.bot_config import BotConfig
from tests.kit.bounds import WITHIN_S

CONFIG = BotConfig(drain_timeout_s=10.0)


def says(word: str) -> Router:
    router = Router()

    @router.message(text)
    async def answer(ctx: MessageContext) -> None:
        ctx.data["n"] = ctx.data.get("n", 0) + 1
        ctx.reply(f"{word} {ctx.data['n']}")

    return router


@pytest.fixture
async def fakes():
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(FakeServer(token=f"{number}:secret{number}", seed=number))
            for number in (1, 2, 3)
        ]


def one(fake: FakeServer, word: str, **named) -> OneBot:
    given = {"token": fake.token, "store_url": "memory:", "api_url": fake.url, **named}
    return OneBot(router=says(word), config=CONFIG, **given)


async def until(is_so) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not is_so():
            await asyncio.sleep(0.005)


async def said(fake: FakeServer, count: int) -> list[str]:
    return [call.text or "" for call in await fake.wait_for_calls(count, method="sendMessage")]


async def test_each_has_its_own_chats_states_and_router(fakes, tmp_path):
    first, second, _ = fakes
    urls = [f"sqlite:{tmp_path / name}" for name in ("first.db", "second.db")]
    bots = Bots([one(first, "first", store_url=urls[0]), one(second, "second", store_url=urls[1])])
    running = asyncio.create_task(bots.run())
    await until(lambda: len(bots.running) == 2)
    assert [bots.running[number].me.username for number in (1, 2)]
    for _ in range(2):
        for fake in (first, second):
            fake.world.send_message(7, 7, "hello")
    assert sorted(await said(first, 2)) == ["first 1", "first 2"]
    assert sorted(await said(second, 2)) == ["second 1", "second 2"]
    bots.stop()
    async with asyncio.timeout(WITHIN_S):
        assert await running == 0
    assert bots.running == {}


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_all_of_them(fakes, which):
    entered = asyncio.Event()
    router = Router()

    @router.message(text)
    async def slow(ctx: MessageContext) -> None:
        entered.set()
        await until(lambda: not bots.running)  # stopping has begun
        ctx.reply("done")

    first, second, _ = fakes
    bots = Bots([OneBot(first.token, router, "memory:", CONFIG, api_url=first.url), one(second, "second")])
    running = asyncio.create_task(bots.run())
    await until(lambda: len(bots.running) == 2)
    first.world.send_message(7, 7, "hello")
    await entered.wait()
    before = signal.getsignal(which)
    os.kill(os.getpid(), which)
    async with asyncio.timeout(WITHIN_S):
        assert await running == 0
    assert await said(first, 1) == ["done"]
    assert signal.getsignal(which) != before  # it is given back


async def test_a_second_signal_stops_at_once(fakes):
    entered = asyncio.Event()
    router = Router()

    @router.message(text)
    async def slow(_: MessageContext) -> None:
        entered.set()
        await asyncio.sleep(600)

    first, *_ = fakes
    bots = Bots([OneBot(first.token, router, "memory:", BotConfig(drain_timeout_s=300.0), api_url=first.url)])
    running = asyncio.create_task(bots.run())
    await until(lambda: len(bots.running) == 1)
    first.world.send_message(7, 7, "hello")
    await entered.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: not bots.running)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(WITHIN_S):
        await running


async def test_one_that_cannot_start_is_logged_and_the_others_work(fakes, tmp_path):
    first, second, third = fakes
    (tmp_path / "bad.db").write_bytes(b"no database")
    bots = Bots(
        [
            one(first, "first", token="1:wrong"),
            one(second, "second"),
            one(third, "third", store_url=f"sqlite:{tmp_path / 'bad.db'}"),
        ]
    )
    with capture_logs() as logs:
        running = asyncio.create_task(bots.run())
        await until(
            lambda: 2 in bots.running and sum(each["event"] == "a bot has ended" for each in logs) == 2
        )
        second.world.send_message(7, 7, "hello")
        assert await said(second, 1) == ["second 1"]
        bots.stop()
        async with asyncio.timeout(WITHIN_S):
            assert await running == 1
    reasons = sorted(each["reason"] for each in logs if each["event"] == "a bot has ended")
    assert reasons[0].startswith("StoreError: ")
    assert reasons[1].startswith("Unauthorized")
    assert "wrong" not in str(logs)


async def test_one_whose_token_is_revoked_ends_alone(fakes):
    first, second, _ = fakes
    bots = Bots([one(first, "first"), one(second, "second")])
    with capture_logs() as logs:
        running = asyncio.create_task(bots.run())
        await until(lambda: len(bots.running) == 2)
        first.faults.add(Fault("status", code=401, description="Unauthorized", method="getUpdates"))
        first.world.send_message(8, 8, "wakes the poll")
        await until(lambda: any(each["event"] == "a bot has ended" for each in logs))
        assert list(bots.running) == [2]
        second.world.send_message(7, 7, "hello")
        assert await said(second, 1) == ["second 1"]
        bots.stop()
        async with asyncio.timeout(WITHIN_S):
            assert await running == 1


async def test_when_all_have_ended_it_ends(fakes):
    bots = Bots([one(fakes[0], "first", token="1:wrong")])
    async with asyncio.timeout(WITHIN_S):
        assert await bots.run() == 1


async def test_a_stop_before_the_start_is_done(fakes):
    bots = Bots([one(fakes[0], "first", api_url="http://127.0.0.1:9")])
    running = asyncio.create_task(bots.run())
    await asyncio.sleep(0)
    bots.stop()
    async with asyncio.timeout(WITHIN_S):
        assert await running == 0


async def test_a_run_that_is_cancelled_drains(fakes):
    bots = Bots([one(fakes[0], "first")])
    running = asyncio.create_task(bots.run())
    await until(lambda: len(bots.running) == 1)
    bot = bots.running[1]
    running.cancel()
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(asyncio.CancelledError):
            await running
    assert bot.is_stopping
    assert not bot.is_started


def test_what_cannot_be_right_is_refused():
    a, b = (OneBot(f"{number}:x", Router(), "sqlite:bot.db") for number in (1, 2))
    for wrong, why in (
        ([], "no bot"),
        ([a, a], "twice"),
        ([a, b], "one file"),
        ([OneBot("x", Router(), "memory:")], "malformed"),
    ):
        with pytest.raises(ValueError, match=why):
            Bots(wrong)
    assert ":x" not in repr(a)
