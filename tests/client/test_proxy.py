"""The client through a proxy: small ones of our own, on loopback, which know the only name that they pass on."""

import asyncio
import base64
import random
import shutil
import ssl
import struct
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from yarl import URL

from telegram.botapi.errors import NotSent
from telegram.client import TgClient
from telegram.client.proxy import check_target, read_proxy
from telegram.fake import FakeServer
from tests.kit.bounds import WITHIN_S
from tests.kit.hostile import everything

NAME, USER, PASSWORD = "api.telegram.test", "made:up@user", "made/up:password"
LOGIN = "made%3Aup%40user:made%2Fup%3Apassword"
WITHOUT_COLON = "made%40user:made%2Fup%3Apassword"

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, pem = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
         "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", key, "-out", pem],
        check=True, capture_output=True, timeout=WITHIN_S,
    )  # fmt: skip
    return key, pem


async def _copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def _pass_on(reader, writer, port):
    there, here = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_copy(reader, here), _copy(there, writer))


@asynccontextmanager
async def _serving(handle, **options):
    tasks: set[Any] = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        # A cancelled task of a stream is an error in the log of asyncio.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handle(reader, writer)
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Proxies:
    """An HTTP and a SOCKS 5 proxy in front of the fake server, with TLS to it; `asked` has the targets."""

    def __init__(self, fake, target, login):
        self.fake = fake
        self.target = target
        self.login = login
        self.asked = []
        self.answer = None
        self.ports = {}

    async def http(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if self.answer is not None:
            writer.write(self.answer)
            return
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        expected = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        if self.login[0] and headers.get("Proxy-Authorization") != expected:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        self.asked.append(head.split()[1])
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await _pass_on(reader, writer, self.target)

    async def socks5(self, reader, writer):
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if self.answer is not None:
            writer.write(self.answer)
            return
        if self.login[0]:
            if 2 not in methods:
                writer.write(b"\x05\xff")
                return
            writer.write(b"\x05\x02")
            given = []
            await reader.readexactly(1)
            for _ in range(2):
                [length] = await reader.readexactly(1)
                given.append((await reader.readexactly(length)).decode())
            is_right = tuple(given) == self.login
            writer.write(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                return
        else:
            writer.write(b"\x05\x00")
        _, _, _, kind, length = await reader.readexactly(5)
        assert kind == 3, "the name, not an address"
        name = (await reader.readexactly(length)).decode()
        [port] = struct.unpack("!H", await reader.readexactly(2))
        self.asked.append(f"{name}:{port}")
        if name != NAME:
            writer.write(b"\x05\x04\x00\x01" + bytes(6))
            return
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await _pass_on(reader, writer, self.target)


@asynccontextmanager
async def proxies(certificate, monkeypatch, login=("", "")):
    key, pem = certificate
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, key)
    trusted = ssl.create_default_context(cafile=pem)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusted)
    async with (
        FakeServer(seed=1) as fake,
        _serving(
            lambda reader, writer: _pass_on(_without_host(reader), writer, fake.port), ssl=tls
        ) as target,
    ):
        found = Proxies(fake, target, login)
        async with _serving(found.http) as http, _serving(found.socks5) as socks5:
            found.ports = {"http": http, "socks5": socks5, "socks5h": socks5}
            yield found


class _without_host:  # noqa: N801 - stands for a reader
    """The fake server answers to 127.0.0.1 only (DNS rebinding)."""

    def __init__(self, reader):
        self._reader = reader

    async def read(self, size):
        return (await self._reader.read(size)).replace(f"Host: {NAME}".encode(), b"Host: 127.0.0.1")


def client(found, scheme, login="", name=NAME, **options):
    proxy = f"{scheme}://{login}{'@' if login else ''}127.0.0.1:{found.ports[scheme]}"
    return TgClient(found.fake.token, base_url=f"https://{name}", proxy=proxy, **options)


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_calls_polls_and_downloads_go_through_it_by_name_and_with_tls(certificate, monkeypatch, scheme):
    async with proxies(certificate, monkeypatch) as found, client(found, scheme) as bot:
        found.fake.world.send_message(5, 5, "hi")
        assert (await bot.get_me()).is_bot
        assert len(await bot.get_updates(timeout_s=0)) == 1
        await asyncio.gather(*(bot.send_message(chat_id=5, text=str(n)) for n in range(5)))
        assert len(found.asked) >= 3
        assert set(found.asked) == {f"{NAME}:443"}


@pytest.mark.parametrize(
    ("scheme", "login", "expected"),
    [("http", WITHOUT_COLON, ("made@user", PASSWORD)), ("socks5", LOGIN, (USER, PASSWORD))],
)
async def test_the_login(certificate, monkeypatch, scheme, login, expected):
    async with proxies(certificate, monkeypatch, expected) as found:
        async with client(found, scheme, login) as bot:
            await bot.get_me()
            await bot.get_updates(timeout_s=0)
            assert len(found.asked) == 2
        for wrong in ("", "made%40user:wrong-password"):
            async with client(found, scheme, wrong) as bot:
                with pytest.raises(NotSent) as caught:
                    await bot.get_me()
                assert not told(caught.value, "wrong-password")


def told(error, *secrets):
    """Which of these can be read in whatever of the error could be shown."""
    trace = error.__traceback__
    while trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next  # the test knows its login
    shown = "\n".join(everything(error.with_traceback(trace)))
    return [secret for secret in (*secrets, PASSWORD, "made%2Fup", LOGIN) if secret in shown]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", b"\x05\xff", b"\x00\x00\x00\x00", b"hello\r\n\r\n"]
)  # fmt: skip
async def test_what_a_proxy_refuses_was_not_sent(certificate, monkeypatch, scheme, answer):
    async with proxies(certificate, monkeypatch) as found:
        found.answer = answer
        async with client(found, scheme, WITHOUT_COLON) as bot:
            with pytest.raises(NotSent) as caught:
                await bot.get_me()
            assert not told(caught.value)
            found.answer = None
            await bot.get_me()  # it recovers by itself


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_whatever_a_proxy_answers_the_call_was_not_sent(certificate, monkeypatch, scheme):
    rng = random.Random(1)
    beginnings = [
        b"",
        b"HTTP/1.1 ",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\n",
        b"\x05\x00",
        b"\x05\x00\x05\x00",
        b"\x05\x02\x01\x00\x05\x00\x00\x03",
    ]
    async with proxies(certificate, monkeypatch) as found, client(found, scheme, WITHOUT_COLON) as bot:
        for _ in range(150):
            found.answer = rng.choice(beginnings) + rng.randbytes(rng.choice([0, 1, 3, 20]))
            with pytest.raises(NotSent):
                await bot.get_me()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_is_not_there_or_never_answers(certificate, monkeypatch, scheme):
    async def silent(_reader, _writer):
        await asyncio.Event().wait()

    async with proxies(certificate, monkeypatch) as found:
        async with _serving(silent) as port:
            found.ports[scheme] = port
            async with client(found, scheme, WITHOUT_COLON, timeout_s=0.05) as bot:
                with pytest.raises(NotSent, match="no connection in") as caught:
                    await bot.get_me()
                assert not told(caught.value)
        async with client(found, scheme, WITHOUT_COLON) as bot:
            with pytest.raises(NotSent) as caught:
                await bot.get_me()
            assert not told(caught.value)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_is_not_the_server_is_found_out(certificate, monkeypatch, scheme):
    async with proxies(certificate, monkeypatch) as found:
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context())
        async with client(found, scheme) as bot:
            with pytest.raises(NotSent, match=r"(?i)certificate"):
                await bot.get_me()


@pytest.mark.parametrize(
    ("text", "kind", "host", "port"),
    [
        ("http://proxy.example:3128", "http", "proxy.example", 3128),
        ("http://proxy.example/", "http", "proxy.example", 8080),
        ("socks5://[::1]", "socks5", "::1", 1080),
        ("socks5h://10.0.0.1:9050", "socks5", "10.0.0.1", 9050),
    ],
)
def test_addresses(text, kind, host, port):
    assert read_proxy(text)[:3] == (kind, host, port)


@pytest.mark.parametrize(
    "text",
    [
        "", "proxy.example:3128", "https://proxy.example", "ftp://proxy.example", "http://", "http://:3128",
        "http://SECRET:SECRET@host:port", "http://SECRET@host/path", "http://SECRET@host?x", "http://SECRET@ho st",
        "http://:SECRET@host", "socks4://SECRET@host", "http://SECRET%3Ax:y@host", "socks5://SECRET" + "x" * 256 + "@host",
        "http://host:99999",
    ],
)  # fmt: skip
def test_what_is_no_proxy_is_one_line_without_its_login(text):
    with pytest.raises(ValueError, match=r".+") as caught:
        read_proxy(text)
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^PROXY: "):
        TgClient("1:a", proxy=text or "-")


def test_an_http_proxy_passes_no_plain_http_on():
    with pytest.raises(ValueError, match="use a SOCKS proxy"):
        check_target(read_proxy("http://host"), URL("http://127.0.0.1:8081"))


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    with pytest.raises(ValueError, match="socks5:// needs aiohttp-socks: pip install aiohttp-socks"):
        read_proxy("socks5://host")
    assert read_proxy("http://host").kind == "http"


def test_a_proxy_shows_no_login():
    assert PASSWORD not in repr(read_proxy(f"socks5://{LOGIN}@host"))
    assert USER not in repr(read_proxy(f"socks5://{LOGIN}@host"))
