"""What the campaigns on PostgreSQL judge by, on trial with hand-written evidence; and one of them, small."""

import asyncio
from contextlib import suppress

import pytest

from telegram.load.bot.evidence import Evidence
from telegram.load.checkers.checker import BotReply, SentText
from tests.kit.database import WHERE_FROM, can_start
from tests.kit.proxy import Proxy
from tests.torture import pg_kills
from tests.torture.pg_failover import judge
from tests.torture.report import Plan

SENT = [SentText(5, id_, "x") for id_ in (1, 2, 3, 4)]


def reply(id_, at, counted, begin=0):
    return BotReply(5, Evidence("x", id_, counted, begin, begin + 1, 1), at, answered=True)


def test_a_failover_that_loses_nothing():
    replies = [reply(1, 1.0, 1), reply(2, 2.0, 2), reply(2, 2.5, 2), reply(3, 11.0, 3), reply(4, 12.0, 4)]
    assert judge(SENT, replies, [10.0]) == (0, 0, 0, 1, [])


def test_what_a_failover_loses_is_counted():
    replies = [
        reply(1, 1.0, 1), reply(2, 2.0, 2), reply(3, 3.0, 3),  # the commits of 2 and 3 are lost, and update 3 as well
        reply(2, 11.0, 2, begin=7), reply(4, 12.0, 3),
    ]  # fmt: skip
    assert judge([*SENT, SentText(5, 9, "x")], replies, [10.0]) == (1, 2, 1, 0, [])


@pytest.mark.parametrize(
    "replies",
    [
        [reply(2, 1.0, 1), reply(1, 2.0, 2)],
        [reply(1, 1.0, 1), reply(1, 2.0, 2, begin=7)],
        [reply(2, 11.0, 1), reply(1, 12.0, 2)],
    ],
)
def test_what_is_swapped_or_committed_twice_between_two_failovers_is_wrong(replies):
    assert judge(SENT, replies, [10.0]).wrong


async def test_lines_are_stopped_resumed_and_cut():
    async def echo(reader, writer):
        with suppress(ConnectionError):
            while data := await reader.read(100):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        proxy.stop()
        writer.write(b"two")
        answer = asyncio.create_task(reader.readexactly(3))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not answer.done()
        proxy.resume()
        assert await answer == b"two"
        proxy.is_down = True
        proxy.cut()
        assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()


@pytest.mark.processes
@pytest.mark.skipif(not can_start(), reason=WHERE_FROM)
async def test_two_kills_of_the_server():
    result = await pg_kills.run(Plan(rounds=2, chats=20), lambda *_, **__: None)
    assert result.is_good, result.lines()
    assert result.verdict.updates > 0
