"""Two processes of run.py over one database: each of an update's spans is made where it happens, and the trace is one."""

import asyncio
import time

import pytest

from telegram.fake import FakeServer
from telegram.load.bot.service import Service
from telegram.tracing import trace_id_of
from tests.kit.bounds import WITHIN_S
from tests.kit.collector import Collector
from tests.kit.deliveries import delivery, message

pytestmark = pytest.mark.processes
CHATS = range(5, 29)


def is_joined(made: dict[str, str]) -> bool:
    """Return whether one process has appended the update, and another one has handled it. `made`: who made the span of a name.

    Two processes are not enough: a chat may move from one to the other between its update and its reply.
    """
    return len({made.get(name) for name in ("append inbox", "process inbox")} - {None}) == 2


async def test_a_trace_joins_what_two_processes_did(tmp_path, database):
    async with FakeServer() as fake, Collector() as collector:
        url = database.url(f"traces_{tmp_path.name}".lower().replace("-", "_")[:50])
        bots = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            bots.append(
                Service(
                    tmp_path / name,
                    fake.url,
                    fake.token,
                    STORE_URL=url,
                    HANDLERS="handlers.echo:router",
                    TRACES="otlp",
                    OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
                    OTEL_BSP_SCHEDULE_DELAY="50",
                )
            )
        async with bots[0] as first, bots[1] as second:
            await first.start()
            await second.start()
            bot_id = fake.token.partition(":")[0]
            trace_id = trace_id_of(bot_id)
            give_up = time.monotonic() + WITHIN_S
            traces: list[str] = []
            joined: list[str] = []
            while len(joined) < len(CHATS) / 2:  # until the second process has its part of the chats
                assert time.monotonic() < give_up
                said = [fake.world.send_message(chat, chat, "hello") for chat in CHATS]
                traces += [trace_id(delivery({"message": message()}, update_id=each)) for each in said]
                await fake.wait_for_calls(len(traces), "sendMessage")
                await asyncio.sleep(0.2)
                joined = [each for each in traces if is_joined(dict(collector.traces[each]))]
            assert (await second.stop()).code == 0
            assert (await first.stop()).code == 0
    names = [sorted({name for name, _ in collector.traces[each]}) for each in joined]
    # Of a chat that has just moved there can be more.
    assert [
        "POST /bot{token}/sendMessage", "append inbox", "commit inbox", "commit outbox", "process inbox",
        "process outbox", "wait inbox", "wait outbox",
    ] in names  # fmt: skip
    assert all(not parent or parent in collector.parents for parent in collector.parents.values())
