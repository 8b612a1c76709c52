"""What each failure of a call means for its lane, and how many calls go out while Telegram is away."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from engine import Delivery, Effects, Envelope, Lease, Park, Queue, Reject, Retry, Work
from telegram.botapi.calls import Files, encode_call
from telegram.botapi.errors import (
    Conflict,
    FileUnusable,
    NotSent,
    OutcomeUnknown,
    Refused,
    RetryAfter,
    ServerTrouble,
    Unauthorized,
    UploadCut,
)
from telegram.botapi.files import InputFile
from telegram.service.pace import Pace
from telegram.service.sender import Sender
from tests.kit.virtual import run_virtual


class ScriptedPoster:
    """Raises the next step of its script; None, and what comes after the script, is a success."""

    def __init__(self, *script: Exception | None) -> None:
        self.posts: list[tuple[str, bytes]] = []
        self.uploads: list[Files] = []
        self.script = list(script)

    async def post(self, method: str, body: bytes) -> None:
        self.posts.append((method, body))
        if self.script and (step := self.script.pop(0)) is not None:
            raise step

    async def upload(self, method: str, body: bytes, files: Files) -> None:
        self.uploads.append(files)
        await self.post(method, body)


def delivery(number: int = 1) -> Work:
    body = encode_call("sendMessage", {"chat_id": number, "text": "hi"})
    envelope = Envelope(number, f"chat:{number}", "", body)
    return Work(Delivery(Lease(Queue.OUTBOX, envelope.key, 1), envelope, 1, None))


def send(poster: ScriptedPoster) -> Effects:
    return run_virtual(Sender(poster, jitter=lambda: 0.5)(delivery()))


NOT_MODIFIED = Refused("editMessageText", 400, "Bad Request: message is not modified: x", {})
TROUBLE = ServerTrouble("sendMessage", 502, "HTTP 502, not JSON", {})
REFUSED = NotSent("sendMessage", "connection refused")


def test_the_body_is_sent_as_it_was_committed():
    poster = ScriptedPoster()
    assert send(poster) == Effects()
    assert poster.posts == [("sendMessage", b'{"chat_id":1,"text":"hi"}')]


def test_a_process_that_stood_still_sends_nothing_others_may_have_sent_it():
    poster = ScriptedPoster()
    stopped_for_long: Any = SimpleNamespace(is_in_time=lambda: False)  # others may have its lanes
    with pytest.raises(Park):
        run_virtual(Sender(poster, jitter=lambda: 0.5, sharing=stopped_for_long)(delivery()))
    assert poster.posts == []


def test_an_edit_that_changes_nothing_is_done():
    assert send(ScriptedPoster(NOT_MODIFIED)) == Effects()


def test_a_flood_wait_parks_the_lane_for_retry_after():
    with pytest.raises(Park) as caught:
        send(ScriptedPoster(RetryAfter("sendMessage", 429, "Too Many Requests", {"retry_after": 7})))
    assert caught.value.delay_s == 7.5


@pytest.mark.parametrize("code", [400, 403, 404, 413])
def test_what_telegram_refuses_is_a_dead_letter_with_its_reason(code):
    with pytest.raises(Reject, match="CHAT_RESTRICTED"):
        send(ScriptedPoster(Refused("sendMessage", code, "CHAT_RESTRICTED", {})))


@pytest.mark.parametrize(
    "error",
    [TROUBLE, OutcomeUnknown("sendMessage", "no answer in 30 s"), Conflict("sendMessage", 409, "x", {})],
)
def test_an_unknown_outcome_is_tried_again_and_counted(error):
    with pytest.raises(Retry):
        send(ScriptedPoster(error))


@pytest.mark.parametrize("error", [REFUSED, Unauthorized("sendMessage", 401, "Unauthorized", {})])
def test_what_was_surely_not_sent_waits_uncounted(error):
    with pytest.raises(Park):
        send(ScriptedPoster(error))


# -- files ---------------------------------------------------------------------------------------------------

DOCUMENT = InputFile("/no/where.pdf")


def send_document(poster: ScriptedPoster) -> Effects:
    body = encode_call("sendDocument", {"chat_id": 1, "document": DOCUMENT})
    envelope = Envelope(1, "chat:1", "", body)
    return run_virtual(
        Sender(poster)(Work(Delivery(Lease(Queue.OUTBOX, envelope.key, 1), envelope, 1, None)))
    )


def test_a_file_is_sent_from_its_reference():
    poster = ScriptedPoster()
    assert send_document(poster) == Effects()
    assert poster.posts == [("sendDocument", b'{"chat_id":1,"document":null}')]
    assert poster.uploads == [((("document",), DOCUMENT),)]


def test_a_file_that_is_missing_is_a_dead_letter_with_its_name():
    with pytest.raises(Reject) as caught:
        send_document(ScriptedPoster(FileUnusable("/no/where.pdf is missing")))
    assert str(caught.value) == "sendDocument: file /no/where.pdf is missing: put it there and replay"


def test_an_upload_that_was_cut_is_tried_again_and_counted():
    """It was not executed, but it may be cut at the same place each time: its lane must not wait for ever."""
    with pytest.raises(Retry, match="not executed, reset after 5 bytes"):
        send_document(ScriptedPoster(UploadCut("sendDocument", "reset after 5 bytes")))


# -- an outage -----------------------------------------------------------------------------------------------


async def outcomes(sender: Sender, deliveries: int) -> list[Effects | BaseException]:
    return await asyncio.gather(*(sender(delivery(n)) for n in range(deliveries)), return_exceptions=True)


def test_during_an_outage_one_call_at_a_time_tries_and_the_others_are_parked():
    async def main() -> None:
        poster = ScriptedPoster(*[REFUSED] * 10**4)
        sender = Sender(poster, jitter=lambda: 0.0)
        await outcomes(sender, 64)  # all of them were on their way when it began
        first = len(poster.posts)
        for _ in range(600):
            results = await outcomes(sender, 10)
            assert all(isinstance(result, Park) for result in results)
            await asyncio.sleep(0.1)
        assert len(poster.posts) - first <= 16  # in a minute: half of 0.5, 1, 2, 4, 8, 10, 10 ... s apart
        poster.script.clear()
        await asyncio.sleep(10)
        assert await sender(delivery()) == Effects()
        assert await outcomes(sender, 10) == [Effects()] * 10

    run_virtual(main())


def test_when_the_outage_is_over_no_call_waits_much_longer_than_the_pause():
    async def main() -> None:
        poster = ScriptedPoster(*[REFUSED] * 10**4)
        sender = Sender(poster, jitter=lambda: 0.99)
        for _ in range(600):
            (result,) = await outcomes(sender, 1)
            assert isinstance(result, Park)
            assert result.delay_s < 11
            await asyncio.sleep(0.1)

    run_virtual(main())


def test_many_calls_that_fail_at_once_are_one_failure():
    """Sixty-four calls in flight must not drive the pause to its maximum when one connection drops."""

    class Slow(ScriptedPoster):
        async def post(self, method: str, body: bytes) -> None:
            await asyncio.sleep(0.01)
            await super().post(method, body)

    async def main() -> None:
        poster = Slow(*[REFUSED] * 64)
        sender = Sender(poster, jitter=lambda: 0.0)
        await outcomes(sender, 64)
        await asyncio.sleep(1)
        assert await sender(delivery()) == Effects()

    run_virtual(main())


def test_a_single_bad_call_does_not_hold_up_the_others():
    async def main() -> None:
        poster = ScriptedPoster(TROUBLE, None, TROUBLE, None, TROUBLE, None)
        sender = Sender(poster, jitter=lambda: 0.0)
        for _ in range(3):
            with pytest.raises(Retry):
                await sender(delivery(1))
            assert await sender(delivery(2)) == Effects()

    run_virtual(main())


@pytest.mark.parametrize(
    "answer",
    [RetryAfter("sendMessage", 429, "x", {"retry_after": 1}), Refused("sendMessage", 400, "x", {})],
)
def test_an_answer_of_any_kind_ends_the_outage(answer):
    async def main() -> None:
        poster = ScriptedPoster(TROUBLE, TROUBLE, TROUBLE, answer)
        sender = Sender(poster, jitter=lambda: 0.0)
        await outcomes(sender, 3)
        await asyncio.sleep(1)
        with pytest.raises((Park, Reject)):
            await sender(delivery())
        assert not poster.script
        assert await outcomes(sender, 5) == [Effects()] * 5

    run_virtual(main())


# -- the pace ----------------------------------------------------------------------------------------------------------


def spaced(key: str, method: str = "sendMessage") -> Work:
    envelope = Envelope(1, key, "", encode_call(method, {"chat_id": 1}))
    return Work(Delivery(Lease(Queue.OUTBOX, key, 1), envelope, 1, None))


def test_a_call_that_has_to_wait_for_long_gives_its_sender_to_others_and_counts_no_attempt():
    async def main() -> None:
        poster = Posting()
        sender = Sender(poster, pace=Pace(30, lambda: 0.0), jitter=lambda: 0.0)
        for _ in range(3):
            await sender(spaced("chat:1"))
        with pytest.raises(Park) as caught:
            await sender(spaced("chat:1"))
        assert 0.9 < caught.value.delay_s <= 1.0
        await sender(spaced("query:1", "answerCallbackQuery"))
        assert poster.posted == ["sendMessage"] * 3 + ["answerCallbackQuery"]
        await asyncio.sleep(0.9)
        await sender(spaced("chat:1"))  # a moment is waited for here
        assert len(poster.posted) == 5

    run_virtual(main())


def test_senders_that_wait_are_few():
    async def main() -> None:
        poster = Posting()
        sender = Sender(poster, pace=Pace(8, lambda: 0.0), jitter=lambda: 0.0)
        outcomes = await asyncio.gather(
            *(sender(spaced(f"chat:{n}")) for n in range(60)), return_exceptions=True
        )
        assert sum(isinstance(outcome, Park) for outcome in outcomes) >= 60 - 16 - 8
        assert all(isinstance(outcome, Park | Effects) for outcome in outcomes)
        assert sender._waiting == 0

    run_virtual(main())


def test_several_refusals_make_the_others_wait():
    async def main() -> None:
        poster = Posting(RetryAfter("sendMessage", 429, "Too Many Requests", {"retry_after": 7}))
        sender = Sender(poster, pace=Pace(30, lambda: 0.0), jitter=lambda: 0.0)
        for n in range(3):
            with pytest.raises(Park):
                await sender(spaced(f"chat:{n}"))
        poster.error = None
        with pytest.raises(Park, match="spaced") as caught:
            await sender(spaced("chat:9"))
        assert caught.value.delay_s == pytest.approx(7)

    run_virtual(main())


class Posting:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.posted: list[str] = []

    async def post(self, method: str, body: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.posted.append(method)

    async def upload(self, method: str, body: bytes, files: object) -> object:
        raise AssertionError(method)
