"""Minimal HTTP: a request is sent as bytes, a whole answer is returned (large ones: streaming.py).

aiohttp connects (pool, DNS, TLS) and parses HTTP, but its session is not used: it costs several times the CPU of the rest
of a call, and cannot distinguish "not sent" from "outcome unknown". aiohttp also never sees the token outside of the bytes
of a request, so none of its errors, reprs or log lines can contain it. Our own variables hold it in secret types, for
tracebacks that print variables.

Not all methods used of the connector and the response handler are documented. pyproject.toml therefore bounds aiohttp to
the minor versions with which tests/client/test_client.py passed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from pydantic import SecretBytes, SecretStr
from yarl import URL

from telegram.botapi.errors import NotSent, OutcomeUnknown, UploadCut, one_line
from telegram.client.proxy import Proxy
from telegram.client.streaming import BROKEN, Body, Incoming, Upload

ANSWER_MAX: Final = 32 * 2**20
"""Maximum size of one answer, in bytes."""

POLL_ANSWER_MAX: Final = 8 * 2**20
"""Maximum size of an answer to getUpdates, in bytes: twice Telegram's limit. Parsed, it takes 30 times as much memory."""

# Proxies close idle connections after 60 s or more; closing first avoids requests that fail with an unknown outcome.
_KEEPALIVE_S = 30.0
_SWEEP_S = 1.0


class Answer(NamedTuple):
    """One whole HTTP answer; `date` and `retry_after` are headers, the latter None for status 200."""

    status: int
    body: bytes
    retry_after: str | None
    date: str | None = None

    def __repr__(self) -> str:  # a broken server's answer may quote the request with the token
        return f"<Answer {self.status} of {len(self.body)} bytes>"


class Wire:
    """A pool of connections to one host: one request at a time on each, no retry, no redirect, no cookie."""

    def __init__(
        self,
        origin: URL,
        connections: int,
        timeout_s: float,
        token: SecretStr,
        *,
        answer_max: int = ANSWER_MAX,
        proxy: Proxy | None = None,
    ) -> None:
        """`token` is redacted in errors; an answer of more than `answer_max` bytes is OutcomeUnknown."""
        self._proxy = proxy
        self._unconnected: tuple[type[Exception], ...] = (
            aiohttp.ClientError,
            OSError,
            *(proxy.refusals() if proxy else ()),
        )
        self._origin = origin
        self._token = token
        self._connections = connections
        self._timeout_s = timeout_s
        self._answer_max = answer_max
        self._connect_timeout = aiohttp.ClientTimeout(connect=timeout_s)
        self._connector: aiohttp.TCPConnector | None = None
        self._closed = False
        # Running requests with their deadlines. One coarse timer serves all: a timer per request costs a third of a call.
        self._deadlines: dict[Connection, float] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def send(
        self, method: str, request: SecretBytes, timeout_s: float, body: Body | None = None
    ) -> Answer:
        """Send a request and wait for the whole answer; `timeout_s` may be exceeded by a second. NotSent, OutcomeUnknown.

        While a `body` is sent, `timeout_s` bounds the time without progress; UploadCut if it was not sent completely:
        the call is not executed.
        """
        connection = await self._connect(method)
        upload = None if body is None else Upload(body, partial(self._extend, connection), timeout_s)
        try:
            protocol = self._begin(method, connection, request, timeout_s)
            answer = await _whole(protocol, upload, self._answer_max)
            if not upload or upload.complete:
                connection.release()
            return answer
        except BROKEN as error:
            late = connection not in self._deadlines
            reason = type(error).__name__
        finally:
            self._let_go(connection)
        # Raised outside of `except`: aiohttp's error, as its context, may contain what a broken server echoed.
        if upload and not upload.complete:
            reason = f"no progress for {timeout_s:g} s" if late else reason
            raise UploadCut(method, f"{reason} after {upload.sent} bytes")
        allowed_s = round(upload.timeout_s if upload else timeout_s, 1)
        raise OutcomeUnknown(method, f"no answer in {allowed_s:g} s" if late else reason)

    @asynccontextmanager
    async def get(self, request: SecretBytes, timeout_s: float) -> AsyncIterator[Incoming]:
        """Send a request and yield the answer when its head is there; `timeout_s` bounds the time without progress."""
        connection = await self._connect("download")
        incoming = Incoming(partial(self._extend, connection), timeout_s)
        try:
            await incoming.begin(self._begin("download", connection, request, timeout_s, is_file=True))
            yield incoming
            if incoming.is_over:
                connection.release()
        finally:
            self._let_go(connection)

    async def close(self) -> None:
        """Abort running requests, and close every connection."""
        self._closed = True
        # Abort first: closing the connector under a half-read answer would leave its reader waiting for ever.
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
            make = aiohttp.TCPConnector if self._proxy is None else self._proxy.connector
            self._connector = make(limit=self._connections, keepalive_timeout=_KEEPALIVE_S)
            through = {} if self._proxy is None else self._proxy.request()
            self._peer = aiohttp.ClientRequest(
                "POST", self._origin, loop=asyncio.get_running_loop(), **through
            )
        try:
            return await self._connector.connect(self._peer, [], self._connect_timeout)
        except TimeoutError:
            reason = f"no connection in {self._timeout_s:g} s"
        except self._unconnected as error:
            reason = one_line(str(error), self._token.get_secret_value())
        raise NotSent(method, reason)  # outside of `except`, as in send

    def _begin(
        self,
        method: str,
        connection: Connection,
        request: SecretBytes,
        timeout_s: float,
        *,
        is_file: bool = False,
    ) -> ResponseHandler:
        protocol, transport = connection.protocol, connection.transport
        # The server may close a connection in the moment in which it is taken; uvloop raises for a write to it.
        if protocol is None or transport is None or transport.is_closing():
            raise NotSent(method, "connection lost")
        self._watch(connection, timeout_s)
        protocol.set_response_params(read_until_eof=True, auto_decompress=not is_file)
        transport.write(request.get_secret_value())
        return protocol

    def _let_go(self, connection: Connection) -> None:
        self._deadlines.pop(connection, None)
        if connection.protocol is not None:  # cancelled or failed, not released
            _cut(connection)
            connection.close()

    def _extend(self, connection: Connection, timeout_s: float) -> bool:
        """Set a request's deadline to `timeout_s` from now; False if it was overdue and is aborted already."""
        if connection not in self._deadlines:
            return False
        self._deadlines[connection] = asyncio.get_running_loop().time() + timeout_s
        return True

    def _watch(self, connection: Connection, timeout_s: float) -> None:
        self._deadlines[connection] = asyncio.get_running_loop().time() + timeout_s
        if self._sweeper is None:
            self._sweep()

    def _sweep(self) -> None:
        """Abort overdue requests: the reader sees a lost connection, and no entry in `_deadlines`."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [c for c, deadline in self._deadlines.items() if deadline <= now]:
            del self._deadlines[connection]
            _cut(connection)
        pause_s = min(_SWEEP_S, self._timeout_s / 4)
        self._sweeper = loop.call_later(pause_s, self._sweep) if self._deadlines else None


async def _whole(protocol: ResponseHandler, upload: Upload | None, answer_max: int) -> Answer:
    """Read an answer, in a separate frame: a traceback of ours must not show the variables of a failed one."""
    head, payload = await (upload.run(protocol) if upload else protocol.read())
    while head.code < 200:  # 100 Continue, 103 Early Hints
        head, payload = await protocol.read()
    body = payload.read_nowait() if payload.is_eof() else await _rest(payload, answer_max)
    retry_after = None if head.code == 200 else head.headers.get("Retry-After")
    return Answer(head.code, body, retry_after, head.headers.get("Date"))


async def _rest(payload: aiohttp.StreamReader, answer_max: int) -> bytes:
    chunks, size = [], 0
    while chunk := await payload.readany():
        chunks.append(chunk)
        size += len(chunk)
        if size > answer_max:
            raise aiohttp.ClientPayloadError
    return b"".join(chunks)


def _cut(connection: Connection) -> None:
    if connection.transport is not None:
        connection.transport.abort()
