"""A TCP proxy on this machine whose lines can be cut, delayed, and stopped halfway."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Self

_CHUNK: Final = 1 << 16

See = Callable[[bytes], Awaitable[object]]
"""Called with what a client has sent, before it goes on."""


class Proxy:
    """Forwards connections to the port `to`, while it is entered; `port` is its own."""

    def __init__(self, to: int, see: See | None = None) -> None:
        self.to = to
        """For connections that are made from now on."""

        self.port = 0
        self.delay_s = 0.0
        """Each piece waits so long, in both directions."""

        self.is_down = False
        """New connections are refused."""

        self._see = see
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        self._flows.set()
        while self._serving:
            await asyncio.wait(self._serving)

    def cut(self) -> None:
        """End all connections, at both ends."""
        for writer in self._writers:
            writer.transport.abort()

    def stop(self) -> None:
        """Let nothing through, and show no end of a connection to the other end: half-open lines."""
        self._flows.clear()

    def resume(self) -> None:
        """Let everything through, also what was held back."""
        self._flows.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        ends = [writer]
        try:
            if self.is_down:
                return
            await self._flows.wait()
            with suppress(OSError):
                answers, requests = await asyncio.open_connection("127.0.0.1", self.to)
                ends.append(requests)
                self._writers.add(requests)
                await asyncio.gather(
                    self._pump(reader, requests, ends, self._see), self._pump(answers, writer, ends, None)
                )
        finally:
            for end in ends:
                end.transport.abort()
                self._writers.discard(end)
                with suppress(OSError):
                    await end.wait_closed()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: list[asyncio.StreamWriter],
        see: See | None,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._flows.wait()
                if see is not None:
                    await see(data)
                writer.write(data)
                await writer.drain()
        await self._flows.wait()
        for end in ends:  # of one end the other one learns
            end.transport.abort()
