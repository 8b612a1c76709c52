"""Bodies that are too large for memory: a request's leaves in pieces, an answer's comes in pieces.

Both as fast as the slower side, never faster: what the network has not taken is not read from the disk, and what the
disk has not taken is not read from the network.
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
"""What the library raises when a connection ends, or speaks something else than HTTP."""

FILE_PACE: Final = 2**19
"""Bytes per second: a server that has got a file passes it on before it answers, and surely not slower than this."""

Head = tuple[RawResponseMessage, aiohttp.StreamReader]
Extend = Callable[[float], bool]
"""Gives a request so many seconds from now; False if it was cut already because it had had too few."""

_T = TypeVar("_T")


class Body(Protocol):
    """A request's body that is not in memory; `length` is None if only the end will tell."""

    length: int | None

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body, exactly `length` bytes where that is known."""
        ...


async def final_head(protocol: ResponseHandler) -> Head:
    """Wait for an answer to begin, past 100 Continue and 103 Early Hints."""
    head, payload = await protocol.read()
    while head.code < 200:
        head, payload = await protocol.read()
    return head, payload


class Upload:
    """One body on its way. It is `complete` as soon as its last piece may have left, and not before."""

    def __init__(self, body: Body, extend: Extend, timeout_s: float) -> None:
        """Allow `timeout_s` without progress, and for the answer what the server may need for so much, too."""
        self._body = body
        self._extend = extend
        self.timeout_s = timeout_s
        self.sent = 0
        self.complete = False

    async def run(self, protocol: ResponseHandler) -> Head:
        """Send the body, and wait for the answer to begin; one that begins earlier ends the sending.

        Raises one of BROKEN, or what the body raises.
        """
        writing = asyncio.ensure_future(self._write(protocol))
        reading = asyncio.ensure_future(final_head(protocol))
        try:
            await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                # A connection that broke is the reader's news, too: an answer may have come before the end.
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
    """An answer that is read in pieces."""

    status: int
    headers: CIMultiDictProxy[str]

    def __init__(self, extend: Extend, timeout_s: float) -> None:
        self._extend = extend
        self._timeout_s = timeout_s
        self._payload: aiohttp.StreamReader

    async def begin(self, protocol: ResponseHandler) -> None:
        """Wait until its status and headers are there; DownloadCut if they do not come."""
        head, self._payload = await self._mapped(final_head(protocol))
        self.status, self.headers = head.code, head.headers

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body; DownloadCut if it ends too early, or no byte comes for too long."""
        while piece := await self._mapped(self._payload.readany()):
            yield piece
        # Without a length in its head, an answer that was cut looks like one that is over.
        if not self._extend(self._timeout_s):
            raise DownloadCut(self._late())

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left on the connection."""
        return self._payload.is_eof()

    async def _mapped(self, reading: Awaitable[_T]) -> _T:
        self._extend(self._timeout_s)
        try:
            return await reading
        except BROKEN as error:
            reason = type(error).__name__
        # Raised out here: as a context, aiohttp's error would carry along what a broken server echoed.
        raise DownloadCut(reason if self._extend(self._timeout_s) else self._late())

    def _late(self) -> str:
        return f"nothing came for {self._timeout_s:g} s"
