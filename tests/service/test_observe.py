"""What an observer sees of a whole bot, from Telegram to Telegram."""

from typing import Any

from structlog.testing import capture_logs

from engine import Queue
from engine.observe import Appended, Buried, Claimed, Committed, Handled, Parked, StoreCalled
from telegram.botapi.errors import Refused
from telegram.dialogue import MessageContext, Router
from telegram.dialogue.routes.observe import Routed
from telegram.fake import Fault
from telegram.service.observe import Polled, Received, SendFailed, Sent
from tests.kit.stage import Stage


def echo() -> Router:
    router = Router()

    @router.message()
    async def answer(ctx: MessageContext) -> None:
        ctx.reply("echo")

    return router


def _queue(event: Any) -> Queue | None:
    return event.delivery.lease.queue if isinstance(event, Claimed | Handled | Committed) else None


async def test_the_line_of_an_update_in_events(stage: Stage):
    events: list[Any] = []
    async with stage.bot(echo(), observe=events.append):
        await stage.says(7, 7, "hello")
    line = [event for event in events if not isinstance(event, StoreCalled | Sent | Polled)]
    of_call = [event for event in line if _queue(event) is Queue.OUTBOX]
    of_update = [type(event) for event in line if event not in of_call and not isinstance(event, Appended)]
    assert of_update == [Received, Claimed, Routed, Handled, Committed]
    (appended,) = [event for event in line if isinstance(event, Appended)]  # before or after Claimed
    assert (appended.new, appended.batch[0].key) == (1, "chat:7")
    assert line.index(appended) > 0
    assert [type(event) for event in of_call] == [Claimed, Handled, Committed]
    assert b"hello" in line[0].updates[0].body
    (sent,) = [event for event in events if isinstance(event, Sent)]
    assert events.index(of_call[0]) < events.index(sent) < events.index(of_call[1])
    assert (sent.lane, sent.method, b"echo" in sent.body) == ("chat:7", "sendMessage", True)
    assert sent.took_s > 0
    assert {event.name for event in events if isinstance(event, StoreCalled)} >= {"append", "commit"}


async def test_a_call_that_telegram_refuses_is_reported_before_its_outcome(stage: Stage):
    events: list[Any] = []
    async with stage.bot(echo(), observe=events.append):
        stage.fake.faults.add(Fault("status", code=400, method="sendMessage", times=1))
        await stage.says(7, 7, "hello")
    (failed,) = [event for event in events if isinstance(event, SendFailed)]
    assert (failed.lane, failed.method) == ("chat:7", "sendMessage")
    assert isinstance(failed.error, Refused)
    after = events[events.index(failed) :]
    assert any(isinstance(event, Parked | Buried) for event in after)


async def test_routers_have_observers_and_one_that_raises_disturbs_no_other(stage: Stage):
    router, inner, events = Router(), echo(), list[Any]()
    router.include(inner)

    @router.observer
    def bad(event: Any) -> None:
        raise KeyError(event)

    inner.observer(events.append)
    router.include(Router())
    assert router.observers()[0] is bad
    assert len(router.observers()) == 2
    with capture_logs() as logs:
        async with stage.bot(router):
            await stage.says(7, 7, "hello")
    (routed,) = [event for event in events if isinstance(event, Routed)]
    assert getattr(routed.handler, "__name__", "") == "answer"
    assert {line["event"] for line in logs if line["log_level"] == "error"} == {"the observer failed"}


async def test_an_update_without_a_handler_is_routed_to_none(stage: Stage):
    events: list[Any] = []
    async with stage.bot(Router(), observe=events.append):
        await stage.says(7, 7, "hello")
    assert [event.handler for event in events if isinstance(event, Routed)] == [None]


async def test_a_bot_without_an_observer_has_the_store_itself(stage: Stage):
    async with stage.bot(echo()) as bot:
        assert bot._parts.handling._store is stage.store
        assert bot._parts.sending._store is stage.store
        assert bot._parts.handling._handler is bot._parts.handler
