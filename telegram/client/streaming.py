"""Streaming of bodies that are too large for memory: uploads and downloads in pieces.

With backpressure in both directions: a file is not read faster than the network takes it, and the network is not read
faster than the disk takes it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Final, Protocol, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage, StreamWriter
from multidict import CIMultiDictProxy

from telegram.botapi.errors import DownloadCut

BROKEN: Final = (aiohttp.ClientError, HttpProcessingError, ConnectionError)
"""Errors that aiohttp raises when a connection ends, or the answer is not HTTP."""

FILE_PACE: Final = 2**19
"""Minimum speed, in bytes per second, at which a server passes a received file on before it answers."""

Head = tuple[RawResponseMessage, aiohttp.StreamReader]
Extend = Callable[[float], bool]
"""Sets a request's deadline to this many seconds from now; False if the deadline has passed and it was aborted."""

_T = TypeVar("_T")


class Body(Protocol):
    """A request's body that is not in memory; `length` is in bytes, None if unknown."""

    length: int | None

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body, exactly `length` bytes if that is known."""
        ...


async def final_head(protocol: ResponseHandler) -> Head:
    """Wait for the head of the final answer, after 100 Continue or 103 Early Hints."""
    head, payload = await protocol.read()
    while head.code < 200:
        head, payload = await protocol.read()
    return head, payload


class Upload:
    """The sending of one body. It is `complete` as soon as its last piece may have been sent, and not before."""

    def __init__(self, body: Body, extend: Extend, timeout_s: float) -> None:
        """`timeout_s` bounds the time without progress; the wait for the answer gets more by the size (FILE_PACE)."""
        self._body = body
        self._extend = extend
        self.timeout_s = timeout_s
        self.sent = 0
        self.complete = False

    async def run(self, protocol: ResponseHandler) -> Head:
        """Send the body and return the head of the answer; an answer that begins earlier ends the sending.

        Raises one of BROKEN, or what the body raises.
        """
        writing = asyncio.ensure_future(self._write(protocol))
        reading = asyncio.ensure_future(final_head(protocol))
        try:
            await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                # A broken connection also ends the reader, which may still find an answer received before.
                with suppress(*BROKEN):
                    writing.result()
            return await reading
        finally:
            for task in (writing, reading):
                task.cancel()
            await asyncio.gather(writing, reading, return_exceptions=True)

    async def _write(self, protocol: ResponseHandler) -> None:
        writer = StreamWriter(protocol, asyncio.get_running_loop())
        if self._body.length is None:
            writer.enable_chunking()
        async with aclosing(self._body.pieces()) as pieces:
            async for piece in pieces:
                self.sent += len(piece)
                if self.sent == self._body.length:
                    self._completes()
                await writer.write(piece, drain=False)
                await writer.drain()
                self._extend(self.timeout_s)
        if not self.complete:
            self._completes()
            await writer.write_eof()
            self._extend(self.timeout_s)

    def _completes(self) -> None:
        self.complete = True
        self.timeout_s += self.sent / FILE_PACE


class Incoming:
    """An answer whose body is read in pieces."""

    status: int
    headers: CIMultiDictProxy[str]

    def __init__(self, extend: Extend, timeout_s: float) -> None:
        self._extend = extend
        self._timeout_s = timeout_s
        self._payload: aiohttp.StreamReader

    async def begin(self, protocol: ResponseHandler) -> None:
        """Wait for status and headers; DownloadCut if they do not arrive."""
        head, self._payload = await self._mapped(final_head(protocol))
        self.status, self.headers = head.code, head.headers

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body; DownloadCut if it ends too early, or no byte arrives within the time-out."""
        while piece := await self._mapped(self._payload.readany()):
            yield piece
        # Without a Content-Length, an answer that was aborted looks like a complete one.
        if not self._extend(self._timeout_s):
            raise DownloadCut(self._late())

    @property
    def is_over(self) -> bool:
        """Whether the whole answer was read from the connection."""
        return self._payload.is_eof()

    async def _mapped(self, reading: Awaitable[_T]) -> _T:
        self._extend(self._timeout_s)
        try:
            return await reading
        except BROKEN as error:
            reason = type(error).__name__
        # Raised outside of `except`: aiohttp's error, as its context, may contain what a broken server echoed.
        raise DownloadCut(reason if self._extend(self._timeout_s) else self._late())

    def _late(self) -> str:
        return f"nothing came for {self._timeout_s:g} s"
