"""A server for an aiohttp application, with limits: strangers may reach its port.

With more than `connections_max` connections (one burst of accepts may exceed it) the one that has been without a request for
longest is closed; a new one only if all have a request that is being answered. So connections that are held open without a
request keep no one out. A connection that sends no complete request head within `head_timeout_s`, or is idle for
`idle_timeout_s` after an answer, is closed. The rest of a body that the application does not read is not waited for. A request
goes on when its client disconnects.
"""

import asyncio
import errno
import logging
from collections.abc import Callable
from typing import Final, cast

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from telegram.listening.address import Address

_BACKLOG: Final = 64
_CLOSE_S: Final = 0.2
"""Time for connections to close after the grace; aiohttp takes 0 for "no limit"."""

_IDLE_S: Final = 630.0
"""Above the time for which proxies keep a connection: who closes first, while a request is on its way, makes it fail with 502.
Caddy keeps one for 120 s, Traefik and cloudflared for 90 s, load balancers of Google for 600 s (their documentation)."""

_LOG_EVERY_S: Final = 60.0

log = structlog.get_logger(__name__)
_log = logging.getLogger(f"{__name__}.aiohttp")
_log.setLevel(logging.CRITICAL)  # malformed requests are answered with 400; any stranger can send them


class _Refused(asyncio.Protocol):
    """Closes a connection that is too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _abort(transport)


class _Connection(web.RequestHandler):
    """A connection that reports its end."""

    __slots__ = ("_lost",)

    def __init__(
        self, server: web.Server, lost: Callable[["_Connection"], None], *, idle_timeout_s: float
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=_log,  # a level above its lines
            logger=_log,
            keepalive_timeout=idle_timeout_s,
            lingering_time=0.0,
        )
        self._lost = lost

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._lost(self)

    def abort(self) -> None:
        """Close it at once."""
        _abort(self.transport)


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
        idle_timeout_s: float = _IDLE_S,
    ) -> None:
        self._asked = address
        self._connections_max = connections_max
        self._head_timeout_s = head_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._bound: Address | None = None
        self._quiet: dict[web.RequestHandler, asyncio.TimerHandle | None] = {}
        """Connections without a request now, longest first; with the end of those that have had none yet."""

        self._logs_again_at = 0.0
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
        runner = web.AppRunner(app, handler_cancellation=False, shutdown_timeout=_CLOSE_S)
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
            for connection in list(self._quiet):
                self._forget(connection)
            runner, self._runner, self._server = self._runner, None, None
            await runner.cleanup()

    def _connect(self, runner: web.AppRunner) -> asyncio.BaseProtocol:
        server = runner.server
        if server is None or not self._has_room(server):
            return _Refused()
        connection = _Connection(server, self._forget, idle_timeout_s=self._idle_timeout_s)
        loop = asyncio.get_running_loop()
        self._quiet[connection] = loop.call_later(self._head_timeout_s, connection.abort)
        return connection

    def _has_room(self, server: web.Server) -> bool:
        """Return whether one more connection may be; make room if there are too many."""
        if len(server.connections) < self._connections_max:
            return True
        for connection in self._quiet:
            if isinstance(connection, _Connection) and connection.transport is not None:
                self._forget(connection)
                connection.abort()
                return True
        return False

    def _forget(self, connection: web.RequestHandler) -> None:
        """It has a request now, or has ended."""
        if (timer := self._quiet.pop(connection, None)) is not None:
            timer.cancel()

    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._forget(request.protocol)
        self._running += 1
        self._idle.clear()
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception:
            if self._may_log():
                log.exception("unexpected error while a request was answered", address=str(self.address))
            raise  # aiohttp answers with 500
        finally:
            if request.protocol.transport is not None:
                self._quiet[request.protocol] = None
            self._running -= 1
            if not self._running:
                self._idle.set()

    def _may_log(self) -> bool:
        """Return whether an error is to be logged: one a minute, as a sender may repeat its request at any rate."""
        now = asyncio.get_running_loop().time()
        if now < self._logs_again_at:
            return False
        self._logs_again_at = now + _LOG_EVERY_S
        return True


def _abort(transport: asyncio.BaseTransport | None) -> None:
    """Close a connection at once. Those of uvloop are no instances of asyncio.Transport, and have its methods."""
    if transport is not None:
        cast("asyncio.Transport", transport).abort()


async def _without_versions(_: web.Request, response: web.StreamResponse) -> None:
    """Name no versions of Python and aiohttp. A request that is not HTTP gets them from aiohttp all the same."""
    response.headers.pop("Server", None)
