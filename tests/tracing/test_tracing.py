"""What a bot traces: one trace for each update, from its receipt to the reply that Telegram has accepted."""

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBasedTraceIdRatio
from opentelemetry.trace import SpanKind, StatusCode

from engine import Call, Effects, Envelope, Park, Queue, Retry
from telegram.botapi.types import Message
from telegram.dialogue import InboxHandler, MessageContext, Router, TimerContext
from telegram.dialogue.routes import albums
from telegram.fake import Fault
from telegram.service.logs import ErrorTexts
from telegram.service.sender import Sender
from telegram.tracing.tracing import Tracing
from tests.kit.stage import Stage
from tests.kit.traced import Traced, attributes, everything, links, names, parent_of, the

ECHO = [
    "POST /bot{token}/sendMessage", "append inbox", "commit inbox", "commit outbox", "process inbox", "process outbox",
    "wait inbox", "wait outbox",
]  # fmt: skip
SECRET = "mysecret words"


def echo() -> Router:
    router = Router()

    @router.message()
    async def answer(ctx: MessageContext) -> None:
        if ctx.text == "again" and ctx.attempt == 1:
            raise Retry(f"of {ctx.text}", after_s=0.0)
        if "broken" in (ctx.text or ""):
            raise ValueError(f"cannot read {ctx.text}")
        ctx.reply(f"echo of {ctx.text}")

    return router


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(albums, "ALBUM_WAIT_S", 0.2)


async def update(stage: Stage, text: str, chat: int = 7) -> int:
    """Let a user write, and return the update's id when all is done."""
    update_id = stage.fake.world.send_message(chat, chat, text)
    await stage.idle()
    return update_id


async def test_an_echo_is_one_trace(stage: Stage):
    traced = Traced(stage)
    async with stage.bot(echo(), traces=traced.tracing):
        update_id = await update(stage, SECRET)
    spans = traced.of(update_id)
    assert names(spans) == ECHO
    assert {span.name: parent_of(span, spans) for span in spans} == {
        **dict.fromkeys(ECHO, "append inbox"),
        "append inbox": None,
        "POST /bot{token}/sendMessage": "process outbox",
    }
    kinds = {span.name: span.kind for span in spans}
    assert kinds["append inbox"] is SpanKind.PRODUCER
    assert kinds["process inbox"] is kinds["process outbox"] is SpanKind.CONSUMER
    assert kinds["POST /bot{token}/sendMessage"] is SpanKind.CLIENT
    assert all(span.status.status_code is StatusCode.UNSET for span in spans)
    assert all(0 <= (span.end_time or 0) - (span.start_time or 0) < 60e9 for span in spans)
    posted = attributes(the("POST /bot{token}/sendMessage", spans))
    assert (posted["http.response.status_code"], posted["server.address"]) == (200, "127.0.0.1")
    assert posted["url.full"].endswith("/botREDACTED/sendMessage")
    assert attributes(the("append inbox", spans))["messaging.message.id"] == str(update_id)
    assert attributes(the("process inbox", spans))["code.function.name"] == "echo.<locals>.answer"


async def test_no_text_name_token_or_id_of_a_chat_is_in_a_span(stage: Stage):
    traced = Traced(stage)
    stage.fake.faults.add(Fault("status", code=400, method="sendMessage", times=1))
    async with stage.bot(echo(), traces=traced.tracing, attempts_max=1):
        await update(stage, SECRET, chat=987654)
        await update(stage, f"{SECRET} broken", chat=987654)
    found = everything(traced.spans)
    assert "cannot read [...]" in found
    for secret in ("mysecret", "words", "broken", "987654", stage.fake.token.partition(":")[2]):
        assert secret not in found


async def test_lanes_and_texts_on_demand(stage: Stage):
    traced = Traced(stage, lanes=True, texts=True)
    async with stage.bot(echo(), traces=traced.tracing, attempts_max=1):
        update_id = await update(stage, "broken secret", chat=987654)
    spans = traced.of(update_id)
    assert attributes(the("append inbox", spans))["chatlane.lane"] == "chat:987654"
    assert attributes(the("process inbox", spans))["chatlane.lane"] == "chat:987654"
    assert "cannot read broken secret" in everything(spans)


async def test_each_attempt_has_a_span(stage: Stage):
    traced = Traced(stage)
    async with stage.bot(echo(), traces=traced.tracing):
        spans = traced.of(await update(stage, "again"))
    assert names(spans) == sorted([*ECHO, "process inbox", "park inbox"])
    first, second = (span for span in spans if span.name == "process inbox")
    assert (attributes(first)["chatlane.attempt"], attributes(second)["chatlane.attempt"]) == (1, 2)
    assert (first.status.status_code, second.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    (event,) = first.events
    assert dict(event.attributes or {})["exception.message"] == "Retry: of [...]"
    parked = attributes(the("park inbox", spans))
    assert (parked["chatlane.counted"], parked["chatlane.reason"]) == (True, "of [...]")


async def test_a_dead_letter_is_an_error_in_its_trace(stage: Stage):
    traced = Traced(stage)
    async with stage.bot(echo(), traces=traced.tracing, attempts_max=1, apology="sorry"):
        spans = traced.of(await update(stage, "broken"))
    buried = the("bury inbox", spans)
    assert buried.status.status_code is StatusCode.ERROR
    assert attributes(buried)["chatlane.reason"] == "ValueError: cannot read [...]"
    assert "test_tracing.py" in str(the("process inbox", spans).events[0].attributes)
    assert the("POST /bot{token}/sendMessage", spans)  # the apology


async def test_what_telegram_refuses(stage: Stage):
    traced = Traced(stage)
    stage.fake.faults.add(Fault("status", code=500, method="sendMessage", times=1))
    async with stage.bot(echo(), traces=traced.tracing):
        spans = traced.of(await update(stage, "hello"))
    first, second = (attributes(span) for span in spans if span.name.startswith("POST"))
    assert (first["http.response.status_code"], first["error.type"]) == (500, "500")
    assert "http.request.resend_count" not in first
    assert (second["http.response.status_code"], second["http.request.resend_count"]) == (200, 1)
    assert "error.type" not in second
    assert names(spans) == sorted([*ECHO, "POST /bot{token}/sendMessage", "park outbox", "process outbox"])


async def test_waiting_after_a_429_is_no_error_of_the_sender(stage: Stage):
    traced = Traced(stage)
    stage.fake.faults.add(Fault("status", code=429, method="sendMessage", times=1, retry_after=1))
    async with stage.bot(echo(), traces=traced.tracing):
        spans = traced.of(await update(stage, "hello"))
    first, second = (span for span in spans if span.name == "process outbox")
    assert first.status.status_code is second.status.status_code is StatusCode.UNSET
    assert [event.name for event in first.events] == ["parked"]
    refused = next(span for span in spans if span.name.startswith("POST"))
    assert (refused.status.status_code, attributes(refused)["http.response.status_code"]) == (
        StatusCode.ERROR,
        429,
    )
    assert attributes(the("park outbox", spans))["chatlane.counted"] is False


async def test_what_a_handler_traces_is_below_its_own_run(stage: Stage):
    traced = Traced(stage)
    router = Router()
    tracer = traced.provider.get_tracer("of a handler")

    def work() -> None:
        with tracer.start_as_current_span("in a thread"):
            pass

    @router.message()
    async def answer(ctx: MessageContext) -> None:
        with tracer.start_as_current_span(f"mine {ctx.text}"):
            await asyncio.to_thread(work)

    async with stage.bot(router, traces=traced.tracing):
        one, two = await update(stage, "one"), await update(stage, "two")
    for update_id, text in ((one, "one"), (two, "two")):
        spans = traced.of(update_id)
        mine = the(f"mine {text}", spans)
        assert parent_of(mine, spans) == "process inbox"
        assert parent_of(the("in a thread", spans), spans) == f"mine {text}"


async def test_an_update_that_is_not_sampled_has_no_spans_neither_has_its_handler(stage: Stage):
    traced = Traced(stage, ALWAYS_OFF)
    router = Router()
    seen: list[bool] = []

    @router.message()
    async def answer(ctx: MessageContext) -> None:
        with traced.provider.get_tracer("of a handler").start_as_current_span("mine") as span:
            seen.append(span.is_recording())
        ctx.reply("done")

    async with stage.bot(router, traces=traced.tracing):
        await update(stage, "hello")
    assert (seen, traced.spans) == ([False], ())
    assert stage.texts() == ["done"]


async def test_whole_traces_are_sampled_by_their_ids(stage: Stage):
    traced = Traced(stage, ParentBasedTraceIdRatio(0.5))
    router, tracer = Router(), traced.provider.get_tracer("of a handler")

    @router.message()
    async def answer(ctx: MessageContext) -> None:
        with tracer.start_as_current_span("mine"):
            ctx.reply("done")

    async with stage.bot(router, traces=traced.tracing):
        ids = [stage.fake.world.send_message(chat, chat, "hello") for chat in range(1, 41)]
        await stage.idle()
    kinds = [names(traced.of(update_id)) for update_id in ids]
    whole = sorted([*ECHO, "mine"])
    assert all(each in ([], whole) for each in kinds)
    assert 8 < sum(each == whole for each in kinds) < 32
    assert len(traced.spans) == len(whole) * sum(each == whole for each in kinds)


async def test_a_timer_has_a_trace_of_its_own(stage: Stage):
    traced = Traced(stage)
    router = Router()

    @router.message()
    async def answer(ctx: MessageContext) -> None:
        ctx.set_timer("later", 0.01)

    @router.timer("later")
    async def later(ctx: TimerContext) -> None:
        ctx.reply("later")

    async with stage.bot(router, traces=traced.tracing):
        update_id = await update(stage, "hello")
        while not stage.texts():
            await asyncio.sleep(0.01)
        await stage.idle()
    others = [span for span in traced.spans if span not in traced.of(update_id)]
    assert names(others) == sorted(set(ECHO) - {"append inbox"})
    assert len({span.context.trace_id for span in others}) == 1
    assert parent_of(the("wait inbox", others), others) is None
    assert attributes(the("wait inbox", others))["chatlane.timer"] is True
    assert parent_of(the("process outbox", others), others) == "wait inbox"


@pytest.mark.usefixtures("soon")
async def test_an_update_that_is_handled_with_another_one_links_to_it(stage: Stage):
    traced = Traced(stage)
    router = Router()
    photo = [{"file_id": "p", "file_unique_id": "u", "width": 1, "height": 1}]

    @router.album()
    async def answer(ctx: MessageContext, messages: list[Message]) -> None:
        ctx.reply(f"{len(messages)} pictures")

    for _ in range(2):
        stage.fake.world.send_message(7, 7, "", media_group_id="g", photo=photo)
    async with stage.bot(router, traces=traced.tracing):
        await stage.idle()
    assert stage.texts() == ["2 pictures"]
    joined = the("joined inbox", traced.spans)
    handled = the("process inbox", traced.spans)
    assert links(joined) == [handled.context.trace_id]
    assert links(handled) == [joined.context.trace_id]


async def test_calls_that_come_from_no_update_have_traces_of_their_own(stage: Stage):
    """Those of an earlier version, and of processes without traces."""
    stage.fake.world.send_message(7, 7, "hello")
    await outgoing(stage, b'sendMessage\n{"chat_id":7,"text":"old"}')
    traced = Traced(stage)
    async with stage.bot(echo(), traces=traced.tracing):
        await stage.idle()
    assert sorted(stage.texts()) == ["echo of hello", "old"]
    spans = traced.of(1, Queue.OUTBOX)
    assert names(spans) == ["POST /bot{token}/sendMessage", "commit outbox", "process outbox", "wait outbox"]
    assert [parent_of(span, spans) for span in spans if span.name.startswith("w")] == [None]
    assert parent_of(the("process outbox", spans), spans) == "wait outbox"


async def outgoing(stage: Stage, body: bytes) -> None:
    """Commit a call."""
    right = await stage.store.right()
    await stage.store.append(right, [Envelope(5, "chat:7", "7", b"{}")])
    delivery = await stage.store.claim(Queue.INBOX)
    await stage.store.commit(delivery, Effects((Call("chat:7", body),)), more=False)
    await stage.store.resign(right)


async def test_without_traces_nothing_is_wrapped(stage: Stage):
    async with stage.bot(echo()) as bot:
        parts = bot._parts
        assert type(parts.handling._handler) is InboxHandler
        assert type(parts.sending._handler) is Sender
        assert parts.handling._store is parts.sending._store is stage.store
        assert parts.handler._observe is None
        await update(stage, "hello")
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("outcome", [Park("busy", delay_s=0.01), Retry("busy", after_s=0.01)])
async def test_only_failures_are_errors(stage: Stage, outcome: Exception):
    traced = Traced(stage)
    router = Router()
    runs: list[int] = []

    @router.message()
    async def answer(ctx: MessageContext) -> None:
        runs.append(ctx.update_id)
        if len(runs) == 1:
            raise outcome

    async with stage.bot(router, traces=traced.tracing):
        update_id = await update(stage, "hello")
    first, _ = (span for span in traced.of(update_id) if span.name == "process inbox")
    assert (first.status.status_code is StatusCode.ERROR) == isinstance(outcome, Retry)


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


async def test_an_error_that_has_no_text_is_handled_as_without_traces(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    traced = Traced(stage)
    router = Router()

    @router.message()
    async def answer(ctx: MessageContext) -> None:
        raise OddError if ctx.text == "odd" else ValueError("plain")

    async def reasons(traces: Tracing | None) -> list[tuple[str, int]]:
        async with stage.bot(router, traces=traces, attempts_max=1, apology=""):
            before = len(await stage.reasons())
            await update(stage, "odd")
            await update(stage, "plain")
            return (await stage.reasons())[: -before or None]

    expected = await reasons(None)
    assert await reasons(traced.tracing) == expected
    monkeypatch.setattr(ErrorTexts, "trace", lambda *_: 1 / 0)
    assert await reasons(traced.tracing) == expected
    assert {attributes(span).get("error.type") for span in traced.spans if span.name == "process inbox"} == {
        "RuntimeError", "ValueError",  # the first: what became of it on its way
    }  # fmt: skip
