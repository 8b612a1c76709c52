"""Updates over HTTP to a webhook. The rules are those of telegram-bot-api 10.0, WebhookActor.cpp, and td's HTTP classes."""

import asyncio
import json
import shutil
import socket
import ssl
import struct
import subprocess
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from telegram.fake import DEFAULT_TOKEN, FakeServer
from tests.kit.bounds import WITHIN_S

OK = web.Response


class Bot:
    """A webhook. `answers` are given in this order, then 200; a future is waited for, None closes the connection."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.running = 0
        self.most = 0
        self._news = asyncio.Event()

    async def handle(self, request):
        update = json.loads(await request.read())
        self.running += 1
        self.most = max(self.most, self.running)
        self.requests.append((request, update))
        self._news.set()
        answer = self.answers.pop(0) if self.answers else OK()
        if isinstance(answer, asyncio.Future):
            answer = await answer
        self.running -= 1
        if answer is None:
            request.transport.close()
        if answer == "reset":
            connection = request.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
        if answer == "not HTTP":
            request.transport.write(b"hello\r\n\r\n")
        return answer if isinstance(answer, web.StreamResponse) else OK()

    async def requested(self, n):
        while len(self.requests) < n:
            self._news.clear()
            await self._news.wait()
        return self.requests[:n]

    def texts(self):
        return [update["message"]["text"] for _, update in self.requests]


@asynccontextmanager
async def serving(bot, tls=None):
    server = web.Server(bot.handle, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for connection in server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await server.shutdown(timeout=1)


class Stage:
    def __init__(self, fake, http, bot, port):
        self.fake, self.http, self.bot, self.port = fake, http, bot, port

    async def call(self, method, **params):
        form = aiohttp.FormData()
        for name, value in params.items():
            if isinstance(value, bytes):
                form.add_field(name, value, filename="a.pem")
            else:
                form.add_field(name, value if isinstance(value, str) else json.dumps(value))
        async with self.http.post(f"{self.fake.url}/bot{DEFAULT_TOKEN}/{method}", data=form) as answer:
            return await answer.json()

    async def set(self, scheme="http", **params):
        answer = await self.call("setWebhook", url=f"{scheme}://127.0.0.1:{self.port}/hook?a=b", **params)
        assert answer["ok"], answer

    async def info(self):
        return (await self.call("getWebhookInfo"))["result"]

    def say(self, text="hi", user=5):
        return self.fake.world.send_message(user, user, text)


@asynccontextmanager
async def staged(*answers, tls=None):
    bot = Bot(*answers)
    async with (
        FakeServer(seed=1, local=True) as fake,
        aiohttp.ClientSession() as http,
        serving(bot, tls) as port,
    ):
        yield Stage(fake, http, bot, port)


async def test_a_request():
    """WebhookActor.cpp, send_update: POST, the secret's header, JSON of one update."""
    async with staged() as stage:
        update_id = stage.say()
        await stage.set(secret_token="s-1")
        [(request, update)] = await stage.bot.requested(1)
        assert (request.method, request.raw_path) == ("POST", "/hook?a=b")
        assert request.headers["X-Telegram-Bot-Api-Secret-Token"] == "s-1"
        assert request.headers["Content-Type"] == "application/json"
        assert (update["update_id"], update["message"]["text"]) == (update_id, "hi")
        while (await stage.info())["pending_update_count"]:
            pass
        assert [(each.update_id, each.status) for each in stage.fake.deliveries] == [(update_id, 200)]


async def test_without_a_secret_there_is_no_header():
    async with staged() as stage:
        stage.say()
        await stage.set()
        [(request, _)] = await stage.bot.requested(1)
        assert "X-Telegram-Bot-Api-Secret-Token" not in request.headers


async def test_a_login_in_the_url():
    """WebhookActor.cpp, send_update: `Authorization: Basic` of url_.userinfo_."""
    async with staged() as stage:
        stage.say()
        assert (await stage.call("setWebhook", url=f"http://ann:pass@127.0.0.1:{stage.port}"))["ok"]
        [(request, _)] = await stage.bot.requested(1)
        assert request.headers["Authorization"] == aiohttp.encode_basic_auth("ann", "pass")
        assert request.headers["Host"] == f"127.0.0.1:{stage.port}"
        assert request.raw_path == "/"


async def test_one_chat_in_order_others_at_the_same_time_over_so_many_connections():
    async with staged() as stage:
        await stage.set(max_connections=3)
        stage.say("a")
        await stage.bot.requested(1)  # then more than one connection is opened
        gates = [asyncio.get_running_loop().create_future() for _ in range(3)]
        stage.bot.answers = list(gates)
        for user in (5, 6, 7, 8):
            stage.say("1", user)
            stage.say("2", user)
        await stage.bot.requested(4)
        assert stage.bot.running == 3
        assert stage.bot.texts()[1:] == ["1"] * 3
        for gate in gates:
            gate.set_result(OK())
        await stage.bot.requested(9)
        assert stage.bot.most == 3
        for user in (5, 6, 7, 8):
            said = [u["message"] for _, u in stage.bot.requests if u["message"]["chat"]["id"] == user]
            assert [each["text"] for each in said if each["text"] != "a"] == ["1", "2"]


@pytest.mark.parametrize(
    ("status", "words"), [(500, "Internal Server Error"), (404, "Not Found"), (302, "Found"), (199, "")]
)
async def test_everything_but_2xx_is_a_failure(status, words):
    """WebhookActor.cpp, handle: `200 <= code <= 299` succeeds; a redirection is not followed."""
    answer = web.Response(status=status, headers={"Location": "/"}) if status != 199 else None
    async with staged(answer) as stage:
        await stage.set()
        stage.say()
        await stage.bot.requested(2)
        error = (await stage.info()).get("last_error_message")
        # WebhookActor.cpp: a connection that is closed in order is no error for getWebhookInfo.
        assert error == (f"Wrong response from the webhook: {status} {words}" if words else None)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_2xx_is_a_success(status):
    async with staged(web.Response(status=status)) as stage:
        await stage.set()
        stage.say()
        stage.say("next")
        await stage.bot.requested(2)
        assert stage.bot.texts() == ["hi", "next"]
        assert "last_error_date" not in await stage.info()


@pytest.mark.parametrize(
    ("how", "shown"),
    [("reset", "Connection reset by peer"), ("not HTTP", "Wrong response from the webhook")],
)
async def test_an_answer_that_is_none_is_a_failure(how, shown):
    async with staged(how) as stage:
        await stage.set()
        stage.say()
        await stage.bot.requested(2)
        assert (await stage.info())["last_error_message"] == shown


async def test_nothing_listens(own_port):
    """The webhook is set all the same: SocketFd::open does not wait for the connection."""
    async with staged() as stage:
        stage.port = own_port
        stage.say()
        await stage.set()
        while "last_error_message" not in (info := await stage.info()):
            pass
        assert info["last_error_message"] == "Connection refused"
        assert info["pending_update_count"] == 1


async def test_retry_after_is_kept():
    async with staged(web.Response(status=503, headers={"Retry-After": "3000"})) as stage:
        await stage.set()
        stage.say()
        stage.say("other", 6)
        await stage.bot.requested(2)
        assert stage.bot.texts() == ["hi", "other"]
        stage.fake.clock.advance(3000)
        stage.fake.wake_webhook()
        await stage.bot.requested(3)
        assert stage.bot.texts()[2] == "hi"


async def test_410_for_23_hours_deletes_the_webhook():
    async with staged(*(web.Response(status=410) for _ in range(3))) as stage:
        await stage.set()
        stage.say()
        await stage.bot.requested(2)
        assert (await stage.info())["url"]
        stage.fake.clock.advance(23 * 3600 + 2)
        stage.fake.wake_webhook()
        while (await stage.info())["url"]:
            pass
        assert stage.fake.queue.pending == 1


@pytest.mark.parametrize("form", [False, True])
async def test_a_method_in_the_answer_is_executed(form):
    """WebhookActor.cpp, handle: `response->get_arg("method")`; its result is not reported."""
    call = {"method": "sendMessage", "chat_id": "5", "text": "a b"}
    body = aiohttp.FormData(call)() if form else json.dumps(call)
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    answer = web.Response(body=b"method=SendMessage&chat_id=5&text=a+b" if form else body, content_type=kind)
    async with staged(answer) as stage:
        await stage.set()
        stage.say()
        [call] = await stage.fake.wait_for_calls(1, "sendMessage")
        assert (call.chat_id, call.text, call.status) == (5, "a b", 200)


async def test_methods_that_are_not_executed():
    """WebhookActor.cpp: not deleteWebhook, setWebhook, close, logOut, and none that begins with "get"."""
    named = ("deleteWebhook", "setWebhook", "LOGOUT", "close", "getMe", "")
    answers = [web.json_response({"method": name}) for name in named]
    broken = [web.Response(text=text, content_type="application/json") for text in ("[1]", "{", "7")]
    async with staged(*answers, *broken) as stage:
        await stage.set()
        for _ in range(10):
            stage.say()
        await stage.bot.requested(10)
        assert {call.method for call in stage.fake.calls} == {"setWebhook"}
        assert (await stage.info())["url"]


async def test_polling_ends_when_a_webhook_is_set():
    """Client.cpp: abort_long_poll(true), and 409 while it is set."""
    async with staged() as stage:
        poll = asyncio.create_task(stage.call("getUpdates", timeout=50))
        await stage.fake.wait_for_long_poll()
        await stage.set()
        assert (await poll)["description"] == "Conflict: terminated by setWebhook request"


async def test_what_is_under_way_when_the_webhook_is_deleted_comes_again():
    async with staged() as stage:
        gate = asyncio.get_running_loop().create_future()
        stage.bot.answers = [gate]
        await stage.set()
        stage.say()
        await stage.bot.requested(1)
        await stage.call("deleteWebhook")
        [update] = (await stage.call("getUpdates"))["result"]
        assert update["message"]["text"] == "hi"
        gate.set_result(OK())


async def test_an_outage_cuts_deliveries_and_they_go_on():
    async with staged() as stage:
        gate = asyncio.get_running_loop().create_future()
        stage.bot.answers = [gate]
        await stage.set()
        stage.say()
        await stage.bot.requested(1)
        await stage.fake.down()
        gate.set_result(OK())
        await stage.fake.up()
        await stage.bot.requested(2)
        assert stage.bot.texts() == ["hi", "hi"]


async def test_a_connection_that_the_bot_closes_while_it_is_idle_costs_no_failure():
    async with staged() as stage:
        await stage.set()
        stage.say()
        [(request, _)] = await stage.bot.requested(1)
        while stage.fake.queue.pending:
            await asyncio.sleep(0)
        request.transport.close()
        stage.say("next")
        await stage.bot.requested(2)
        while stage.fake.queue.pending:
            await asyncio.sleep(0)
        assert {each.status for each in stage.fake.deliveries} <= {200, 0}
        assert "last_error_date" not in await stage.info()


def test_a_connection_that_closes_when_an_update_is_given_to_it_loses_nothing():
    """The loop of `python -m telegram.fake` raises RuntimeError for a write to it."""

    async def scenario():
        async with staged() as stage:
            await stage.set()
            stage.say()
            await stage.bot.requested(1)
            while stage.fake.queue.pending:
                await asyncio.sleep(0)
            deliverer = stage.fake._webhook._deliverer
            [connection] = deliverer._ready
            stage.say("next")
            deliverer.pump()  # it is given
            connection.transport.abort()
            async with asyncio.timeout(WITHIN_S):
                await stage.bot.requested(2)
            assert stage.bot.texts() == ["hi", "next"]

    uvloop = pytest.importorskip("uvloop")
    uvloop.run(scenario())


def certificate(folder):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt-get install openssl")
    key, pem = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", pem],
        check=True, capture_output=True, timeout=WITHIN_S,
    )  # fmt: skip
    return key, pem


async def test_a_certificate_of_ones_own(tmp_path):
    """WebhookActor.cpp: SslCtx::create(cert_path, VerifyPeer::On); without it the certificate is not valid."""
    key, pem = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, key)
    async with staged(tls=tls) as stage:
        stage.say()
        await stage.set("https")
        while "last_error_message" not in (info := await stage.info()):
            pass
        assert "certificate verify failed" in info["last_error_message"]
        assert not stage.bot.requests
        stage.fake.clock.advance(1)
        await stage.set("https", certificate=pem.read_bytes())
        await stage.bot.requested(1)
        assert (await stage.info())["has_custom_certificate"] is True


async def test_a_certificate_that_is_none():
    async with staged() as stage:
        answer = await stage.call("setWebhook", url="https://127.0.0.1/", certificate=b"no certificate")
        assert answer["description"].startswith("Bad Request: bad webhook: Can't create an SSL context")
