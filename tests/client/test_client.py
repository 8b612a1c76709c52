import asyncio
import gc
import gzip
import json
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

import telegram.client.wire
from telegram.botapi.errors import (
    Conflict,
    NotSent,
    OutcomeUnknown,
    Refused,
    RetryAfter,
    ServerTrouble,
    TelegramError,
    Unauthorized,
)
from telegram.botapi.types import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.client import TgClient
from telegram.client.wire import ANSWER_MAX, POLL_ANSWER_MAX
from tests.kit.bounds import WITHIN_S

SECRET = "AAH" + "q-9_" * 8
TOKEN = f"123456789:{SECRET}"
ME = {"id": 123456789, "is_bot": True, "first_name": "Lane"}
SENT = {"message_id": 3, "date": 1, "chat": {"id": 5, "type": "private"}, "text": "hi"}
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"


def ok(result: Any) -> web.Response:
    return web.Response(body=json.dumps({"ok": True, "result": result}, separators=(",", ":")).encode())


def no(code: int, description: str, **headers: str) -> web.Response:
    body = json.dumps({"ok": False, "error_code": code, "description": description})
    return web.Response(status=code, text=body, headers=headers)


class Server:
    """Answers with what the test puts into `answer`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.transports: set[Any] = set()
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.hang
        self.arrived = asyncio.Event()
        self.dropped = asyncio.Event()
        self.go_on = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.raw_path, await request.read()))
        self.headers.append(dict(request.headers))
        self.transports.add(request.transport)
        self.arrived.set()
        try:
            return await self.answer(request)
        except asyncio.CancelledError:
            self.dropped.set()
            raise

    async def hang(self, _: web.Request) -> web.StreamResponse:
        await self.go_on.wait()
        return ok([])

    def gives(self, response: Callable[[], web.StreamResponse]) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            return response()

        self.answer = answer

    def breaks(self, raw: bytes, *, abort: bool = False) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            transport = request.transport
            assert transport is not None
            transport.write(raw)
            if abort:
                transport.abort()
            else:
                transport.close()
            return web.Response()

        self.answer = answer


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    scripted = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", scripted.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    scripted.go_on.set()
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[TgClient]:
    async with TgClient(TOKEN, base_url=server.url) as opened:
        yield opened


@pytest.fixture
async def jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the loop's clock forward; what is due then runs at once."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        pytest.skip("the clock of uvloop cannot be moved")

    def by(seconds: float) -> None:
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + seconds)

    return by


async def test_get_me(server: Server, client: TgClient) -> None:
    server.gives(lambda: ok(ME))
    me = await client.get_me()
    assert (me.id, me.first_name) == (client.bot_id, "Lane")
    assert server.asked == [(f"/bot{TOKEN}/getMe", b"{}")]
    assert server.headers[0]["Content-Type"] == "application/json"
    assert server.headers[0]["Host"] == server.url.removeprefix("http://")


async def test_base_url_may_have_a_path(server: Server) -> None:
    server.gives(lambda: ok(ME))
    async with TgClient(TOKEN, base_url=server.url + "/tg%2F1/") as client:
        await client.get_me()
    assert server.asked[0][0] == f"/tg%2F1/bot{TOKEN}/getMe"


async def test_post_sends_the_bytes_as_they_are(server: Server, client: TgClient) -> None:
    server.gives(lambda: ok(True))
    body = b'{"chat_id" : 5, "text": "\xd0\x96"}' + b" " * 300_000
    await client.post("sendMessage", body)
    assert server.asked == [(f"/bot{TOKEN}/sendMessage", body)]


async def test_post_takes_any_spelling_of_success(server: Server, client: TgClient) -> None:
    server.gives(lambda: web.Response(text='{ "result": {}, "ok": true }'))
    await client.post("sendMessage", b"{}")


@pytest.mark.parametrize(
    "text", ['{"ok":false}', '{"ok":1,"result":1}', '{"result":1}', "", "<html>", '{"ok":true,"resu']
)
async def test_post_takes_nothing_else_for_success(server: Server, client: TgClient, text: str) -> None:
    server.gives(lambda: web.Response(text=text))
    with pytest.raises(ServerTrouble):
        await client.post("sendMessage", b"{}")


async def test_status_counts_more_than_the_look_of_the_body(server: Server, client: TgClient) -> None:
    server.gives(lambda: web.Response(status=502, text='{"ok":true,"result":1}'))
    with pytest.raises(ServerTrouble):
        await client.post("sendMessage", b"{}")
    with pytest.raises(ServerTrouble):
        await client.call("sendMessage")


async def test_connections_are_kept(server: Server, client: TgClient) -> None:
    server.gives(lambda: no(400, "Bad Request: chat not found"))
    for _ in range(3):
        with pytest.raises(Refused):
            await client.post("sendMessage", b"{}")
    assert len(server.transports) == 1


async def test_send_message(server: Server, client: TgClient) -> None:
    server.gives(lambda: ok(SENT))
    keyboard = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Go", callback_data="g")]])
    message = await client.send_message(chat_id=5, text="Ж", reply_markup=keyboard, parse_mode=None)
    assert message.message_id == 3
    assert json.loads(server.asked[0][1]) == {
        "chat_id": 5,
        "text": "Ж",
        "reply_markup": {"inline_keyboard": [[{"text": "Go", "callback_data": "g"}]]},
    }


async def test_result_of_another_shape_is_server_trouble(server: Server, client: TgClient) -> None:
    server.gives(lambda: ok({"message_id": 3}))
    with pytest.raises(ServerTrouble, match="no Message"):
        await client.send_message(chat_id=5, text="hi")


async def test_call_gives_the_result(server: Server, client: TgClient) -> None:
    server.gives(lambda: ok([{"a": None}]))
    assert await client.call("getSomething", method="x", list=[1, {"b": "c"}]) == [{"a": None}]
    assert json.loads(server.asked[0][1]) == {"method": "x", "list": [1, {"b": "c"}]}


@pytest.mark.parametrize("method", ["", "get Me", "getMe HTTP/1.1\r\nX: y", "../getMe", "gétMe"])
async def test_name_of_a_method_cannot_change_the_request(
    server: Server, client: TgClient, method: str
) -> None:
    with pytest.raises(ValueError, match="letters and digits"):
        await client.post(method, b"{}")
    assert server.asked == []


@pytest.mark.parametrize("value", [object(), float("nan"), "\ud800"])
async def test_what_json_cannot_hold_is_not_sent(server: Server, client: TgClient, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        await client.call("sendMessage", text=value)
    assert server.asked == []


async def test_get_updates_gives_exact_bytes(server: Server, client: TgClient) -> None:
    bodies = [b'{"update_id":8, "message":{}}', b'{"update_id":9,"callback_query":{"data":"\xff"}}']
    server.gives(lambda: web.Response(body=b'{"ok":true,"result":[' + b",".join(bodies) + b"]}"))
    raws = await client.get_updates(8, limit=7, timeout_s=3, allowed_updates=("message",))
    assert [(raw.update_id, raw.body) for raw in raws] == [(8, bodies[0]), (9, bodies[1])]
    asked = {"offset": 8, "limit": 7, "timeout": 3, "allowed_updates": ["message"]}
    assert [json.loads(body) for _, body in server.asked] == [asked]


async def test_get_updates_leaves_out_what_is_not_given(server: Server, client: TgClient) -> None:
    server.gives(lambda: ok([]))
    assert await client.get_updates() == []
    assert json.loads(server.asked[0][1]) == {"limit": 100, "timeout": 50}


async def test_update_without_an_id_stands_at_the_offset(server: Server, client: TgClient) -> None:
    server.gives(lambda: ok([{}]))
    assert [raw.update_id for raw in await client.get_updates(8)] == [8]


@pytest.mark.parametrize("text", ["", "<html>", '{"ok":true}', '{"ok":true,"result":{}}', "[]"])
async def test_get_updates_needs_a_list(server: Server, client: TgClient, text: str) -> None:
    server.gives(lambda: web.Response(text=text))
    with pytest.raises(ServerTrouble):
        await client.get_updates()


async def test_get_updates_maps_refusals(server: Server, client: TgClient) -> None:
    server.gives(lambda: no(409, "Conflict: terminated by other getUpdates request"))
    with pytest.raises(Conflict):
        await client.get_updates()


async def test_unreadable_update_is_skipped_with_a_warning(server: Server, client: TgClient) -> None:
    good = {"update_id": 8, "message": SENT}
    server.gives(
        lambda: ok([{"update_id": 7, "message": {"text": "private"}}, good, {"update_id": 9, "x": {}}])
    )
    with capture_logs() as logs:
        updates = await client.get_updates_in_objects(7, limit=3, timeout_s=1, allowed_updates=["message"])
    assert [update.update_id for update in updates] == [8]
    warning = {"event": "unreadable update skipped", "log_level": "warning"}
    assert logs == [warning | {"update_id": 7}, warning | {"update_id": 9}]
    asked = {"offset": 7, "limit": 3, "timeout": 1, "allowed_updates": ["message"]}
    assert json.loads(server.asked[0][1]) == asked


async def test_wait_of_a_flood_comes_from_the_header_too(server: Server, client: TgClient) -> None:
    server.gives(lambda: no(429, "Too Many Requests", **{"Retry-After": "11"}))
    with pytest.raises(RetryAfter) as caught:
        await client.post("sendMessage", b"{}")
    assert caught.value.retry_after_s == 11


async def test_unknown_token_is_found_out_by_get_me(server: Server, client: TgClient) -> None:
    server.gives(lambda: no(404, "Not Found"))
    with pytest.raises(Unauthorized):
        await client.get_me()


async def test_a_connection_that_closes_when_it_is_taken_was_not_used(
    server: Server, client: TgClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gives(lambda: ok(ME))
    connect = client._calls._connect

    async def closing(method: str) -> Any:
        connection = await connect(method)
        assert connection.transport is not None
        connection.transport.abort()
        return connection

    with monkeypatch.context() as patched, pytest.raises(NotSent, match="connection lost"):
        patched.setattr(client._calls, "_connect", closing)
        await client.get_me()
    assert (await client.get_me()).id == 123456789


async def test_refused_connection_is_not_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with TgClient(TOKEN, base_url=url) as client:
            with pytest.raises(NotSent, match="getMe: not sent, Cannot connect to host"):
                await client.get_me()


@pytest.mark.parametrize(
    ("failure", "text"), [(TimeoutError(), "no connection in 30 s"), (OSError(24, "no files"), "no files")]
)
async def test_failure_to_get_a_connection_is_not_sent(
    client: TgClient, monkeypatch: pytest.MonkeyPatch, failure: Exception, text: str
) -> None:
    async def connect(*_: Any, **__: Any) -> Any:
        raise failure

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect)
    with pytest.raises(NotSent, match=text):
        await client.get_me()


@pytest.mark.parametrize("abort", [True, False])
@pytest.mark.parametrize(
    "raw", [b"", HALF, HALF + b'{"ok":true', b"HTTP/1.1 100 Continue\r\n\r\n", b"\x00\r\n\r\n"]
)
async def test_cut_or_garbled_answer_leaves_the_outcome_unknown(
    server: Server, client: TgClient, raw: bytes, abort: bool
) -> None:
    server.breaks(raw, abort=abort)
    with pytest.raises(OutcomeUnknown):
        await client.post("sendMessage", b"{}")
    assert len(server.asked) == 1  # nobody repeats it unasked


async def test_answer_without_a_length_ends_with_the_connection(server: Server, client: TgClient) -> None:
    server.breaks(b'HTTP/1.0 200 OK\r\n\r\n{"ok":true,"result":5}')
    assert await client.call("getSomething") == 5


async def test_interim_answers_are_passed_over(server: Server, client: TgClient) -> None:
    server.breaks(
        b'HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{"ok":true,"result":5}'
    )
    assert await client.call("getSomething") == 5


async def test_an_unrequested_compressed_answer_is_read(server: Server, client: TgClient) -> None:
    server.gives(
        lambda: web.Response(
            body=gzip.compress(b'{"ok":true,"result":5}'), headers={"Content-Encoding": "gzip"}
        )
    )
    assert await client.call("getSomething") == 5


async def test_answer_in_pieces_is_put_together(server: Server, client: TgClient) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"ok":true,"result":"')
        for _ in range(40):
            await response.write(b"x" * 50_000)
        await response.write(b'"}')
        return response

    server.answer = answer
    assert await client.call("getSomething") == "x" * 2_000_000


@pytest.mark.parametrize(("method", "bound"), [("getSomething", ANSWER_MAX), ("getUpdates", POLL_ANSWER_MAX)])
async def test_endless_answer_is_cut(method: str, bound: int, server: Server, client: TgClient) -> None:
    written, cut = 0, asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while written < bound + 32 * 2**20:
                await response.write(b"x" * 1_000_000)
                written += 1_000_000
        except ConnectionError:
            return response
        finally:
            cut.set()
        return response

    server.answer = answer
    with pytest.raises(OutcomeUnknown, match="ClientPayloadError"):
        await (client.get_updates() if method == "getUpdates" else client.call(method))
    await asyncio.wait_for(cut.wait(), WITHIN_S)
    assert written < bound + 16 * 2**20  # and what the sockets hold


async def test_silence_is_cut_and_leaves_the_outcome_unknown(
    server: Server, jump: Callable[[float], None]
) -> None:
    async with TgClient(TOKEN, base_url=server.url, connections=1) as client:
        call = asyncio.create_task(client.post("sendMessage", b"{}"))
        await server.arrived.wait()
        jump(31)
        with pytest.raises(OutcomeUnknown, match="no answer in 30 s"):
            await asyncio.wait_for(call, WITHIN_S)
        server.gives(lambda: ok(True))
        await client.post("sendMessage", b"{}")  # its place in the pool is free again


async def test_deadline_counts_from_the_request_not_from_the_sweep(
    server: Server, client: TgClient, jump: Callable[[float], None]
) -> None:
    early = asyncio.create_task(client.call("getMe"))
    await server.arrived.wait()
    jump(20)
    server.arrived.clear()
    late = asyncio.create_task(client.call("getMe"))
    await server.arrived.wait()
    jump(11)
    with pytest.raises(OutcomeUnknown):
        await asyncio.wait_for(early, WITHIN_S)
    server.go_on.set()
    assert await asyncio.wait_for(late, WITHIN_S) == []


async def test_poll_may_be_silent_for_longer_than_a_call(
    server: Server, client: TgClient, jump: Callable[[float], None]
) -> None:
    poll = asyncio.create_task(client.get_updates(timeout_s=50))
    await server.arrived.wait()
    server.arrived.clear()
    call = asyncio.create_task(client.call("getMe"))
    await server.arrived.wait()
    jump(55)
    with pytest.raises(OutcomeUnknown):
        await asyncio.wait_for(call, WITHIN_S)
    server.go_on.set()
    assert await asyncio.wait_for(poll, WITHIN_S) == []


async def test_calls_that_hang_do_not_delay_a_poll(server: Server) -> None:
    async with TgClient(TOKEN, base_url=server.url, connections=1) as client:
        stuck = asyncio.create_task(client.call("getMe"))
        await server.arrived.wait()
        server.gives(lambda: ok([]))
        assert await asyncio.wait_for(client.get_updates(), WITHIN_S) == []
        stuck.cancel()


async def test_cancelling_aborts_the_request(server: Server, client: TgClient) -> None:
    poll = asyncio.create_task(client.get_updates())
    await server.arrived.wait()
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    await asyncio.wait_for(server.dropped.wait(), WITHIN_S)


async def test_cancelling_keeps_the_rest_of_a_request_back(server: Server) -> None:
    body, read = b" " * 2**25, 0  # more than the kernel takes at once
    cancelled, counted = asyncio.Event(), asyncio.Event()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal read
        server.arrived.set()
        await cancelled.wait()
        with suppress(ConnectionError):
            while chunk := await reader.read(2**20):
                read += len(chunk)
        writer.close()
        counted.set()

    async with await asyncio.start_server(count, "127.0.0.1", 0) as slow:
        async with TgClient(TOKEN, base_url=f"http://127.0.0.1:{slow.sockets[0].getsockname()[1]}") as client:
            call = asyncio.create_task(client.post("sendMessage", body))
            await server.arrived.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        cancelled.set()
        await asyncio.wait_for(counted.wait(), WITHIN_S)
    assert read < len(body)


async def test_close_cuts_what_is_running(server: Server, client: TgClient) -> None:
    running = asyncio.create_task(client.call("getMe"))
    await server.arrived.wait()
    closing = asyncio.create_task(client.close())
    _, waiting = await asyncio.wait({closing, running}, timeout=WITHIN_S)
    running.cancel()  # else whoever closes the client next would wait for it, too
    assert not waiting
    with pytest.raises(OutcomeUnknown, match="Disconnected"):
        await running
    with pytest.raises(NotSent, match="closed"):
        await client.get_me()


async def test_close_cuts_an_answer_that_is_half_read(
    server: Server, client: TgClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(HALF + b'{"ok":true')
        return await server.hang(request)

    reading, rest = asyncio.Event(), telegram.client.wire._rest

    async def noted(payload: aiohttp.StreamReader, answer_max: int) -> bytes:
        reading.set()
        return await rest(payload, answer_max)

    server.answer = answer
    monkeypatch.setattr(telegram.client.wire, "_rest", noted)
    running = asyncio.create_task(client.call("getMe"))
    await reading.wait()
    await client.close()
    with pytest.raises(OutcomeUnknown):
        await asyncio.wait_for(running, WITHIN_S)


async def test_client_that_was_never_used_closes_too(server: Server) -> None:
    async with TgClient(TOKEN, base_url=server.url) as client:
        pass
    with pytest.raises(NotSent, match="the client is closed"):
        await client.get_me()
    assert server.asked == []


async def test_nothing_is_left_of_a_call_that_is_over(
    server: Server, client: TgClient, jump: Callable[[float], None]
) -> None:
    server.gives(lambda: no(400, "Bad Request: chat not found"))
    for call in (client.get_me, client.get_updates):
        with pytest.raises(Refused):
            await call()
    jump(2)
    for _ in range(2):  # what is due runs after what is ready
        await asyncio.sleep(0)
    for wire in (client._calls, client._polls):
        assert not wire._deadlines
        assert wire._sweeper is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        SECRET,
        f"0{TOKEN}",
        f"{TOKEN}\n",
        f"{TOKEN}/x",
        f" {TOKEN}",
        f"x:{SECRET}",
        f"1:{'a' * 65}",
        f"{2**54}:a",
        f"{10**16}:{'a' * 64}",
    ],
)
def test_malformed_token_is_refused_without_quoting_it(token: str) -> None:
    with pytest.raises(ValueError, match="malformed bot token") as caught:
        TgClient(token)
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.telegram.org",
        "ftp://h",
        "https://",
        f"https://u:{SECRET}@h",
        f"http://h/?{SECRET}",
        "http://h#x",
        "//h",
    ],
)
def test_malformed_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ValueError, match="malformed base URL") as caught:
        TgClient(TOKEN, base_url=url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("bad", [{"connections": 0}, {"timeout_s": 0}])
def test_limits_must_be_positive(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="positive"):
        TgClient(TOKEN, **bad)


def told(error: BaseException | None) -> str:
    """Whatever of an error could reach a log."""
    if error is None:
        return ""
    seen = f"{error} {error!r} {error.args!r} {vars(error)!r} {''.join(traceback.format_exception(error))}"
    return seen + told(error.__context__) + told(error.__cause__)


async def test_token_is_in_no_error(
    server: Server, client: TgClient, jump: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = f"/bot{TOKEN}/getMe"
    failures: list[Callable[[], None]] = [
        *(partial(server.gives, partial(no, code, f"{path} {SECRET}")) for code in (400, 401, 409, 429, 500)),
        lambda: server.gives(lambda: web.Response(status=502, text=f"<html>{path}</html>")),
        lambda: server.gives(lambda: web.Response(status=302, headers={"Location": path})),
        lambda: server.gives(lambda: web.Response(text=path)),
        lambda: server.gives(lambda: ok({"id": TOKEN})),
        lambda: server.breaks(b""),
        lambda: server.breaks(HALF, abort=True),
        lambda: server.breaks(path.encode() + b"\r\n\r\n"),
        lambda: setattr(server, "answer", server.hang),
    ]
    errors: list[TelegramError] = []
    with capture_logs() as logs:
        for fail, poll in product(failures, (False, True)):
            fail()
            server.arrived.clear()
            asking = asyncio.ensure_future(client.get_updates() if poll else client.get_me())
            await server.arrived.wait()
            jump(100)
            with pytest.raises(TelegramError) as caught:
                await asyncio.wait_for(asking, WITHIN_S)
            errors.append(caught.value)
        await client.close()
        with pytest.raises(NotSent) as closed:
            await client.get_me()
    gc.collect()
    everything = "".join(map(told, [*errors, closed.value])) + repr(client) + repr(logs) + caplog.text
    assert SECRET not in everything


@pytest.mark.parametrize(
    ("base_url", "is_this_machine"),
    [
        ("http://localhost:8081", True),
        ("http://LOCALHOST", True),
        ("http://127.0.0.1:1/path", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:8081", True),
        ("https://bot-api.example", True),
        ("http://bot-api.example", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://10.0.0.7:8081", False),
        ("http://192.168.1.1", False),
        ("http://0.0.0.0", False),
        ("http://[::]", False),
        ("http://bot-api:8081", False),
        ("http://2130706433", False),
    ],
)
def test_without_tls_only_this_machine_is_asked(base_url: str, is_this_machine: bool) -> None:
    TgClient(TOKEN, base_url=base_url, allow_http=True)
    if is_this_machine:
        TgClient(TOKEN, base_url=base_url)
    else:
        with pytest.raises(ValueError, match=r"http:// to another machine .*TELEGRAM_ALLOW_HTTP=true"):
            TgClient(TOKEN, base_url=base_url)
