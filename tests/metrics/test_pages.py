"""The pages answer what they must not serve with a status, on a listener that is bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from telegram.listening import Address, Listener
from telegram.metrics.pages import application


async def page(has_token: bool) -> web.Response:
    return web.Response(text=f"token {has_token}")


@asynccontextmanager
async def a_listener(token: str = "", **limits: Any) -> AsyncIterator[Listener]:
    listener = Listener(Address("127.0.0.1", 0), **limits)
    await listener.start(application({"/page": page}, token))
    yield listener
    await listener.stop(0.5)


async def talk(listener: Listener, request: bytes) -> bytes:
    """Send bytes, and return what comes until the connection is closed."""
    reader, writer = await asyncio.open_connection(*listener.address)
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
    "given", ["", "Bearer", "Bearer ", "Bearer tok", "Basic token", "Bearer tokenn", "Bearer t\xf6ken"]
)
async def test_another_token_is_none(given):
    async with a_listener("token") as listener:
        assert (await talk(listener, request("GET /page HTTP/1.1", f"Authorization: {given}"))).endswith(
            b"False"
        )


@pytest.mark.parametrize("given", ["Bearer token", "bearer token", "BEARER token"])
async def test_the_token_is_known(given):
    """RFC 9110, 11.1: the case of the scheme does not matter."""
    async with a_listener("token") as listener:
        answer = await talk(listener, request("GET /page HTTP/1.1", f"Authorization: {given}"))
        assert answer.endswith(b"True")


async def test_a_connection_that_says_nothing_is_cut():
    async with a_listener(head_timeout_s=0.01) as listener:
        assert await talk(listener, b"GET /page HTTP/1.1\r\nHost: x\r\n") == b""
        assert not listener._quiet
