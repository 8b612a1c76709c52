import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from telegram.listening import Address, Listener


@asynccontextmanager
async def listening(handler, **limits):
    app = web.Application()
    app.router.add_route("*", "/", handler)
    listener = Listener(Address("127.0.0.1", 0), **limits)
    await listener.start(app)
    try:
        yield listener
    finally:
        await listener.stop(0.01)


async def ask(listener, text=b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):
    reader, writer = await asyncio.open_connection(*listener.address)
    writer.write(text)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def hello(_request):
    return web.Response(text="hello")


async def test_it_serves_on_the_port_that_it_picked():
    async with listening(hello) as listener:
        assert listener.address.port
        assert (await ask(listener)).endswith(b"hello")


async def test_a_taken_address_is_one_line():
    async with listening(hello) as listener:
        with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:.*: it is taken"):
            await Listener(listener.address).start(web.Application())


async def test_a_connection_that_is_too_many_is_closed():
    async with listening(hello, connections_max=1) as listener:
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"hello")
        assert await ask(listener) == b""
        writer.close()


async def test_a_connection_without_a_complete_head_is_closed():
    async with listening(hello, head_timeout_s=0.01) as listener:
        assert await ask(listener, b"GET / HTTP/1.1\r\nHost: ") == b""


async def test_a_connection_that_was_served_is_not_closed_as_one_without_a_head():
    async with listening(hello) as listener:
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"hello")
        assert not listener._young
        writer.close()


async def test_a_stop_waits_for_running_requests():
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request):
        began.set()
        await go_on.wait()
        return web.Response(text="done")

    async with listening(slow) as listener:
        asking = asyncio.create_task(ask(listener))
        await began.wait()
        stopping = asyncio.create_task(listener.stop(60))
        await asyncio.sleep(0)
        assert listener._runner is not None, "the connections are being closed"
        go_on.set()
        await stopping
        assert (await asking).endswith(b"done")


async def test_a_stop_ends_requests_that_do_not_end():
    began = asyncio.Event()

    async def never(_request):
        began.set()
        await asyncio.Event().wait()

    async with listening(never) as listener:
        asking = asyncio.create_task(ask(listener))
        await began.wait()
        await listener.stop(0.01)
        assert await asking == b""


async def test_an_answer_names_no_versions():
    async with listening(hello) as listener:
        assert b"Server" not in await ask(listener)
