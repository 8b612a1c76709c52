"""Several processes of run.py over one database: one has the bot, the others stand by."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack

import pytest

from telegram.fake import FakeServer
from telegram.load.bot.evidence import Evidence
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import Service

pytestmark = pytest.mark.processes
CHATS = range(5, 13)


@pytest.fixture
async def stack():
    async with AsyncExitStack() as closing:
        yield closing


@pytest.fixture
async def server(stack):
    return await stack.enter_async_context(FakeServer())


@pytest.fixture
async def new_bot_process(stack, server, tmp_path, database):
    async def new(name: str) -> Service:
        folder = tmp_path / name
        folder.mkdir()
        url = database.url(f"processes_{tmp_path.name}".lower().replace("-", "_")[:50])
        bot: Service = Service(folder, server.url, server.token, BotPlan(journal=None), STORE_URL=url)
        await stack.enter_async_context(bot)
        return bot

    return new


def say(server: FakeServer, count: int) -> set[int]:
    """Let users write, and return the ids of the updates."""
    return {server.world.send_message(chat, chat, f"{number}") for number in range(count) for chat in CHATS}


def answered(server: FakeServer) -> list[tuple[int | None, Evidence]]:
    return [
        (call.chat_id, Evidence.parse(call.text))
        for call in server.calls
        if call.method == "sendMessage" and call.delivered
    ]


async def all_answered(server: FakeServer, ids: set[int], within_s: float = 60.0) -> None:
    give_up = time.monotonic() + within_s
    while ids - {evidence.update_id for _, evidence in answered(server)}:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.05)


def judge(server: FakeServer) -> None:
    """Each chat's updates were committed once and in order; a reply may be repeated by a kill."""
    for chat in CHATS:
        mine = [evidence for of, evidence in answered(server) if of == chat]
        firsts = list(dict.fromkeys(evidence.update_id for evidence in mine))
        assert firsts == sorted(firsts)
        counters = {evidence.update_id: evidence.counted for evidence in mine}
        assert [counters[id_] for id_ in firsts] == list(range(1, len(firsts) + 1))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_second_process_takes_over(server, new_bot_process, how):
    first, second = await new_bot_process("first"), await new_bot_process("second")
    await first.start()
    await second.spawn()
    waiting = await second.logged("standby: another process has the bot")
    assert waiting["held_by"].startswith(f"process {first.pid} on ")
    ids = say(server, 5)
    await all_answered(server, ids)
    ids |= say(server, 30)  # what the first is in the middle of
    if how is signal.SIGTERM:
        assert (await first.stop()).code == 0
    else:
        await first.kill()
    began = time.monotonic()
    await second.logged("this process has the bot now")
    assert time.monotonic() - began < 12.0  # before the time of the hold is over
    ids |= say(server, 5)
    await all_answered(server, ids)
    judge(server)
    assert (await second.stop()).code == 0
    assert (await first.command("dead")).code == 0


async def test_a_standby_ends_at_a_signal_and_commands_are_refused_while_a_bot_runs(new_bot_process):
    first, second = await new_bot_process("first"), await new_bot_process("second")
    await first.start()
    await second.spawn()
    await second.logged("standby: another process has the bot")
    ended = await second.stop()
    assert (ended.code, ended.took_s < 5.0) == (0, True)
    refused = await second.command("dead")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "is in use by process" in refused.err


async def test_a_process_that_is_stopped_and_goes_on_after_a_takeover_stands_by(server, new_bot_process):
    first, second = await new_bot_process("first"), await new_bot_process("second")
    await first.start()
    await second.spawn()
    await second.logged("standby: another process has the bot")
    ids = say(server, 20)
    first.send_signal(signal.SIGSTOP)
    await second.logged("this process has the bot now", timeout_s=60.0)
    ids |= say(server, 5)
    await all_answered(server, ids)
    first.send_signal(signal.SIGCONT)
    await first.logged("standby: another process has the bot")
    ids |= say(server, 5)
    await all_answered(server, ids)
    assert (await second.stop()).code == 0
    await first.logged("this process has the bot now")
    ids |= say(server, 5)
    await all_answered(server, ids)
    judge(server)
    assert (await first.stop()).code == 0


async def test_a_process_that_has_lost_the_bot_ends_at_a_signal(new_bot_process, server):
    first, second = await new_bot_process("first"), await new_bot_process("second")
    await first.start()
    await second.spawn()
    await second.logged("standby: another process has the bot")
    first.send_signal(signal.SIGSTOP)
    await second.logged("this process has the bot now", timeout_s=60.0)
    first.send_signal(signal.SIGCONT)
    await first.logged("standby: another process has the bot")
    ended = await first.stop()
    assert (ended.code, ended.took_s < 5.0) == (0, True)
    await all_answered(server, say(server, 2))
    assert (await second.stop()).code == 0
