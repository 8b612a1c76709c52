"""Several processes of run.py over one database: each handles a part of the chats, one polls."""

import asyncio
import json
import signal
import time

import pytest

from telegram.fake import FakeServer
from telegram.load.bot import service
from telegram.load.bot.evidence import Evidence
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import Service, command
from tests.kit.bounds import WITHIN_S

pytestmark = pytest.mark.processes
CHATS = range(5, 29)
LOAD_WITHIN_S = 240.0
"""A load test has its own bounds for what does not come; as a whole it lasts 20 s, and longer on a busy machine."""


@pytest.fixture
async def server(closing):
    return await closing.enter_async_context(FakeServer())


@pytest.fixture
async def new_bot_process(closing, server, tmp_path, database):
    async def new(name: str) -> Service:
        folder = tmp_path / name
        folder.mkdir()
        url = database.url(f"processes_{tmp_path.name}".lower().replace("-", "_")[:50])
        bot: Service = Service(folder, server.url, server.token, BotPlan(journal=None), STORE_URL=url)
        await closing.enter_async_context(bot)
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


def unanswered(server: FakeServer, ids: set[int]) -> set[int]:
    return ids - {evidence.update_id for _, evidence in answered(server)}


async def all_answered(server: FakeServer, ids: set[int]) -> None:
    """Wait until they are; AssertionError if none of them is for WITHIN_S."""
    missing, give_up = len(ids) + 1, 0.0
    while left := len(unanswered(server, ids)):
        if left < missing:
            missing, give_up = left, time.monotonic() + WITHIN_S
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


async def two(new_bot_process):
    """Start two; the first polls."""
    first, second = await new_bot_process("first"), await new_bot_process("second")
    await first.start()
    await second.start()
    await second.logged("another process takes updates in: this one handles its part")
    return first, second


def handlers(server: FakeServer) -> set[int]:
    """Return the ids of the processes that have answered."""
    return {evidence.pid for _, evidence in answered(server)}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("which", ["who polls", "the other"])
async def test_the_others_go_on_when_a_process_ends(server, new_bot_process, how, which):
    first, second = await two(new_bot_process)
    ids = say(server, 5)
    await all_answered(server, ids)
    while handlers(server) != {first.pid, second.pid}:  # until the second has its part
        ids |= say(server, 1)
        await all_answered(server, ids)
    ids |= say(server, 30)  # what both are in the middle of
    ending, staying = (first, second) if which == "who polls" else (second, first)
    if how is signal.SIGTERM:
        assert (await ending.stop()).code == 0
    else:
        await ending.kill()
    if which == "who polls":
        await staying.logged("this process takes updates in now", timeout_s=60.0)
    ids |= say(server, 5)
    await all_answered(server, ids)
    judge(server)
    assert (await staying.stop()).code == 0


async def test_commands_that_need_the_bot_alone_are_refused_while_it_runs(new_bot_process):
    first, _ = await two(new_bot_process)
    refused = await first.command("export", "5")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "is in use by process" in refused.err
    assert (await first.command("dead")).code == 0


async def test_a_process_that_is_stopped_goes_on_under_a_new_session(server, new_bot_process):
    first, second = await two(new_bot_process)
    ids = say(server, 20)
    first.send_signal(signal.SIGSTOP)
    await second.logged("this process takes updates in now", timeout_s=60.0)
    ids |= say(server, 5)
    await all_answered(server, ids)
    first.send_signal(signal.SIGCONT)
    await first.logged("another process takes updates in: this one handles its part", timeout_s=60.0)
    ids |= say(server, 5)
    await all_answered(server, ids)
    assert (await second.stop()).code == 0
    await first.logged("this process takes updates in now")
    ids |= say(server, 5)
    await all_answered(server, ids)
    judge(server)
    assert (await first.stop()).code == 0


async def test_the_load_test_of_three_processes_with_kills_keeps_all_promises(
    tmp_path, database, monkeypatch
):
    url = database.url("load_of_three")
    options = ("--chats=30", "--updates=600", "--rate=60", "--processes=3", "--faults=kill,cut")
    monkeypatch.setattr(service, "ENDED_WITHIN_S", LOAD_WITHIN_S)
    done = await command("load", *options, f"--store={url}", "--json=load.json", folder=tmp_path)
    assert (done.code, done.err) == (0, ""), done.out
    found = json.loads((tmp_path / "load.json").read_text())
    assert found["counts"]["updates"] == found["counts"]["handled"] == 600
    assert found["counts"]["kills"] == 2
    processes = {handling["process"] for lane in found["lanes"] for handling in lane["handlings"]}
    assert len(processes) > 2
