"""Events over HTTP, on loopback, at a bot that runs."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from engine.errors import StoreUnavailable
from engine.stores import open_store
from engine.stores.memory import MemoryStore
from telegram.dialogue import EventContext, Router
from telegram.fake import FakeServer
from telegram.listening import Address, NotTakenError
from telegram.service.events import STORE_WITHIN_S, Events
from telegram.settings.events_settings import EventsSettings
from tests.kit.stage import Stage
from tests.kit.virtual import run_virtual

TOKEN = "made-up-TOKEN-of-a-test"
BODY = {"event": "paid", "id": "inv-17", "payload": {"count": 2}}


def router():
    made = Router()

    @made.event("paid")
    async def paid(ctx: EventContext) -> None:
        ctx.data["tickets"] = ctx.data.get("tickets", 0) + ctx.payload.get("count", 1)
        ctx.reply(f"{ctx.event_id}: {ctx.data['tickets']} of {ctx.user_id}")

    return made


@asynccontextmanager
async def serving(bot):
    async with Events(Address("127.0.0.1", 0), TOKEN, bot) as events:
        yield events


@pytest.fixture
async def stage():
    async with FakeServer(seed=1) as fake:
        fake.world.add_user("Ann", user_id=42)
        yield Stage(fake, MemoryStore())


def request(body=BODY, *, line="POST /events/42 HTTP/1.1", token=f"Bearer {TOKEN}", length=None, **others):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {
        "Host": "a", "Authorization": token, "Content-Type": "application/json",
        "Content-Length": len(body) if length is None else length, "Connection": "close",
    }  # fmt: skip
    head |= {name.replace("_", "-"): value for name, value in others.items()}
    lines = [line, *(f"{name}: {value}" for name, value in head.items() if value is not None)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def ask(events, text):
    """The status, the headers and the JSON of an answer."""
    reader, writer = await asyncio.open_connection(*events.address)
    writer.write(text)
    try:
        got = await reader.read()
    finally:
        writer.close()
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    is_json = headers.get("Content-Type", "").startswith("application/json")
    return int(lines[0].split()[1]), headers, json.loads(body) if is_json else body


class Posts:
    """A bot that only notes what is posted."""

    def __init__(self, error=None):
        self.posted = []
        self.error = error

    async def post(self, chat_id, name, payload=None, *, id=None, user_id=None, topic=None):  # noqa: A002
        if self.error is not None:
            raise self.error
        self.posted.append((chat_id, name, payload, id, user_id, topic))


async def test_an_event_is_handled_in_its_lane_and_once(stage):
    async with stage.bot(router()) as bot, serving(bot) as events:
        for _ in range(2):
            assert (await ask(events, request()))[::2] == (200, {"ok": True})
            await stage.idle()
        await ask(events, request({**BODY, "id": 18, "payload": None}))
        await stage.idle()
    assert stage.texts() == ["inv-17: 2 of 42", "18: 3 of 42"]


async def test_what_was_answered_with_200_is_in_the_file(tmp_path):
    url = f"sqlite:{tmp_path / 'a.db'}"
    blocked = asyncio.Event()
    made = Router()

    @made.event("paid")
    async def paid() -> None:
        await blocked.wait()

    async with FakeServer(seed=1) as fake:
        store = await open_store(url, "4200000042")
        async with Stage(fake, store).bot(made, drain_timeout_s=2) as bot, serving(bot) as events:
            assert (await ask(events, request()))[0] == 200
        await store.close()
        store = await open_store(url, "4200000042")
        again = Stage(fake, store)
        async with again.bot(router()):
            await again.idle()
        await store.close()
        assert again.texts() == ["inv-17: 2 of 42"]


async def test_all_fields(stage):
    bot = Posts()
    async with serving(bot) as events:
        text = request({**BODY, "user_id": 7, "topic": 3}, line="POST /events/-1001234567890 HTTP/1.1")
        assert (await ask(events, text))[0] == 200
        assert (await ask(events, request({"event": "e", "id": "1"}, line="POST /events/5?x=y HTTP/1.1")))[
            0
        ] == 200
    assert bot.posted == [
        (-1001234567890, "paid", {"count": 2}, "inv-17", 7, 3),
        (5, "e", None, "1", None, None),
    ]


WRONG = {
    "no token": (401, "Authorization: Bearer", request(token=None)),
    "empty token": (401, "Authorization: Bearer", request(token="")),
    "wrong token": (401, "Authorization: Bearer", request(token="Bearer x")),
    "longer token": (401, "Authorization: Bearer", request(token=f"Bearer {TOKEN}x")),
    "token in another case": (401, "Authorization: Bearer", request(token=f"Bearer {TOKEN.lower()}")),
    "token without its scheme": (401, "Authorization: Bearer", request(token=TOKEN)),
    "another scheme": (401, "Authorization: Bearer", request(token=f"Basic {TOKEN}")),
    "bytes above ASCII": (401, "Authorization: Bearer", request().replace(TOKEN.encode(), b"\xff\xfe")),
    "two tokens": (
        401,
        "Authorization: Bearer",
        request().replace(b"Host: a", f"Host: a\r\nAuthorization: Bearer {TOKEN}".encode()),
    ),
    "token in the query": (
        401,
        "Authorization: Bearer",
        request(line=f"POST /events/42?token={TOKEN} HTTP/1.1", token=None),
    ),
    "no token and another path": (401, "Authorization: Bearer", request(line="GET / HTTP/1.1", token=None)),
    "no token and a huge body": (401, "Authorization: Bearer", request(b"", token=None, length=10**9)),
    "another path": (404, "POST /events/CHAT", request(line="POST /event/42 HTTP/1.1")),
    "no chat": (404, "POST /events/CHAT", request(line="POST /events/ HTTP/1.1")),
    "a name as chat": (404, "POST /events/CHAT", request(line="POST /events/@ann HTTP/1.1")),
    "a chat with a sign": (404, "POST /events/CHAT", request(line="POST /events/+42 HTTP/1.1")),
    "digits that are no ASCII": (404, "POST /events/CHAT", request(line="POST /events/%D9%A4 HTTP/1.1")),
    "a path with dots": (404, "POST /events/CHAT", request(line="POST /x/..%2fevents/42 HTTP/1.1")),
    "chat 0": (400, "chat_id is the id of a chat, not 0", request(line="POST /events/0 HTTP/1.1")),
    "a chat beyond 64 bits": (400, "64-bit", request(line=f"POST /events/{'9' * 19} HTTP/1.1")),
    "GET": (405, "use POST", request(line="GET /events/42 HTTP/1.1")),
    "no type": (415, "Content-Type: application/json", request(Content_Type=None)),
    "a form": (415, "Content-Type", request(Content_Type="application/x-www-form-urlencoded")),
    "compressed": (415, "Content-Encoding", request(Content_Encoding="gzip")),
    "too long, not sent": (413, "more than 524288 bytes", request(b"", length=(512 << 10) + 1)),
    "too long, in chunks": (
        413,
        "more than",
        request(
            b"80001\r\n" + b" " * 0x80001 + b"\r\n0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked"
        ),
    ),
    "empty": (400, "not JSON", request(b"")),
    "not JSON": (400, "not JSON", request(b"paid")),
    "NaN": (400, "NaN is not JSON", request(b'{"event":"paid","id":"1","payload":{"a":NaN}}')),
    "not UTF-8": (400, "not JSON", request(b'{"event":"\xff"}')),
    "nested too deep": (400, "not JSON", request(b"[" * 200_000)),
    "5,000 digits": (400, "not JSON", request(b"1" * 5000)),
    "a list": (400, "is a JSON object", request([BODY])),
    "no event": (400, "the field 'event' is needed", request({"id": "1"})),
    "no id": (400, "the field 'id' is needed", request({"event": "paid"})),
    "an id that is null": (400, "the field 'id' is needed", request({"event": "paid", "id": None})),
    "a misspelled field": (400, "unknown field 'paylod'", request({**BODY, "paylod": {}})),
    "an event that is a list": (400, "is a text", request({**BODY, "event": ["paid"]})),
    "an event without a handler": (
        400,
        "no handler takes the event 'pad'",
        request({**BODY, "event": "pad"}),
    ),
    "an id that is a list": (400, "a text or a number", request({**BODY, "id": []})),
    "an empty id": (400, "1 to", request({**BODY, "id": ""})),
    "a payload that is a list": (400, "payload is a dict", request({**BODY, "payload": []})),
    "a payload that is too long": (400, "more than", request({**BODY, "payload": {"a": "x" * 70_000}})),
    "a user that is a text": (400, "user_id is", request({**BODY, "user_id": "5"})),
    "a negative user": (400, "user_id is", request({**BODY, "user_id": -5})),
    "a topic that is a bool": (400, "topic is", request({**BODY, "topic": True})),
    "half of a character in the id": (400, "", request({**BODY, "id": "\ud800"})),
}


@pytest.mark.parametrize(("status", "reason", "text"), WRONG.values(), ids=WRONG)
async def test_a_wrong_request_stores_nothing_and_is_told_why(stage, status, reason, text):
    async with stage.bot(router()) as bot, serving(bot) as events:
        got, headers, answer = await ask(events, text)
        assert got == status, answer
        assert answer["ok"] is False
        assert reason in answer["error"]
        assert "\n" not in answer["error"]
        assert headers["Cache-Control"] == "no-store"
        assert headers.get("Allow") == ("POST" if status == 405 else None)
        assert (await ask(events, request()))[0] == 200
        await stage.idle()
    assert stage.texts() == ["inv-17: 2 of 42"]


async def test_without_the_token_each_answer_is_the_same():
    async with serving(Posts()) as events:
        answers = [await ask(events, text) for status, _, text in WRONG.values() if status == 401]
        assert len({json.dumps([status, answer]) for status, _, answer in answers}) == 1
        assert {headers["WWW-Authenticate"] for _, headers, _ in answers} == {"Bearer"}


@pytest.mark.parametrize(
    "error", [StoreUnavailable("the disk is full"), RuntimeError("post() needs a running bot")]
)
async def test_503_to_be_sent_again(error):
    async with serving(Posts(error)) as events:
        status, headers, answer = await ask(events, request())
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "send it again" in answer["error"]
        assert str(error) not in answer["error"]


async def test_a_bot_that_stops_takes_no_more(stage):
    async with stage.bot(router()) as bot, serving(bot) as events:
        await bot.stop()
        assert (await ask(events, request()))[0] == 503


def test_a_store_that_does_not_answer():
    async def scenario():
        class Hangs(Posts):
            async def post(self, *_, **__):
                await asyncio.Event().wait()

        events = Events(Address("127.0.0.1", 0), TOKEN, Hangs())
        began = asyncio.get_running_loop().time()
        with pytest.raises(NotTakenError, match="not stored, or that is not known") as caught:
            await events._post(42, BODY)
        assert caught.value.status == 503
        assert asyncio.get_running_loop().time() - began == STORE_WITHIN_S

    run_virtual(scenario())


async def test_a_client_that_disconnects_does_not_cancel_its_post():
    class Slow(Posts):
        async def post(self, *arguments, **named):
            began.set()
            await go_on.wait()
            await super().post(*arguments, **named)
            ended.set()

    began, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with serving(Slow()) as events:
        _, writer = await asyncio.open_connection(*events.address)
        writer.write(request())
        await began.wait()
        writer.transport.abort()
        go_on.set()
        await ended.wait()


def test_the_settings():
    assert EventsSettings().events() is None
    given = EventsSettings(events_listen="127.0.0.1:8444", events_token=TOKEN)
    assert given.events() == (Address("127.0.0.1", 8444), TOKEN)
    assert given.events_problem() is None
    assert TOKEN not in repr(given)
    assert "EVENTS_TOKEN is not" in str(EventsSettings(events_listen="127.0.0.1:8444").events_problem())
    assert "EVENTS_LISTEN is not" in str(EventsSettings(events_token=TOKEN).events_problem())


@pytest.mark.parametrize("token", ["short", "with a space in it", "x" * 20 + "\n", "ü" * 20, ""])
def test_a_token_that_is_none(token):
    with pytest.raises(ValueError, match="openssl rand -hex 32"):
        EventsSettings(events_listen="127.0.0.1:1", events_token=token)
