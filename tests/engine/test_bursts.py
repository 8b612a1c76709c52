import asyncio
from typing import Any

from structlog.testing import capture_logs

from engine import Queue
from engine.bursts import PAUSE_S, Bursts
from tests.kit.virtual import run_virtual


def test_one_line_at_once_and_one_with_the_rest_after_a_pause():
    async def play(lines):
        loop: Any = asyncio.get_running_loop()
        bursts = Bursts()
        for _ in range(1000):
            bursts.note("lane full", Queue.INBOX, "chat:1")
        bursts.note("lane full", Queue.INBOX, "chat:2", 5)
        assert [(line["key"], line["count"]) for line in lines] == [("chat:1", 1), ("chat:2", 5)]
        await asyncio.sleep(PAUSE_S + 1)
        assert [(line["key"], line["count"]) for line in lines[2:]] == [("chat:1", 999)]
        await asyncio.sleep(2 * PAUSE_S)
        assert len(lines) == 3
        assert not [handle for handle in loop._scheduled if not handle.cancelled()]  # nothing is left
        bursts.note("lane full", Queue.INBOX, "chat:1")  # a new burst
        assert lines[3]["count"] == 1
        bursts.note("lane full", Queue.INBOX, "chat:1")
        bursts.close()
        assert lines[4]["count"] == 1
        bursts.close()
        assert len(lines) == 5

    with capture_logs() as lines:
        run_virtual(play(lines))


def test_many_lanes_share_a_line():
    async def play():
        bursts = Bursts()
        for number in range(5000):
            bursts.note("lane full", Queue.INBOX, f"chat:{number}")
        bursts.close()

    with capture_logs() as lines:
        run_virtual(play())
    assert len(lines) == 1002
    assert sum(line["count"] for line in lines) == 5000
    assert [line["key"] for line in lines[-2:]] == [None, None]
