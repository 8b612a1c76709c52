import asyncio
import io
import json
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest

from telegram.fake import DEFAULT_TOKEN, FakeServer, Fault, UpdateQueue
from telegram.load.bot.service import held_port

ANSWER = {"chat_id": 5, "text": "hi"}


@pytest.fixture
async def server():
    async with FakeServer(seed=1) as server:
        server.world.add_user("Ann", user_id=5)
        yield server


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def api(server, http):
    async def call(method, *, verb="POST", token=DEFAULT_TOKEN, prefix="", **request):
        url = f"{server.url}/bot{token}/{prefix}{method}"
        async with http.request(verb, url, **request) as answer:
            return answer.status, await answer.json()

    return call


@asynccontextmanager
async def raw_connection(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def ids(answer):
    return [update["update_id"] for update in answer[1]["result"]]


# -- encodings and paths ---------------------------------------------------------------------------------


def multipart(fields):
    form = aiohttp.FormData()
    for name, value in fields.items():
        form.add_field(name, value, content_type="text/plain")
    form.add_field("document", b"12345", filename="a.txt", content_type="text/plain")
    return form


TEXT_PARAMS = {"chat_id": "5", "text": "hi ж&=", "reply_markup": '{"force_reply":true}', "unheard_of": "1"}


@pytest.mark.parametrize(
    ("verb", "request_with"),
    [
        ("GET", lambda: {"params": TEXT_PARAMS}),
        ("GET", lambda: {"data": TEXT_PARAMS}),
        ("GET", lambda: {"data": multipart(TEXT_PARAMS)}),
        ("GET", lambda: {"json": TEXT_PARAMS}),
        ("POST", lambda: {"params": TEXT_PARAMS}),
        ("POST", lambda: {"data": TEXT_PARAMS}),
        ("POST", lambda: {"data": multipart(TEXT_PARAMS)}),
        ("POST", lambda: {"json": TEXT_PARAMS}),
        ("POST", lambda: {"json": {"chat_id": 5, "text": "hi ж&=", "reply_markup": {"force_reply": True}}}),
    ],
)
async def test_every_encoding(api, server, verb, request_with):
    status, answer = await api("sendMessage", verb=verb, **request_with())
    assert (status, answer["ok"], answer["result"]["text"]) == (200, True, "hi ж&=")
    (call,) = server.calls
    assert (call.method, call.chat_id, call.text, call.status, call.delivered) == (
        *("sendMessage", 5, "hi ж&=", 200, True),
    )


async def test_the_log_keeps_unknown_parameters_and_notes_files(api, server):
    await api("sendMessage", data=multipart(TEXT_PARAMS))
    assert server.calls[0].params == TEXT_PARAMS | {"document": {"file_name": "a.txt", "size": 5}}


async def test_the_query_string_ranks_first_and_null_is_absent(api, server):
    await api(
        "sendMessage", params={"text": "query"}, json={"chat_id": 5, "text": "body", "reply_markup": None}
    )
    assert server.calls[0].params == {"chat_id": 5, "text": "query"}


@pytest.mark.parametrize("path", ["SENDMESSAGE", "sendmessage", "test/sendMessage", "test/SendMessage"])
async def test_method_names_in_any_case_and_the_test_environment(api, server, path):
    assert (await api(path, json=ANSWER))[0] == 200
    assert server.calls[0].method == "sendMessage"


async def test_an_escaped_token_is_the_same_token(server):
    async with raw_connection(server) as (reader, writer):
        path = f"/bot{DEFAULT_TOKEN.replace(':', '%3A')}/getMe"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("token", "method", "status", "description"),
    [
        ("42:wrong", "getMe", 401, "Unauthorized"),
        ("malformed", "getMe", 404, "Not Found"),
        ("0:x", "getMe", 404, "Not Found"),
        (DEFAULT_TOKEN, "sendGremlin", 404, "Not Found: method not found"),
        (DEFAULT_TOKEN, "a/b", 404, "Not Found"),
    ],
)
async def test_wrong_addresses(api, token, method, status, description):
    answer = {"ok": False, "error_code": status, "description": description}
    assert await api(method, token=token) == (status, answer)


async def test_another_path_is_404(http, server):
    async with http.get(f"{server.url}/file/x") as answer:
        assert (answer.status, (await answer.json())["error_code"]) == (404, 404)


async def test_a_strict_server_refuses_what_the_schema_does_not_say(http):
    async with FakeServer(strict=True) as server:
        url = f"{server.url}/bot{DEFAULT_TOKEN}/getMe"
        async with http.post(url, json={"verbose": True}) as answer:
            assert (await answer.json())["description"] == 'Bad Request: unknown parameter "verbose"'


async def test_an_unknown_method_is_in_the_log_too(api, server):
    await api("sendGremlin", json={"a": 1})
    assert server.calls[0][2:] == ("sendgremlin", {"a": 1}, 404, False)


TOO_LARGE = b"x" * ((1 << 20) + 1)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[1]", 400), (b'{"text":"\xff"}', 400), (TOO_LARGE, 413), (b"[" * 100_000, 400)],
    ids=["cut", "array", "not-utf-8", "too-large", "too-deep"],
)
async def test_bodies_that_are_refused(api, server, body, status):
    answered, answer = await api(
        "sendMessage", data=io.BytesIO(body), headers={"Content-Type": "application/json"}
    )
    assert (answered, answer["ok"], answer["error_code"]) == (status, False, status)
    assert server.calls[0].status == status


async def test_an_empty_json_body_has_no_parameters(api):
    status, answer = await api("getMe", data=b"", headers={"Content-Type": "application/json"})
    assert (status, answer["result"]["username"]) == (200, "chatlane_bot")


async def test_an_error_has_its_code_twice(api, server):
    status, answer = await api("sendMessage", json={"chat_id": 404, "text": "hi"})
    assert status == 400
    assert answer == {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
    assert server.calls[0][4:] == (400, False)


async def test_blocked(api, server):
    server.world.block(5)
    assert await api("sendMessage", json=ANSWER) == (
        403,
        {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"},
    )


async def test_a_connection_serves_many_calls_and_closes_on_request(server):
    async with raw_connection(server) as (reader, writer):
        request = f"GET /bot{DEFAULT_TOKEN}/getMe HTTP/1.1\r\nHost: localhost\r\n".encode()
        writer.write((request + b"\r\n") * 2 + request + b"Connection: close\r\n\r\n")
        everything = await reader.read()
    assert everything.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert everything.count(b"Connection: keep-alive\r\n") == 2
    assert everything.count(b"Connection: close\r\n") == 1


# -- getUpdates ------------------------------------------------------------------------------------------


async def test_updates_arrive_byte_for_byte(http, server):
    server.queue.restart_ids(100)
    server.world.push_raw(b'"callback_query":{"data":"\xff\xfe"}')
    async with http.get(f"{server.url}/bot{DEFAULT_TOKEN}/getUpdates") as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert await answer.read() == (
            b'{"ok":true,"result":[{"update_id":100,"callback_query":{"data":"\xff\xfe"}}]}'
        )


async def test_offset_limit_and_allowed_updates(api, server):
    server.queue.restart_ids(100)
    for n in range(3):
        server.world.send_message(5, 5, str(n))
    assert ids(await api("getUpdates", json={"limit": 2, "allowed_updates": ["message"]})) == [100, 101]
    assert ids(await api("getUpdates", params={"offset": "101"})) == [101, 102]
    assert ids(await api("getUpdates", data={"offset": "103", "allowed_updates": "[]"})) == []
    assert [(poll.offset, poll.limit, poll.returned) for poll in server.polls] == [
        *((0, 2, 2), (101, 100, 2), (103, 100, 0)),
    ]
    assert server.calls == []
    assert server.stats() == (0, 3, 0, 0, {"getUpdates": 3}, 0, 3, 0)


async def test_wrong_parameters_of_get_updates(api, server):
    status, answer = await api("getUpdates", json={"timeout": "soon"})
    assert (status, answer["description"]) == (400, 'Bad Request: parameter "timeout": must be an Integer')
    assert server.polls[0].returned == -1


async def test_a_long_poll_wakes_up_at_once(api, server):
    poll = asyncio.create_task(api("getUpdates", json={"timeout": 50}))
    await server.wait_for_long_poll()
    update_id = server.world.send_message(5, 5, "hi")
    assert ids(await poll) == [update_id]


async def test_a_second_poller_ends_the_first(api, server):
    older = asyncio.create_task(api("getUpdates", json={"timeout": 50}))
    await server.wait_for_long_poll()
    newer = asyncio.create_task(api("getUpdates", json={"timeout": 50, "offset": 1}))
    status, answer = await older
    assert (status, answer["error_code"]) == (409, 409)
    assert answer["description"] == (
        "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
    )
    server.world.send_message(5, 5, "hi")
    assert len(ids(await newer)) == 1
    assert [poll.returned for poll in server.polls] == [-1, 1]


async def test_a_poller_that_went_away_is_not_waited_for(api, server):
    poll = asyncio.create_task(api("getUpdates", json={"timeout": 50}))
    await server.wait_for_long_poll()
    poll.cancel()
    await asyncio.wait([poll])
    while server._long_poll._waiter is not None:
        await asyncio.sleep(0)  # until the server has seen the connection close
    server.world.send_message(5, 5, "hi")
    assert len(ids(await api("getUpdates", json={"offset": 1}))) == 1
    assert len(server.polls) == 1


async def test_409_while_a_webhook_is_set(api, server):
    server.queue.webhook_url = "https://example.org/"
    assert (await api("getUpdates"))[0] == 409
    assert (await api("deleteWebhook"))[1]["description"] == "Webhook was deleted"
    assert (await api("getUpdates"))[0] == 200


async def test_updates_expire_by_the_queues_clock(api):
    now = 0.0
    async with FakeServer(queue=UpdateQueue(clock=lambda: now)) as server, aiohttp.ClientSession() as http:
        server.world.push("inline_query", {"id": "1", "from": {"id": 5}})
        now += 30
        async with http.get(f"{server.url}/bot{DEFAULT_TOKEN}/getUpdates") as answer:
            assert (await answer.json())["result"] == []
        assert server.stats().expired == 1


async def test_logged_out(api):
    await api("logOut")
    for method in ("getUpdates", "getMe"):
        assert (await api(method))[1]["description"] == "Logged out"


# -- faults ----------------------------------------------------------------------------------------------


async def test_429_is_not_executed(http, server, api):
    fault = server.faults.add(Fault("status", code=429, retry_after=3, method="sendMessage", times=1))
    async with http.post(f"{server.url}/bot{DEFAULT_TOKEN}/sendMessage", json=ANSWER) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
        assert await answer.json() == {
            "ok": False,
            "error_code": 429,
            "description": "Too Many Requests: retry after 3",
            "parameters": {"retry_after": 3},
        }
    assert server.world.messages(5) == []
    assert (await api("sendMessage", json=ANSWER))[0] == 200
    assert [(call.status, call.delivered) for call in server.calls] == [(429, False), (200, True)]
    assert fault.hits == 1


async def test_a_fault_hits_its_chat_only(server, api):
    server.faults.add(Fault("status", code=403, chat_id=6))
    server.world.add_user("Bob", user_id=6)
    assert (await api("sendMessage", json=ANSWER))[0] == 200
    assert (await api("sendMessage", data={"chat_id": "6", "text": "x"}))[0] == 403


async def test_a_status_that_http_does_not_know(server, api):
    server.faults.add(Fault("status", code=599))
    assert (await api("getMe"))[0] == 599


async def test_html(http, server):
    server.faults.add(Fault("html"))
    async with http.post(f"{server.url}/bot{DEFAULT_TOKEN}/sendMessage", json=ANSWER) as answer:
        assert (answer.status, answer.content_type) == (502, "text/html")
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(await answer.read())
    assert server.calls[0][4:] == (502, False)


async def test_garbage(http, server):
    server.faults.add(Fault("garbage"))
    async with http.post(f"{server.url}/bot{DEFAULT_TOKEN}/sendMessage", json=ANSWER) as answer:
        assert answer.status == 200
        with pytest.raises(ValueError, match="Expecting value"):
            await answer.json()
    assert server.calls[0][4:] == (200, False)


async def test_slow_is_executed_at_once_and_answered_late(server, api):
    server.faults.add(Fault("slow", seconds=0.05))
    loop = asyncio.get_running_loop()
    asked = loop.time()
    call = asyncio.create_task(api("sendMessage", json=ANSWER))
    await server.wait_for_calls(1)
    assert not call.done()
    assert len(server.world.messages(5)) == 1
    assert (await call)[0] == 200
    assert loop.time() - asked >= 0.05


async def test_cut_before_is_not_executed(server, api):
    server.faults.add(Fault("cut_before", times=1))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await api("sendMessage", json=ANSWER)
    assert server.calls[0][4:] == (0, False)
    assert server.world.messages(5) == []
    assert (await api("sendMessage", json=ANSWER))[0] == 200


async def test_cut_after_is_executed(server, api):
    server.faults.add(Fault("cut_after"))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await api("sendMessage", json=ANSWER)
    assert server.calls[0][4:] == (0, True)
    assert len(server.world.messages(5)) == 1


async def test_cut_after_a_refusal_has_no_effect(server, api):
    server.faults.add(Fault("cut_after"))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await api("sendMessage", json={"chat_id": 5})
    assert server.calls[0][4:] == (0, False)


async def test_truncate_shows_the_head_and_half_of_the_body(server):
    server.faults.add(Fault("truncate", times=1))
    async with raw_connection(server) as (reader, writer):
        writer.write(f"GET /bot{DEFAULT_TOKEN}/getMe HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    promised = int(head.partition(b"Content-Length: ")[2].split()[0])
    assert len(body) == promised // 2
    assert server.calls[0][4:] == (0, True)


async def test_a_truncated_reply_is_an_error_to_the_client(server, api):
    server.faults.add(Fault("truncate"))
    with pytest.raises(aiohttp.ClientPayloadError):
        await api("getMe")


@pytest.mark.parametrize("kind", ["cut_after", "truncate"])
async def test_a_lost_reply_to_get_updates_confirms_nevertheless(server, api, kind):
    server.queue.restart_ids(100)
    server.world.send_message(5, 5, "one")
    server.world.send_message(5, 5, "two")
    server.faults.add(Fault(kind, method="getUpdates", times=1))
    with pytest.raises(aiohttp.ClientError):
        await api("getUpdates", json={"offset": 101})
    assert server.queue.confirmed == 1
    assert ids(await api("getUpdates", json={"offset": 0})) == [101]


async def test_a_refused_poll_confirms_nothing_and_is_noted(server, api):
    server.queue.restart_ids(100)
    server.world.send_message(5, 5, "one")
    server.faults.add(Fault("status", code=500, times=1))
    assert (await api("getUpdates", json={"offset": 101}))[0] == 500
    assert server.queue.pending == 1
    assert [(poll.offset, poll.returned) for poll in server.polls] == [(101, -1)]


async def test_hang_lasts_until_it_is_cleared(server, api):
    server.faults.add(Fault("hang", times=1))
    call = asyncio.create_task(api("sendMessage", json=ANSWER))
    await server.wait_for_calls(1)
    assert (await api("getMe"))[0] == 200
    assert not call.done()
    server.faults.clear()
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await call
    assert server.calls[0][4:] == (0, False)


# -- down and up -----------------------------------------------------------------------------------------


async def test_down_cuts_everything_and_up_brings_it_back(server, api):
    server.queue.restart_ids(100)
    port = server.port
    poll = asyncio.create_task(api("getUpdates", json={"timeout": 50}))
    await server.wait_for_long_poll()
    await server.down()
    await server.down()
    with pytest.raises(aiohttp.ClientError):
        await poll
    server.world.send_message(5, 5, "while it was down")
    with pytest.raises(aiohttp.ClientConnectorError):
        await api("getMe")
    await server.up()
    await server.up()
    assert server.port == port
    assert ids(await api("getUpdates", json={"offset": 1})) == [100]


async def test_down_lets_go_of_idle_and_hanging_connections(server, api):
    server.faults.add(Fault("hang", method="sendMessage"))
    async with raw_connection(server) as (idle, _):
        hanging = asyncio.create_task(api("sendMessage", json=ANSWER))
        await server.wait_for_calls(1)
        await server.down()  # it does not wait for requests: the one that hangs never ends
        with pytest.raises(aiohttp.ClientError):
            await hanging
        assert await idle.read() == b""


async def test_the_port_stays_reserved_meanwhile():
    async with FakeServer() as server:
        await server.down()
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind(("127.0.0.1", server.port))


async def test_two_servers_at_once_and_a_chosen_port():
    async with FakeServer() as first, FakeServer("9:other") as second:
        assert first.port != second.port
    with held_port() as port:
        async with FakeServer("9:other", port=port) as chosen:
            assert chosen.url == f"http://127.0.0.1:{port}"


async def test_stopping_twice_and_while_down():
    server = FakeServer()
    await server.start()
    await server.down()
    await server.stop()
    await server.stop()


def test_a_malformed_token_is_not_repeated():
    with pytest.raises(ValueError, match="form of a bot token") as refusal:
        FakeServer("0:secret")
    assert "secret" not in str(refusal.value)


def test_the_token_is_not_in_the_repr():
    assert DEFAULT_TOKEN not in repr(FakeServer())
