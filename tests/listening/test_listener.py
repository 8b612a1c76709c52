import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from telegram.listening import Address, Listener, NotTakenError, read_body
from telegram.process.running import new_event_loop


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


async def opened(listener, text):
    reader, writer = await asyncio.open_connection(*listener.address)
    writer.write(text)
    return reader, writer


KEPT = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_a_connection_is_closed_if_all_others_have_a_request():
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request):
        began.set()
        await go_on.wait()
        return web.Response(text="done")

    async with listening(slow, connections_max=1) as listener:
        asking = asyncio.create_task(ask(listener))
        await began.wait()
        assert await ask(listener) == b""
        go_on.set()
        assert (await asking).endswith(b"done")


@pytest.mark.parametrize("held", [b"", b"GET / HTTP/1.1\r\nX: ", KEPT], ids=["silent", "slow", "answered"])
async def test_connections_that_are_held_open_keep_no_one_out(held):
    """Slowloris, also by keep-alive: a stranger needs no secret to be answered with 404 and to hold the connection."""
    async with listening(hello, connections_max=2) as listener:
        strangers = [await opened(listener, held) for _ in range(2)]
        while len(listener._quiet) < 2 or (held == KEPT and any(listener._quiet.values())):
            await asyncio.sleep(0)
        for _ in range(2):
            reader, writer = await opened(listener, KEPT)
            assert await reader.readuntil(b"hello")
            writer.close()
        for reader, _ in strangers[:1]:
            with suppress(ConnectionError):
                await reader.read()  # the one that was quiet for longest was closed first
        for _, writer in strangers:
            writer.close()


@pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, new_event_loop], ids=["asyncio", "production"]
)
def test_connections_are_ended_on_each_event_loop(loop_factory):
    """Transports of uvloop are no instances of asyncio.Transport (uvloop, loop.pyx: UVBaseTransport)."""
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request):
        began.set()
        await go_on.wait()
        return web.Response(text="done")

    async def scenario():
        async with listening(hello, head_timeout_s=0.01) as listener:
            assert await ask(listener, b"GET ") == b""  # no complete head in time
        async with listening(hello, connections_max=1) as listener:
            reader, writer = await opened(listener, b"GET ")
            assert (await ask(listener)).endswith(b"hello")
            with suppress(ConnectionError):
                assert await reader.read() == b""  # it made room
            writer.close()
        async with listening(slow, connections_max=1) as listener:
            asking = asyncio.create_task(ask(listener))
            await began.wait()
            assert await ask(listener) == b""  # one too many
            go_on.set()
            assert (await asking).endswith(b"done")

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.wait_for(scenario(), 60))


async def test_a_connection_that_ends_without_a_request_leaves_nothing():
    """TCP probes of load balancers and of Kubernetes open a connection and close it."""
    async with listening(hello) as listener:
        _, writer = await asyncio.open_connection(*listener.address)
        while not any(each.transport for each in listener._quiet):
            await asyncio.sleep(0)
        writer.close()
        while listener._quiet:
            await asyncio.sleep(0)
        _, writer = await opened(listener, KEPT)
        while not listener._quiet or any(listener._quiet.values()):
            await asyncio.sleep(0)
        writer.close()
        while listener._quiet:
            await asyncio.sleep(0)


async def test_a_connection_without_a_complete_head_is_closed():
    async with listening(hello, head_timeout_s=0.01) as listener:
        assert await ask(listener, b"GET / HTTP/1.1\r\nHost: ") == b""


async def test_a_connection_that_was_served_is_not_closed_as_one_without_a_head():
    async with listening(hello) as listener:
        reader, writer = await opened(listener, KEPT)
        await reader.readuntil(b"hello")
        assert list(listener._quiet.values()) == [None]
        writer.close()


async def test_a_proxy_closes_an_idle_connection_first():
    """Else a request that the proxy sends meanwhile fails with 502.

    caddyserver/caddy issue 6452 (Caddy keeps connections for 120 s), traefik/traefik issue 10932 (90 s), Google Cloud, backend HTTP
    keepalive timeout (600 s).
    """
    async with listening(hello) as listener:
        _, writer = await opened(listener, KEPT)
        while not listener._quiet:
            await asyncio.sleep(0)
        (connection,) = listener._quiet
        assert connection.keepalive_timeout > 600
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


async def test_an_unexpected_error_is_logged_once_a_minute():
    """aiohttp's own log is off here: without this line a mistake of ours would be seen as Telegram's "500 Internal Server Error"."""

    async def wrong(_request):
        raise RuntimeError("a mistake")

    with capture_logs() as logs:
        async with listening(wrong) as listener:
            for _ in range(3):
                assert b" 500 " in await ask(listener)
            assert b" 404 " in await ask(listener, b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert [each["event"] for each in logs] == ["unexpected error while a request was answered"]


async def test_a_body_that_ends_before_its_end_is_no_error_of_ours():
    """aio-libs/aiohttp issue 5212, lablup/backend.ai issue 6752: one who disconnects could fill the log with tracebacks."""
    statuses: asyncio.Queue[int] = asyncio.Queue()

    async def reading(request):
        try:
            await read_body(request, 100)
        except NotTakenError as error:
            statuses.put_nowait(error.status)
        return web.Response()

    with capture_logs() as logs:
        async with listening(reading) as listener:
            head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
            _, writer = await opened(listener, head)
            while not listener._running:
                await asyncio.sleep(0)
            writer.transport.abort()
            assert await statuses.get() == 400
    assert logs == []
