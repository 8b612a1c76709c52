"""The exporter: what reaches a collector, and that the bot does not wait for one that is away."""

import asyncio
import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from telegram.command.tracing import read_variables
from telegram.fake import FakeServer
from telegram.load.bot.service import Service, command
from telegram.tracing import export, trace_id_of
from telegram.tracing.export import Export, Given, new_provider, redacted
from tests.kit.bounds import WITHIN_S
from tests.kit.collector import Collector
from tests.kit.deliveries import delivery, message

TOKEN = "123456789:AAabcdefghijklmnopqrstuvwxyz012345"

PATIENT = """
from telegram.tracing import export
export.FLUSH_S = 60.0  # what this process is to export at its end is judged, not how soon the test's own collector takes it
"""

BOT = (
    PATIENT
    + """
from opentelemetry import trace
from telegram.dialogue import MessageContext, Router
router = Router()

@router.message()
async def answer(ctx: MessageContext) -> None:
    with trace.get_tracer("mine").start_as_current_span("my span"):
        ctx.reply(f"echo of {ctx.text}")
"""
)


@pytest.fixture(autouse=True)
def no_global_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program has one for its life; tests must not leave theirs to others."""
    monkeypatch.setattr(trace, "set_tracer_provider", lambda _: None)


@pytest.mark.processes
async def test_a_bot_exports_its_traces_and_the_rest_at_its_end(tmp_path: Path):
    (tmp_path / "my_bot.py").write_text(BOT)
    async with FakeServer() as fake, Collector() as collector:
        (tmp_path / ".env").write_text(
            f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.url}\nOTEL_SERVICE_NAME=shop\n"
        )
        service = Service(
            tmp_path,
            fake.url,
            fake.token,
            HANDLERS="my_bot:router",
            TRACES="otlp",
            OTEL_BSP_SCHEDULE_DELAY="3600000",
        )
        async with service as bot:
            await bot.start()
            update_id = fake.world.send_message(7, 7, "hello")
            while not any(call.method == "sendMessage" for call in fake.calls):
                await asyncio.sleep(0.01)
            assert collector.requests == 0
            assert (await bot.stop()).code == 0
    assert collector.services == {"shop"}
    bot_id = fake.token.partition(":")[0]
    names = [
        name
        for name, _ in collector.traces[
            trace_id_of(bot_id)(delivery({"message": message()}, update_id=update_id))
        ]
    ]
    assert {"append inbox", "process inbox", "my span", "POST /bot{token}/sendMessage"} <= set(names)
    assert fake.token.partition(":")[2] not in collector.text
    assert "hello" not in collector.text


@pytest.mark.processes
async def test_a_collector_that_is_away_is_one_line_and_no_obstacle(tmp_path: Path):
    (tmp_path / "my_bot.py").write_text(BOT)
    async with FakeServer() as fake, Collector(status=400) as collector:
        service = Service(
            tmp_path,
            fake.url,
            fake.token,
            HANDLERS="my_bot:router",
            TRACES="otlp",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="20",
        )
        async with service as bot:
            await bot.start()
            while collector.requests < 3:
                fake.world.send_message(7, 7, "hello")
                await asyncio.sleep(0.05)
            assert (await bot.stop()).code == 0
            lines = [line["event"] for line in bot.log() if "traces" in line["event"]]
    assert lines == ["traces are exported", "traces cannot be exported and are dropped"]
    assert any(call.method == "sendMessage" for call in fake.calls)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL: there is http/protobuf only"),
        ({"TRACES": "jaeger"}, "TRACES: Input should be 'none' or 'otlp'"),
    ],
)
async def test_wrong_variables_are_one_line(tmp_path: Path, settings: dict[str, str], said: str):
    done = await command(
        folder=tmp_path, **{"BOT_TOKEN": TOKEN, "STORE_URL": "memory:", "TRACES": "otlp"} | settings
    )
    assert (done.code, done.err.splitlines()[-1:]) == (
        2,
        [line for line in done.err.splitlines() if said in line],
    )


class Slow(SpanExporter):
    """Never comes to an end, until it may."""

    def __init__(self) -> None:
        self.entered, self.may_end = threading.Event(), threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.entered.set()
        self.may_end.wait(60)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None: ...


async def test_a_slow_collector_holds_up_neither_the_bot_nor_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    caplog.set_level(logging.CRITICAL, "opentelemetry.sdk")
    slow, provider = Slow(), new_provider(Given(), ALWAYS_ON)
    with structlog.testing.capture_logs() as logs:
        async with Export(provider, slow, TOKEN, "http://user:secret@host"):
            tracer = provider.get_tracer("x")
            tracer.start_span("first").end()
            await asyncio.to_thread(slow.entered.wait, 60)
            for _ in range(1000):
                tracer.start_span("more").end()
            (processor,) = provider._active_span_processor._span_processors
            assert len(processor._batch_processor._queue) == 64  # type: ignore[attr-defined]
    assert [each["event"] for each in logs] == ["traces are exported", "traces were not exported in time"]
    assert logs[0]["to"] == "http://***@host"
    slow.may_end.set()
    await asyncio.to_thread(processor._batch_processor._worker_thread.join, 60)  # type: ignore[attr-defined]


class Failing(SpanExporter):
    def __init__(self) -> None:
        self.outcomes: list[SpanExportResult | Exception] = []
        self.exported = 0

    def export(self, spans: Any) -> SpanExportResult:
        self.exported += len(spans)
        logging.getLogger("opentelemetry.exporter.otlp").error("no way to %s", f"http://u:p@h/{TOKEN}")
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def shutdown(self) -> None: ...


async def test_failures_in_a_row_are_one_line_with_the_reason(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(export, "FLUSH_S", WITHIN_S)
    failing, provider = Failing(), new_provider(Given(), ALWAYS_ON)
    failing.outcomes = [SpanExportResult.FAILURE, RuntimeError("odd"), SpanExportResult.SUCCESS] * 2
    with structlog.testing.capture_logs() as logs:
        async with Export(provider, failing, TOKEN, "here"):
            for _ in range(6):
                provider.get_tracer("x").start_span("one").end()
                await asyncio.to_thread(provider.force_flush)
    assert [(each["event"], each.get("dropped")) for each in logs[1:]] == [
        ("traces cannot be exported and are dropped", None),
        ("traces are exported again", 2),
    ] * 2
    assert TOKEN.partition(":")[2] not in str(logs)
    assert not caplog.records  # the exporter's own
    assert logs[1]["reason"] == "no way to http://***@h/123456789:***"


async def test_spans_of_others_are_exported_without_the_token():
    provider = new_provider(Given(), ALWAYS_ON)
    url = f"https://api.telegram.org/bot{TOKEN}/getMe"
    span: Any = provider.get_tracer("of a library").start_span(
        f"GET {url}", attributes={"url.full": url, "tags": [url, "\ud800"], "n": 5}
    )
    span.add_event(url, {"exception.message": url})
    span.set_status(trace.Status(trace.StatusCode.ERROR, url))
    span.end()
    shown = redacted(span, TOKEN)
    assert TOKEN.partition(":")[2] not in shown.to_json()
    assert shown.to_json().count("***") == 6
    assert (shown.attributes or {})["n"] == 5
    assert encode_spans([shown]).SerializeToString()
    assert (shown.context, shown.start_time, shown.end_time) == (span.context, span.start_time, span.end_time)


def test_ids_are_given_to_one_span_only():
    given = Given()
    provider = new_provider(given, ALWAYS_ON)
    with given.ids(5, 7):
        first: Any = provider.get_tracer("x").start_span("first")
    second: Any = provider.get_tracer("x").start_span("second")
    assert (first.context.trace_id, first.context.span_id) == (5, 7)
    assert second.context.trace_id != 5


def test_the_variables_of_a_file_do_not_replace_those_of_the_environment(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("OTEL_SERVICE_NAME=file\nOTEL_TRACES_SAMPLER=always_off\nOTEL_EMPTY=\nBOT_TOKEN=5:x\n")
    environ = {"OTEL_SERVICE_NAME": "mine"}
    read_variables(environ, file)
    assert environ == {"OTEL_SERVICE_NAME": "mine", "OTEL_TRACES_SAMPLER": "always_off"}


def test_the_traces_protocol_goes_before_the_general_one(tmp_path: Path):
    general = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(ValueError, match=re.escape("there is http/protobuf only")):
        read_variables({**general}, tmp_path / ".env")
    read_variables({**general, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, tmp_path / ".env")


def test_a_service_has_a_name(monkeypatch: pytest.MonkeyPatch):
    assert new_provider(Given()).resource.attributes["service.name"] == "chatlane"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert new_provider(Given()).resource.attributes["service.name"] == "shop"
