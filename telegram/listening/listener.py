"""A server for an aiohttp application, with limits: strangers may reach its port.

Connections above `connections_max` are closed at once (one burst of accepts may exceed it). A connection that sends no
complete request head within `head_timeout_s`, or is idle for `idle_timeout_s` after an answer, is closed. The rest of a
body that the application does not read is not waited for. A request goes on when its client disconnects.
"""

import asyncio
import errno
import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from telegram.listening.address import Address

_BACKLOG: Final = 64
_CLOSE_S: Final = 0.2
"""Time for connections to close after the grace; aiohttp takes 0 for "no limit"."""

_log = logging.getLogger(__name__)
_log.setLevel(logging.CRITICAL)  # malformed requests are answered with 400; any stranger can send them


class _Refused(asyncio.Protocol):
    """Closes a connection that is too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


class Listener:
    """Serves one application on one address."""

    shares_ports = False
    """Whether other processes of this bot on this machine may listen on the same address: the system divides the connections.
    For the whole process."""

    def __init__(
        self,
        address: Address,
        *,
        connections_max: int = 256,
        head_timeout_s: float = 10.0,
        idle_timeout_s: float = 75.0,
    ) -> None:
        self._asked = address
        self._connections_max = connections_max
        self._head_timeout_s = head_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._bound: Address | None = None
        self._young: dict[web.RequestHandler, asyncio.TimerHandle] = {}  # no request yet
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def address(self) -> Address:
        """The address, after `start` with the port that was picked."""
        return self._bound or self._asked

    async def start(self, app: web.Application) -> None:
        """Listen. OSError of one line if the address cannot be used. Adds a middleware to `app`, which serves once."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._count(request, handler)

        app.middlewares.insert(0, count)
        app.on_response_prepare.append(_without_versions)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_log,
            handler_cancellation=False,
            keepalive_timeout=self._idle_timeout_s,
            lingering_time=0.0,
            shutdown_timeout=_CLOSE_S,
        )
        await runner.setup()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: self._connect(runner),
                self._asked.host,
                self._asked.port,
                backlog=_BACKLOG,
                reuse_port=self.shares_ports or None,
            )
        except OSError as error:
            await runner.cleanup()
            reason = "it is taken" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise OSError(error.errno, f"cannot listen on {self._asked}: {reason}") from None
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._bound = Address(self._asked.host, self._server.sockets[0].getsockname()[1])

    async def stop(self, grace_s: float) -> None:
        """Close the port, wait up to `grace_s` seconds for running requests, then close the connections."""
        if self._server is None or self._runner is None:
            return
        self._server.close()
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            pass
        finally:
            for timer in self._young.values():
                timer.cancel()
            self._young.clear()
            runner, self._runner, self._server = self._runner, None, None
            await runner.cleanup()

    def _connect(self, runner: web.AppRunner) -> asyncio.BaseProtocol:
        server = runner.server
        if server is None or len(server.connections) >= self._connections_max:
            return _Refused()
        connection = server()
        loop = asyncio.get_running_loop()
        self._young[connection] = loop.call_later(self._head_timeout_s, self._expire, connection)
        return connection

    def _expire(self, connection: web.RequestHandler) -> None:
        del self._young[connection]
        if isinstance(connection.transport, asyncio.Transport):
            connection.transport.abort()

    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if timer := self._young.pop(request.protocol, None):
            timer.cancel()
        self._running += 1
        self._idle.clear()
        try:
            return await handler(request)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()


async def _without_versions(_: web.Request, response: web.StreamResponse) -> None:
    """Name no versions of Python and aiohttp. A request that is not HTTP gets them from aiohttp all the same."""
    response.headers.pop("Server", None)
