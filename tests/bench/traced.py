"""What traces cost: the CPU of an echo over HTTP without them, with one in ten thousand sampled, and with all.

Spans go through the SDK's queue and are encoded as for a collector, which is not there: a thread encodes them, and they are dropped.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import uvloop
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from yarl import URL

from handlers.echo import router
from telegram.client import TgClient
from telegram.fake.server.remote import RemoteFake
from telegram.process.running import tune_garbage_collection
from telegram.service.bot import Bot, BotConfig
from telegram.service.logs import ErrorTexts
from telegram.tracing.export import Given, new_provider
from telegram.tracing.spans import Spans
from telegram.tracing.tracing import Tracing
from tests.bench.echo import CONCURRENCY
from tests.bench.material import a_store
from tests.bench.metered import MESSAGES, WARM_UP, echoed
from tests.bench.report import Row

RATES = {"none": None, "1 of 10,000 sampled": 0.0001, "all sampled": 1.0}


class Encoding(SpanExporter):
    """Does what an exporter does before it sends."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializePartialToString()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None: ...


async def cpu_us(messages: int, rate: float | None) -> float:
    """CPU of this process for one message."""
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(await RemoteFake.spawn(history=0))
        store = await stack.enter_async_context(a_store("sqlite"))
        client = await stack.enter_async_context(TgClient(fake.token, base_url=fake.url, connections=64))
        config = BotConfig(workers=CONCURRENCY, senders=CONCURRENCY, messages_per_s=0)
        traces = None
        if rate is not None:
            given = Given()
            provider = new_provider(given, ParentBasedTraceIdRatio(rate))
            provider.add_span_processor(BatchSpanProcessor(Encoding()))
            stack.callback(provider.shutdown)
            spans = Spans(provider, given, str(client.bot_id), ErrorTexts(fake.token))
            traces = Tracing(spans, URL(fake.url), source_wall=client.time, wall=time.time)
        bot = Bot(client, store, router, config, traces=traces)
        await bot.start()
        await echoed(fake, store, 0, WARM_UP)
        began = time.process_time()
        await echoed(fake, store, WARM_UP, messages)
        took_s = time.process_time() - began
        await bot.stop()
    return took_s / messages * 1e6


def run(rounds: int, scale: float) -> list[Row]:
    tune_garbage_collection()

    def once(rate: float | None) -> float:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(cpu_us(int(MESSAGES * scale), rate))

    found: dict[str, list[float]] = {name: [] for name in RATES}
    for _ in range(rounds):
        for name, rate in RATES.items():
            found[name].append(once(rate))
    plain = found["none"]
    return [
        *(Row(f"an echo, traces: {name}, CPU", "us", values) for name, values in found.items()),
        *(
            Row(f"{name} / none", "ratio", [b / a for a, b in zip(plain, values, strict=True)])
            for name, values in found.items()
            if name != "none"
        ),
    ]
