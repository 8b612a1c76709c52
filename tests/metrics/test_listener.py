"""The listener answers what it must not serve with a status, and is bounded."""

import asyncio

import pytest
from aiohttp import web

from telegram.metrics import listener as module
from telegram.metrics.listener import Listener
from telegram.settings.address import Address, read_address


async def page(has_token: bool) -> web.Response:
    return web.Response(text=f"token {has_token}")


def a_listener(token: str = "") -> Listener:
    return Listener(Address("127.0.0.1", 0), {"/page": page}, token)


async def talk(listener: Listener, request: bytes) -> bytes:
    """Send bytes, and return what comes until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def request(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, "Host: x", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /page HTTP/1.1", b"200"),
        ("HEAD /page HTTP/1.1", b"200"),
        ("POST /page HTTP/1.1", b"405"),
        ("DELETE /page HTTP/1.1", b"405"),
        ("GET / HTTP/1.1", b"404"),
        ("GET /page/ HTTP/1.1", b"404"),
        ("GET /../page HTTP/1.1", b"404"),
        ("GET //page HTTP/1.1", b"404"),
        ("rubbish", b"400"),
        ("GET /page HTTP/1.1\r\nContent-Length: -1", b"400"),
        (f"GET /{'a' * 10_000} HTTP/1.1", b"400"),
        (f"GET /page HTTP/1.1\r\nX-Large: {'a' * 10_000}", b"400"),
        ("GET /page HTTP/1.1" + "\r\nX: y" * 1000, b"400"),
    ],
)
async def test_each_request_has_one_answer_and_the_connection_ends(line, status):
    async with a_listener() as listener:
        answer = await talk(listener, request(line))
        assert answer.split(b" ")[1] == status
        assert b"Traceback" not in answer
        assert (await talk(listener, request("GET /page HTTP/1.1"))).endswith(b"token True")


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer tok", "bearer token", "Bearer tokenn", "Bearer t\xf6ken"]
)
async def test_another_token_is_none(given):
    async with a_listener("token") as listener:
        assert (await talk(listener, request("GET /page HTTP/1.1", f"Authorization: {given}"))).endswith(
            b"False"
        )


async def test_the_token_is_known():
    async with a_listener("token") as listener:
        answer = await talk(listener, request("GET /page HTTP/1.1", "Authorization: Bearer token"))
        assert answer.endswith(b"True")


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 2)
    async with a_listener() as listener:
        silent = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(2)]
        while len(listener._http.connections) < 2:
            await asyncio.sleep(0)
        assert await talk(listener, request("GET /page HTTP/1.1")) == b""
        for _, writer in silent:
            writer.close()


async def test_a_connection_that_says_nothing_is_cut(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CONNECTION_MAX_S", 0.01)
    async with a_listener() as listener:
        assert await talk(listener, b"GET /page HTTP/1.1\r\nHost: x\r\n") == b""
        assert not listener._http.connections


async def test_an_address_in_use_is_an_error():
    async with a_listener() as listener:
        with pytest.raises(OSError, match="address already in use"):
            await Listener(Address("127.0.0.1", listener.port), {}).__aenter__()


@pytest.mark.parametrize(
    ("text", "address", "is_loopback"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464), True),
        ("[::1]:1", ("::1", 1), True),
        ("localhost:80", ("localhost", 80), True),
        ("0.0.0.0:80", ("0.0.0.0", 80), False),
        ("[::]:80", ("::", 80), False),
        ("example.org:80", ("example.org", 80), False),
    ],
)
def test_addresses(text, address, is_loopback):
    assert read_address(text) == address
    assert read_address(text).is_loopback == is_loopback


@pytest.mark.parametrize("text", ["", "80", ":80", "host", "host:", "host:65536", "::1:80", "a b:80", "h:٣"])
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        read_address(text)
