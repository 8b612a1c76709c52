"""A small HTTP listener for GET requests: bounded in connections, in their time, and in the size of a request."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Self

from aiohttp import web

from telegram.settings.address import Address

CONNECTIONS_MAX: Final = 32
CONNECTION_MAX_S: Final = 15.0
"""Maximum time of a connection, above the 10 s of a scrape's default time-out; each serves one request."""

_HEAD_MAX: Final = 8190  # bytes of a request's line, and of a header
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Page = Callable[[bool], Awaitable[web.Response]]
"""Answers a GET; the argument: whether the request has the token, or none is needed."""


class Listener:
    """Serves `pages`, by path, while it is entered. OSError if the address cannot be listened at."""

    def __init__(self, address: Address, pages: Mapping[str, Page], token: str = "") -> None:
        """`token`: the bearer token; empty: none is needed."""
        self._address = address
        self._pages = pages
        self._expected = f"Bearer {token}".encode() if token else b""
        self._server: asyncio.Server | None = None
        self._http = web.Server(
            self._answer, access_log=None, max_line_size=_HEAD_MAX, max_field_size=_HEAD_MAX, max_headers=64
        )
        self._is_closed = False
        self.port = 0
        """The port, also if 0 was asked for."""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, self._address.host, self._address.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_closed = True
        if self._server is not None:
            self._server.close()
            await self._http.shutdown(0.5)

    def _connection(self) -> asyncio.Protocol:
        if self._is_closed or len(self._http.connections) >= CONNECTIONS_MAX:
            return _Refused()
        connection = self._http()
        asyncio.get_running_loop().call_later(CONNECTION_MAX_S, _cut, connection)
        return connection

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.method not in {"GET", "HEAD"}:
            response = web.Response(status=405, headers={"Allow": "GET, HEAD"})
        elif (page := self._pages.get(request.path)) is None:
            response = web.Response(status=404)
        else:
            response = await page(self._has_token(request.headers.get("Authorization", "")))
        response.headers.update(_HEADERS)
        response.force_close()
        return response

    def _has_token(self, given: str) -> bool:
        return not self._expected or hmac.compare_digest(given.encode("utf-8", "replace"), self._expected)


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _cut(connection: web.RequestHandler) -> None:
    if connection.transport is not None:
        connection.transport.abort()
