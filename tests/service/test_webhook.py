"""The webhook over HTTP, on loopback, against a scripted Telegram and inbox."""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.errors import RightLost, StoreUnavailable
from engine.inbox import Inbox
from engine.model import Queue, Right
from engine.stores import open_store
from engine.stores.memory import MemoryStore
from telegram.botapi.errors import RetryAfter, ServerTrouble, Unauthorized
from telegram.listening import Address, read_networks
from telegram.service.accepting import Accepting, read_update
from telegram.service.webhook import Webhook
from telegram.settings.webhook import WebhookConfig, WebhookSettings, check_secret, check_url
from tests.kit.virtual import run_virtual

SECRET = "made-up_SECRET-42"
UPDATE = b'{"update_id":7,"message":{"message_id":1,"date":1,"chat":{"id":5,"type":"private"},"text":"a"}}'


class Telegram:
    def __init__(self, *infos):
        self.calls = []
        self.infos = list(infos)
        self.asked = asyncio.Event()

    async def call(self, method, /, **params):
        self.calls.append((method, params))
        if method == "setWebhook":
            return True
        self.asked.set()
        info = self.infos.pop(0) if self.infos else {"url": "https://a.example/updates"}
        if isinstance(info, Exception):
            raise info
        return info


@asynccontextmanager
async def serving(store=None, telegram=None, **config):
    inbox = Inbox(store or MemoryStore())
    telegram = telegram or Telegram()
    given = WebhookConfig("https://a.example/updates", Address("127.0.0.1", 0), SECRET, **config)
    webhook = Webhook(telegram, inbox, Accepting(inbox), given, allowed_updates=["message"])
    running = asyncio.create_task(webhook.run())
    asked = asyncio.create_task(telegram.asked.wait())
    await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield webhook
    finally:
        running.cancel()
        asked.cancel()
        await asyncio.wait({running})


def request(body=UPDATE, *, line="POST /updates HTTP/1.1", secret=SECRET, length=None, **others):
    head = {
        "Host": "a", "X-Telegram-Bot-Api-Secret-Token": secret, "Content-Type": "application/json",
        "Content-Length": len(body) if length is None else length, "Connection": "close",
    }  # fmt: skip
    head |= {name.replace("_", "-"): value for name, value in others.items()}
    lines = [line, *(f"{name}: {value}" for name, value in head.items() if value is not None)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def answer(webhook, text):
    """The whole answer but its date."""
    reader, writer = await asyncio.open_connection(*webhook._listener.address)
    writer.write(text)
    try:
        got = await reader.read()
    finally:
        writer.close()
    return b"\r\n".join(part for part in got.split(b"\r\n") if not part.startswith(b"Date"))


async def status(webhook, text):
    got = await answer(webhook, text)
    return int(got.split()[1]) if got else 0


async def appended(store):
    return (await store.stats()).inbox.appended


def many(n):
    return b"[" * n


WRONG = {
    "no secret": (404, request(secret=None)),
    "empty secret": (404, request(secret="")),
    "wrong secret": (404, request(secret="x")),
    "longer secret": (404, request(secret=SECRET + "x")),
    "shorter secret": (404, request(secret=SECRET[:-1])),
    "secret in another case": (404, request(secret=SECRET.lower())),
    "bytes above ASCII as secret": (404, request().replace(SECRET.encode(), b"\xff\xfe")),
    "two secrets": (
        404,
        request().replace(b"Host: a", f"Host: a\r\nX-Telegram-Bot-Api-Secret-Token: {SECRET}".encode()),
    ),
    "no secret and GET": (404, request(line="GET /updates HTTP/1.1", secret=None)),
    "no secret and a huge body that is not sent": (404, request(b"", secret=None, length=10**9)),
    "another path": (404, request(line="POST / HTTP/1.1")),
    "a longer path": (404, request(line="POST /updates/ HTTP/1.1")),
    "a path with dots": (404, request(line="POST /a/..%2fupdates HTTP/1.1")),
    "GET": (405, request(line="GET /updates HTTP/1.1")),
    "PUT": (405, request(line="PUT /updates HTTP/1.1")),
    "an unknown method": (400, request(line="BREW /updates HTTP/1.1")),
    "no type": (415, request(Content_Type=None)),
    "a form": (415, request(Content_Type="application/x-www-form-urlencoded")),
    "compressed": (415, request(Content_Encoding="gzip")),
    "too long, not sent": (413, request(b"", length=(1 << 20) + 1)),
    "too long, in chunks": (
        413,
        request(
            b"100001\r\n" + b" " * 0x100001 + b"\r\n0\r\n\r\n",
            Content_Length=None,
            Transfer_Encoding="chunked",
        ),
    ),
    "empty": (400, request(b"")),
    "not JSON": (400, request(b"update")),
    "a list": (400, request(b"[" + UPDATE + b"]")),
    "a number": (400, request(b"7")),
    "no id": (400, request(b"{}")),
    "a text as id": (400, request(b'{"update_id":"7"}')),
    "a bool as id": (400, request(b'{"update_id":true}')),
    "a fraction as id": (400, request(b'{"update_id":7.5}')),
    "a negative id": (400, request(b'{"update_id":-7}')),
    "an id of a timer": (400, request(b'{"update_id":4503599627370496}')),
    "nested too deep": (400, request(many(200_000))),
    "5,000 digits": (400, request(b"1" * 5000)),
    "two lengths": (400, request().replace(b"Host: a", b"Host: a\r\nContent-Length: 3")),
    "not HTTP": (400, b"hello\r\n\r\n"),
}


@pytest.mark.parametrize(("expected", "text"), WRONG.values(), ids=WRONG)
async def test_a_hostile_request_stores_nothing(expected, text):
    store = MemoryStore()
    async with serving(store) as webhook:
        assert await status(webhook, text) == expected
        assert await appended(store) == 0
        assert await status(webhook, request()) == 200


async def test_a_wrong_and_a_missing_secret_have_the_same_answer():
    async with serving() as webhook:
        answers = [
            WRONG[each][1] for each in ("no secret", "wrong secret", "another path", "no secret and GET")
        ]
        assert len({await answer(webhook, each) for each in answers}) == 1


async def test_200_after_the_append_and_a_repetition_is_ignored_in_any_order():
    """Telegram sends over several connections: order only per queue (tdlib/telegram-bot-api, WebhookActor.cpp)."""
    store = MemoryStore()
    async with serving(store) as webhook:
        for id_ in (9, 7, 9, 8, 7, 3_000_000, 5):
            body = UPDATE.replace(b":7,", b":%d," % id_, 1)
            assert await status(webhook, request(body)) == 200
        assert await appended(store) == 5
    delivery, ids = await store.claim(Queue.INBOX), []
    ids.append(delivery.envelope.id)
    ids += [each.id for each in await store.peek(delivery, 10)]
    assert sorted(ids) == [5, 7, 8, 9, 3_000_000]
    assert ids[:3] == [7, 8, 9]


@pytest.mark.parametrize("body", [UPDATE[:-1], UPDATE + b"x", b'{"update_id":7,"message":' + many(100_000)])
async def test_an_update_that_does_not_parse_is_kept(body):
    store = MemoryStore()
    async with serving(store) as webhook:
        assert await status(webhook, request(body)) == 200
    envelope = (await store.claim(Queue.INBOX)).envelope
    assert (envelope.id, envelope.key, envelope.body) == (7, "update:7", body)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RightLost("right 1 to append")])
async def test_503_while_the_store_is_away_and_the_retry_is_handled_once(error):
    store = MemoryStore()
    append, errors = store.append, [error]

    async def failing(*arguments):
        if errors:
            raise errors.pop()
        return await append(*arguments)

    store.append = failing  # type: ignore[method-assign]
    async with serving(store) as webhook:
        got = await answer(webhook, request())
        assert b" 503 " in got
        assert b"Retry-After: 1" in got
        assert await status(webhook, request()) == 200
        assert await status(webhook, request()) == 200
        assert await appended(store) == 1


async def test_a_client_that_disconnects_during_the_append_does_not_cancel_it():
    store = MemoryStore()
    append, began, go_on, ended = store.append, asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(*arguments):
        began.set()
        await go_on.wait()
        await append(*arguments)
        ended.set()

    store.append = slow  # type: ignore[method-assign]
    async with serving(store) as webhook:
        _, writer = await asyncio.open_connection(*webhook._listener.address)
        writer.write(request())
        await began.wait()
        writer.transport.abort()
        go_on.set()
        await ended.wait()
        assert await status(webhook, request()) == 200
        assert await appended(store) == 1


async def test_a_stop_answers_what_is_being_appended():
    store = MemoryStore()
    append, began, go_on = store.append, asyncio.Event(), asyncio.Event()

    async def slow(*arguments):
        began.set()
        await go_on.wait()
        return await append(*arguments)

    store.append = slow  # type: ignore[method-assign]
    async with serving(store) as webhook:
        asking = asyncio.create_task(status(webhook, request()))
        await began.wait()
        asyncio.get_running_loop().call_soon(go_on.set)
    assert await asking == 200
    assert await appended(store) == 1


async def test_senders():
    networks = read_networks("149.154.160.0/20,91.108.4.0/22")
    async with serving(networks=networks) as webhook:
        assert await status(webhook, request(X_Forwarded_For="149.154.160.1")) == 404
    async with serving(networks=networks, proxies=read_networks("127.0.0.1/32")) as webhook:
        assert await status(webhook, request()) == 404
        assert await status(webhook, request(X_Forwarded_For="149.154.160.1")) == 200
        assert await status(webhook, request(X_Forwarded_For="1.1.1.1, 91.108.4.9")) == 200
        assert await status(webhook, request(X_Forwarded_For="91.108.4.9, 1.1.1.1")) == 404
        assert await status(webhook, request(X_Forwarded_For="unknown")) == 404


async def test_why_a_request_with_the_secret_is_refused_is_logged_once_a_minute():
    """Else all that is seen is Telegram's "Wrong response from the webhook: 404 Not Found".

    defstudio/telegraph issue 428, aiogram issue 672, tdlib/telegram-bot-api issue 422.
    """
    with capture_logs() as logs:
        async with serving(
            networks=read_networks("149.154.160.0/20"), proxies=read_networks("127.0.0.1/32")
        ) as webhook:
            for _ in range(3):
                assert await status(webhook, request(X_Forwarded_For="1.1.1.1")) == 404
                assert (
                    await status(webhook, request(X_Forwarded_For="149.154.160.1", Content_Type=None)) == 415
                )
                assert await status(webhook, request(X_Forwarded_For="149.154.160.1", secret="x")) == 404
            webhook._logged_at.clear()
            assert (
                await status(webhook, request(line="POST /x HTTP/1.1", X_Forwarded_For="149.154.160.1"))
                == 404
            )
            webhook._logged_at.clear()
            assert await status(webhook, request(b"[]", X_Forwarded_For="149.154.160.1")) == 400
    said = [(each["status"], each["reason"]) for each in logs if "is refused" in each["event"]]
    assert said == [
        (404, "it comes from 1.1.1.1, which is not in WEBHOOK_NETWORKS"),
        (415, "send Content-Type: application/json, without a Content-Encoding"),
        (404, "its path is '/x', not that of WEBHOOK_URL"),
        (400, "not an update: a JSON object with an integer update_id"),
    ]


async def test_it_is_set_with_what_the_poller_asks_for():
    telegram = Telegram()
    async with serving(telegram=telegram):
        method, params = telegram.calls[0]
    assert method == "setWebhook"
    assert params["url"] == "https://a.example/updates"
    assert params["secret_token"] == SECRET
    assert params["allowed_updates"] == ["message"]
    assert "drop_pending_updates" not in params


def test_it_is_set_again_and_telegrams_error_is_logged_once():
    async def scenario():
        ours = "https://a.example/updates"
        bad = {"url": ours, "last_error_date": 1, "last_error_message": "Connection refused"}
        trouble = ServerTrouble("getWebhookInfo", 502, "Bad Gateway", {})
        telegram = Telegram({"url": ours}, bad, bad, trouble, [], {"url": ""}, bad)
        inbox = Inbox(MemoryStore())
        config = WebhookConfig(ours, None, SECRET)
        webhook = Webhook(telegram, inbox, Accepting(inbox), config, allowed_updates=[])
        running = asyncio.create_task(webhook.run())
        await asyncio.sleep(600)
        running.cancel()
        await asyncio.wait({running})
        return [method for method, _ in telegram.calls].count("setWebhook")

    with capture_logs() as logs:
        assert run_virtual(scenario()) == 2
    reasons = [each for each in logs if each["event"] == "Telegram cannot deliver updates"]
    assert len(reasons) == 2  # the webhook was set anew in between


OURS = "https://a.example/updates"


class Rights:
    """An inbox with only a right, which changes at these moments of the loop's clock; None: another process has it."""

    began = 0.0

    def __init__(self, **changes):
        self.changes = {float(at.removeprefix("at_")): right for at, right in changes.items()}

    async def right(self):
        clock = asyncio.get_running_loop().time
        began = clock()
        while (right := self._now(clock() - self.began)) is None:
            await asyncio.sleep(1)
            assert clock() - began < 1000
        return right

    def _now(self, now):
        return self.changes[max(at for at in self.changes if at <= now)]

    async def resign(self, right):
        self.resigned = right


def calls_within(
    seconds: float, rights: Any, *infos: Any, trouble: Any = (), made: Any = None
) -> list[tuple[float, str]]:
    """The methods called, with their moments."""

    class Timed(Telegram):
        async def call(self, method, /, **params):
            moments.append((round(asyncio.get_running_loop().time() - rights.began, 1), method))
            if method == "setWebhook" and errors:
                raise errors.pop(0)
            return await super().call(method, **params)

    async def scenario():
        rights.began = asyncio.get_running_loop().time()
        webhook = Webhook(
            Timed(*infos), rights, Accepting(rights), WebhookConfig(OURS, None, SECRET), allowed_updates=[]
        )
        if made is not None:
            made.append(webhook)
        running = asyncio.create_task(webhook.run())
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.wait({running})

    moments: list[tuple[float, str]] = []
    errors = list(trouble)
    run_virtual(scenario())
    return moments


@pytest.mark.parametrize("lost_at", [10, 299, 300])
def test_the_webhook_is_set_again_when_the_right_was_lost_and_regained(lost_at):
    """Meanwhile another process may have polled, which removes the webhook, or have set its own."""
    rights = Rights(at_0=Right(1), **{f"at_{lost_at}": None} | {"at_300": Right(3)})
    assert calls_within(330, rights) == [
        *[(0.0, "setWebhook"), (0.0, "getWebhookInfo")],
        *[(60.0 * n, "getWebhookInfo") for n in range(1, 5) if 60 * n < lost_at],
        *[(300.0, "setWebhook"), (300.0, "getWebhookInfo")],
    ]
    assert rights.resigned == Right(3)


@pytest.mark.parametrize(
    "changed", [{"allowed_updates": ["message"]}, {"max_connections": 1}, {"has_custom_certificate": True}]
)
def test_a_webhook_whose_other_parameters_were_changed_is_set_again(changed):
    """home-assistant/core issue 179896: with allowed_updates narrowed by another program, presses of buttons do not come."""
    ours = {"url": OURS, "allowed_updates": ["message", "callback_query"], "max_connections": 40}
    moments = calls_within(130, Rights(at_0=Right(1)), ours, ours | changed, ours, ours)
    assert [at for at, method in moments if method == "setWebhook"] == [0.0, 61.0]


@pytest.mark.parametrize(("has_refused", "times"), [(True, [0.0, 61.0, 122.0]), (False, [0.0])])
def test_a_webhook_whose_secret_may_have_been_changed_is_set_again_once_a_minute(has_refused, times):
    """Telegram does not show the secret. home-assistant/core pull request 133398, vellum-ai/vellum-assistant issue 40549.

    It is no reason that a proxy says 404 by itself.
    """

    def error(at):
        text = "Wrong response from the webhook: 404 Not Found"
        return {"url": OURS, "last_error_date": at, "last_error_message": text}

    class Refusing(Rights):
        async def right(self):
            for each in made:
                each._has_refused |= has_refused
            return await super().right()

    made: list[Webhook] = []
    infos = [{"url": OURS}, *(error(at) for at in range(1, 9))]
    moments = calls_within(170, Refusing(at_0=Right(1)), *infos, made=made)
    assert [at for at, method in moments if method == "setWebhook"] == times


async def test_a_request_to_its_path_with_a_wrong_secret_is_remembered_until_the_next_look():
    async with serving() as webhook:
        assert await status(webhook, request(line="POST /other HTTP/1.1", secret="x")) == 404
        assert not webhook._has_refused
        assert await status(webhook, request(secret="x")) == 404
        assert webhook._has_refused
        assert webhook._look({"url": OURS}, OURS, is_new=False)
        assert not webhook._has_refused


def test_while_another_process_has_the_right_the_webhook_is_left_to_it():
    assert calls_within(500, Rights(at_0=None, at_499=None)) == []
    rights = Rights(at_0=Right(1), at_30=None)
    assert calls_within(500, rights) == [(0.0, "setWebhook"), (0.0, "getWebhookInfo")]


def test_a_flood_wait_of_set_webhook_is_kept():
    """telegram-bot-api, Client.cpp: setWebhook within a second of another one gets 429."""
    flood = RetryAfter("setWebhook", 429, "Too Many Requests: retry after 7", {"retry_after": 7})
    moments = calls_within(30, Rights(at_0=Right(1)), trouble=[flood])
    assert [at for at, method in moments if method == "setWebhook"] == [0.0, 7.0]


def test_an_invalid_token_ends_it():
    """As it ends the poller: waiting does not help."""
    error = Unauthorized("setWebhook", 401, "Unauthorized", {})

    class Refuses(Telegram):
        async def call(self, method, /, **params):
            raise error

    async def scenario():
        rights: Any = Rights(at_0=Right(1))
        config = WebhookConfig(OURS, None, SECRET)
        with pytest.raises(Unauthorized):
            await Webhook(Refuses(), rights, Accepting(rights), config, allowed_updates=[]).run()
        assert rights.resigned == Right(1)

    run_virtual(scenario())


async def test_an_address_that_is_taken_is_one_line_and_the_right_is_given_up():
    store = MemoryStore()
    inbox = Inbox(store)
    async with serving() as other:
        config = WebhookConfig(OURS, other._listener.address, SECRET)
        webhook = Webhook(Telegram(), inbox, Accepting(inbox), config, allowed_updates=[])
        with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:\d+: it is taken"):
            await webhook.run()
    await store.peer().right()


async def test_who_may_not_append_does_not_listen_and_takes_over():
    store = MemoryStore()
    async with serving(store) as first:
        telegram = Telegram()
        inbox = Inbox(store.peer())
        given = WebhookConfig(OURS, Address("127.0.0.1", 0), SECRET)
        second = Webhook(telegram, inbox, Accepting(inbox), given, allowed_updates=[])
        running = asyncio.create_task(second.run())
        assert await status(first, request()) == 200
        assert second.address == "127.0.0.1:0"
        assert telegram.calls == []
    await telegram.asked.wait()
    assert await status(second, request(UPDATE.replace(b":7,", b":8,", 1))) == 200
    running.cancel()
    await asyncio.wait({running})
    assert await appended(store) == 2


def soon(monkeypatch):
    monkeypatch.setattr("telegram.service.webhook.LOST_AFTER_S", 0.01)
    monkeypatch.setattr("telegram.service.webhook.RIGHT_EVERY_S", 0.01)


async def listens(webhook):
    try:
        _, writer = await asyncio.open_connection(*webhook._listener.address)
    except OSError:
        return False
    writer.close()
    return True


async def test_who_loses_the_right_closes_its_port_and_opens_it_when_it_is_regained(monkeypatch):
    """Else a proxy would go on asking it, and the process that may append would get nothing."""
    soon(monkeypatch)
    store, telegram = MemoryStore(), Telegram()
    async with serving(store, telegram) as webhook:
        other = store.peer()
        await store.resign(await store.right())
        right = await other.right()
        while webhook._listener._server is not None:
            await asyncio.sleep(0)
        assert not await listens(webhook)
        telegram.calls.clear()
        telegram.asked.clear()
        await other.resign(right)
        await telegram.asked.wait()
        assert [method for method, _ in telegram.calls] == ["setWebhook", "getWebhookInfo"]
        assert await status(webhook, request()) == 200


async def test_while_the_store_is_away_the_port_stays_open(monkeypatch):
    """Telegram asks again a second after a 503; without a listener its pauses grow to two minutes."""
    soon(monkeypatch)
    store = MemoryStore()
    right, failures = store.right, asyncio.Event()

    async def away():
        failures.set()
        raise StoreUnavailable("away")

    async with serving(store) as webhook:
        store.right = away  # type: ignore[method-assign]
        await failures.wait()
        for _ in range(3):
            assert await status(webhook, request()) == 503
        store.right = right  # type: ignore[method-assign]
        assert await status(webhook, request()) == 200


def test_the_secret_is_the_same_at_each_start_and_tells_nothing_of_the_token():
    token = "123456:a-made-up-token"
    found = WebhookSettings(webhook_url=OURS).webhook(token)
    assert found.secret == WebhookSettings(webhook_url=OURS).webhook(token).secret
    assert check_secret(found.secret) == found.secret
    assert len(found.secret) == 43
    assert found.secret != WebhookSettings(webhook_url=OURS + "2").webhook(token).secret
    assert found.secret != WebhookSettings(webhook_url=OURS).webhook(token + "2").secret
    assert WebhookSettings(webhook_url=OURS, webhook_secret="given").webhook(token).secret == "given"
    assert "123456" not in found.secret
    assert found.secret not in repr(found)


async def test_accept_takes_bytes_and_objects():
    store = MemoryStore()
    accepting = Accepting(Inbox(store))
    await accepting.accept(UPDATE)
    await accepting.accept(json.loads(UPDATE))
    await accepting.accept({"update_id": 8})
    assert await appended(store) == 2
    with pytest.raises(ValueError, match="not an update"):
        await accepting.accept({"ok": True})


@pytest.mark.parametrize("kind", [bytearray, memoryview, bytes.decode])
async def test_accept_takes_what_frameworks_give(kind):
    """Of aiohttp it is `request.text()` as well: a ValueError would be answered with 400, and hold the chat up at Telegram."""
    store = MemoryStore()
    accepting = Accepting(Inbox(store))
    await accepting.accept(kind(UPDATE))
    assert await appended(store) == 1
    for wrong in (None, 7, [("update_id", 8)]):
        wrong_one: Any = wrong
        with pytest.raises(TypeError, match="body of the request"):
            await accepting.accept(wrong_one)


def test_invalid_utf_8_stays_in_its_lane():
    update = read_update(UPDATE.replace(b'"a"', b'"\xff"'))
    assert update.fields is not None
    assert update.fields["message"]["chat"]["id"] == 5


async def test_a_bot_file_keeps_what_was_answered_with_200(tmp_path):
    url = f"sqlite:{tmp_path / 'a.db'}"
    store = await open_store(url, "1")
    async with serving(store) as webhook:
        assert await status(webhook, request()) == 200
    await store.close()
    store = await open_store(url, "1")
    async with serving(store) as webhook:
        assert await status(webhook, request()) == 200
    assert (await store.stats()).inbox.pending == 1
    await store.close()


@pytest.mark.parametrize(
    "url",
    ["http://a.example/x", "https://a.example:444/x", "https://a.example:x/", "a.example", "https:///x", "ftp://a/x",
     "https://a.example/x?y", "https://a.example/x#y", ""],
)  # fmt: skip
def test_a_url_that_telegram_refuses(url):
    """Telegram Bot API, setWebhook: https, ports 443, 80, 88 and 8443."""
    with pytest.raises(ValueError, match=r"URL like|Telegram sends to"):
        check_url(url, local=False)


@pytest.mark.parametrize(
    "url", ["https://a.example/a b", " https://a.example/", "https://a.example/x\n", "https://a.example/ß"]
)
def test_a_url_that_telegram_writes_in_another_way(url):
    """td, HttpUrl.cpp, parse_url: Telegram percent-encodes spaces in the path of its requests, and leaves other characters."""
    with pytest.raises(ValueError, match="percent-encode"):
        check_url(url, local=False)


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CERTIFICATE + "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n", "private key"),
        ("-----BEGIN EC PRIVATE KEY-----\nMA==\n-----END EC PRIVATE KEY-----\n" + CERTIFICATE, "private key"),
        ("\x30\x03", "no certificate in PEM"),
        (None, "cannot be read: No such file"),
    ],
)
def test_the_file_of_a_certificate_is_sent_without_a_private_key(tmp_path, text, said):
    """HAProxy wants both in one file; rubenlagus/TelegramBots issue 212: which of the files is the one for Telegram?"""
    file = tmp_path / "own.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=said):
        WebhookConfig(certificate=file)
    with pytest.raises(ValueError, match=said):
        WebhookSettings(webhook_certificate=file)
    file.write_text(CERTIFICATE)
    assert WebhookSettings(webhook_url=OURS, webhook_certificate=file).webhook("1:x").certificate == file


@pytest.mark.parametrize(
    ("settings", "is_right"),
    [
        ({"webhook_networks": "149.154.160.0/20"}, False),
        ({"webhook_networks": "149.154.160.0/20", "webhook_listen": "[::1]:80"}, False),
        ({"webhook_networks": "149.154.160.0/20", "webhook_proxies": "127.0.0.1"}, True),
        ({"webhook_networks": "149.154.160.0/20", "webhook_listen": "10.0.0.1:80"}, True),
        ({"webhook_networks": "127.0.0.1/32"}, True),
        ({}, True),
    ],
)
def test_networks_behind_a_proxy_that_is_not_named_would_refuse_everything(settings, is_right):
    """aiogram issue 47, n8n-io/n8n issue 11175: behind a proxy all requests have its address."""
    error = WebhookSettings(webhook_url=OURS, **settings).webhook_error(local=False)
    assert (error is None) if is_right else ("WEBHOOK_PROXIES" in str(error))


def test_urls():
    for url in ("https://a.example/x", "https://a.example:88/x", "https://a.example:8443"):
        check_url(url, local=False)
    check_url("http://127.0.0.1:9000/x", local=True)
