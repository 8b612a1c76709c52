"""`run.py --processes N`, and roles: supervised processes over one database."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import aiohttp
import pytest

from telegram.fake import FakeServer
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import Service, held_port
from tests.stores.test_postgres_processes import all_answered, handlers, judge, say, unanswered

pytestmark = pytest.mark.processes
TOKEN = "only-for-this-test"
BACKLOG_MAX = 500
"""Users pause while so much is unanswered: a busy machine replaces processes slowly."""


@pytest.fixture
async def server(closing):
    return await closing.enter_async_context(FakeServer())


@pytest.fixture
async def new_service(closing, server, tmp_path, database):
    url = database.url(f"fleet_{tmp_path.name}".lower().replace("-", "_")[:50])

    async def new(name: str, **settings: str) -> Service:
        folder = tmp_path / name
        folder.mkdir()
        plan = BotPlan(journal=None)
        bot: Service = Service(folder, server.url, server.token, plan, **{"STORE_URL": url, **settings})
        await closing.enter_async_context(bot)
        return bot

    return new


def pids(bot: Service) -> dict[int, int]:
    """Return the last process of each number."""
    return {line["process"]: line["pid"] for line in bot.log() if line["event"] == "process started"}


def events(bot: Service) -> list[str]:
    return [line["event"] for line in bot.log()]


async def start(bot: Service) -> None:
    await bot.spawn()
    await bot.logged("all processes work", timeout_s=60.0)


async def all_handle(server: FakeServer, ids: set[int], wanted: set[int]) -> set[int]:
    """Write until each of these processes has answered; return the ids of all updates."""
    while not wanted <= handlers(server):
        ids |= say(server, 1)
        await all_answered(server, ids)
    return ids


async def test_a_killed_process_is_revoked_and_its_chats_go_on(server, new_service):
    bot = await new_service("bot", PROCESSES="3", HANDLERS="tests.stores.patient_bot:router")
    await start(bot)
    first = pids(bot)
    ids = await all_handle(server, set(), set(first.values()))
    for number in (0, 1):  # 0 polls
        ids |= say(server, 30)
        os.kill(first[number], signal.SIGKILL)
        await bot.logged(
            "others continue with the chats of a process that has ended", timeout_s=60.0, process=number
        )
        ids |= say(server, 5)
        await all_answered(server, ids)
    assert "a process has ended without giving up its chats: others continue" not in events(bot)
    ids = await all_handle(server, ids, set(pids(bot).values()))
    judge(server)
    ended = await bot.stop()
    assert ended.code == 0
    assert events(bot).count("stopped") == 3
    assert {line["process"] for line in bot.log() if line["event"] == "stopped"} == {0, 1, 2}


async def test_all_processes_are_replaced_while_updates_come(server, new_service):
    bot = await new_service("bot", PROCESSES="2")
    await start(bot)
    first = pids(bot)
    ids = say(server, 30)
    for pid in first.values():  # `pkill -HUP` finds all of them (gunicorn, pull request 1868)
        os.kill(pid, signal.SIGHUP)
    bot.send_signal(signal.SIGHUP)
    while "all processes are replaced" not in events(bot):
        if len(unanswered(server, ids)) < BACKLOG_MAX:
            ids |= say(server, 1)
        await asyncio.sleep(0.05)
    assert not set(first.values()) & set(pids(bot).values())
    ids |= say(server, 5)
    await all_answered(server, ids)
    judge(server)
    bot.send_signal(signal.SIGTERM)
    for pid in pids(
        bot
    ).values():  # so does systemd, without KillMode=mixed; to the supervisor first: it may be slow
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    assert await bot.ended() == 0
    assert not {
        "process ended",
        "stopped at once: what was not committed is handled again at the next start",
    } & {*events(bot)}
    answers = [call for call in server.calls if call.method == "sendMessage" and call.delivered]
    assert len(answers) == len(ids)  # also no reply is repeated


async def test_the_processes_stop_when_the_supervisor_is_killed(server, new_service):
    bot = await new_service("bot", PROCESSES="2")
    await start(bot)
    ids = say(server, 10)
    bot.send_signal(signal.SIGKILL)
    await bot.ended()  # when all have closed the log
    assert events(bot).count("the supervisor has ended: this process stops, too") == 2
    assert events(bot).count("stopped") == 2
    other = await new_service("other")
    await other.start()
    await all_answered(server, ids)
    judge(server)


@contextmanager
def two_held_ports() -> Iterator[int]:
    """A free port, as is the next one; held as `held_port` does."""
    with ExitStack() as stack:
        while True:
            first = stack.enter_context(held_port())
            following = stack.enter_context(socket.socket())
            try:
                following.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
            # Not before the port is bound: with it, the bind succeeds also if another program holds the port.
            following.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            yield first
            return


async def test_each_process_has_its_own_metrics_and_all_take_events(new_service, closing):
    metrics = closing.enter_context(two_held_ports())
    shared = closing.enter_context(held_port())
    bot = await new_service(
        "bot",
        PROCESSES="2",
        METRICS_LISTEN=f"127.0.0.1:{metrics}",
        EVENTS_LISTEN=f"127.0.0.1:{shared}",
        EVENTS_TOKEN=TOKEN,
    )
    await start(bot)
    async with aiohttp.ClientSession() as session:
        for number in range(2):
            async with session.get(f"http://127.0.0.1:{metrics + number}/healthz") as answer:
                assert answer.status == 200
        async with session.post(f"http://127.0.0.1:{shared}/events/5") as answer:
            assert answer.status == 401
    other = await new_service("other", PROCESSES="2", METRICS_LISTEN=f"127.0.0.1:{metrics}")
    await other.spawn()
    assert await other.ended() == 2
    assert other.last_log_line().endswith(f"cannot listen on 127.0.0.1:{metrics}: Address already in use")
    assert (await bot.stop()).code == 0


async def test_a_wrong_setting_is_one_line_and_exit_code_2(new_service):
    bot = await new_service("bot", PROCESSES="3", HANDLERS="handlers:nothing")
    await bot.spawn()
    assert await bot.ended() == 2
    lines = [line["line"] for line in bot.log() if line["event"] == "?"]
    assert len(lines) == 1
    assert "has no 'nothing'" in lines[0]


async def test_one_process_polls_and_another_one_works(server, new_service, closing):
    metrics, others = (closing.enter_context(held_port()) for _ in range(2))
    poller = await new_service("poller", ROLE="poll", METRICS_LISTEN=f"127.0.0.1:{metrics}")
    worker = await new_service("worker", ROLE="work", METRICS_LISTEN=f"127.0.0.1:{others}")
    await poller.start()
    await worker.start()
    ids = say(server, 5)
    await all_answered(server, ids)
    assert handlers(server) == {worker.pid}
    async with aiohttp.ClientSession() as session:
        (worker_port,) = [line["address"] for line in worker.log() if line["event"] == "metrics are served"]
        async with session.get(f"http://{worker_port}/readyz") as answer:
            assert (answer.status, await answer.text()) == (200, "[]")
        async with session.get(f"http://127.0.0.1:{metrics}/readyz") as answer:
            assert (answer.status, await answer.text()) == (200, "[]")
    assert (await poller.stop()).code == 0
    ids |= say(server, 1)
    again = await new_service("again", ROLE="poll")
    await again.start()
    await all_answered(server, ids)
    judge(server)
    assert handlers(server) == {worker.pid}
    assert (await worker.stop()).code == 0
