"""HTTP as cheap as it gets here: a request leaves as bytes, a whole answer comes back.

aiohttp connects (pool, DNS, TLS) and parses HTTP, but its session is left out: it costs several times the CPU of all the
rest of a call, and it cannot tell "not sent" from "outcome unknown". It also never sees the token, which stands only in
the bytes of a request, so no error, repr or log line of the library can carry it.

The price: the connector's and the response handler's methods used here are not all documented. pyproject.toml therefore
bounds aiohttp to the minor versions with which tests/test_client.py passed.
"""

import asyncio
from typing import Final, NamedTuple

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

from telegram.errors import NotSent, OutcomeUnknown, one_line

ANSWER_MAX: Final = 32 * 2**20
"""Bytes of one answer; Telegram cuts getUpdates near 4 MiB."""

# Fronts close idle connections after 60 s and more; letting go first avoids requests that die with an unknown outcome.
_KEEPALIVE_S = 30.0
_SWEEP_S = 1.0
_BROKEN = (aiohttp.ClientError, HttpProcessingError)


class Answer(NamedTuple):
    """One HTTP answer, whole; `retry_after` is the header, where the status is not 200."""

    status: int
    body: bytes
    retry_after: str | None


class Wire:
    """A pool of connections to one host: one request at a time on each, no retry, no redirect, no cookie."""

    def __init__(self, origin: URL, connections: int, timeout_s: float) -> None:
        self._origin = origin
        self._connections = connections
        self._timeout_s = timeout_s
        self._connect_timeout = aiohttp.ClientTimeout(connect=timeout_s)
        self._connector: aiohttp.TCPConnector | None = None
        self._closed = False
        # What is on its way, and until when. One coarse timer serves all: a timer per request costs a third of a call.
        self._deadlines: dict[Connection, float] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def send(self, method: str, request: bytes, timeout_s: float) -> Answer:
        """Send a request and wait for the whole answer; `timeout_s` may be exceeded by a second."""
        connection = await self._connect(method)
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None:
                raise NotSent(method, "connection lost")
            self._watch(connection, timeout_s)
            protocol.set_response_params(read_until_eof=True)
            transport.write(request)
            head, payload = await protocol.read()
            while head.code < 200:  # 100 Continue, 103 Early Hints
                head, payload = await protocol.read()
            body = payload.read_nowait() if payload.is_eof() else await _rest(payload)
            connection.release()
            return Answer(head.code, body, None if head.code == 200 else head.headers.get("Retry-After"))
        except _BROKEN as error:
            late = connection not in self._deadlines
            reason = f"no answer in {timeout_s:g} s" if late else type(error).__name__
        finally:
            self._deadlines.pop(connection, None)
            _cut(connection)  # cancelled or failed; nothing is left here of one that was released
            connection.close()
        # Raised out here: as a context, aiohttp's error would carry along what a broken server echoed.
        raise OutcomeUnknown(method, reason)

    async def close(self) -> None:
        """Cut what is on its way, and close every connection."""
        self._closed = True
        # Closing the connector under a half-read answer would leave its reader waiting for ever: cut them first.
        protocols = [connection.protocol for connection in self._deadlines]
        ends = [protocol.closed for protocol in protocols if protocol is not None]
        for connection in self._deadlines:
            _cut(connection)
        await asyncio.gather(*(end for end in ends if end is not None), return_exceptions=True)
        if self._connector is not None:
            await self._connector.close()

    async def _connect(self, method: str) -> Connection:
        if self._closed:
            raise NotSent(method, "the client is closed")
        if self._connector is None:
            self._connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=_KEEPALIVE_S)
            self._peer = aiohttp.ClientRequest("POST", self._origin, loop=asyncio.get_running_loop())
        try:
            return await self._connector.connect(self._peer, [], self._connect_timeout)
        except TimeoutError:
            raise NotSent(method, f"no connection in {self._timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotSent(method, one_line(str(error))) from None

    def _watch(self, connection: Connection, timeout_s: float) -> None:
        self._deadlines[connection] = asyncio.get_running_loop().time() + timeout_s
        if self._sweeper is None:
            self._sweep()

    def _sweep(self) -> None:
        """Cut what is overdue; its reader sees a lost connection, and that it is watched no more."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [c for c, deadline in self._deadlines.items() if deadline <= now]:
            del self._deadlines[connection]
            _cut(connection)
        pause_s = min(_SWEEP_S, self._timeout_s / 4)
        self._sweeper = loop.call_later(pause_s, self._sweep) if self._deadlines else None


async def _rest(payload: aiohttp.StreamReader) -> bytes:
    chunks, size = [], 0
    while chunk := await payload.readany():
        chunks.append(chunk)
        size += len(chunk)
        if size > ANSWER_MAX:
            raise aiohttp.ClientPayloadError
    return b"".join(chunks)


def _cut(connection: Connection) -> None:
    if connection.transport is not None:
        connection.transport.abort()
