"""HTTP replies as bytes, written straight to the connection.

aiohttp's low-level server needs only `prepare`, `write_eof` and `keep_alive` of a response; the rest of `web.Response`
(header maps, date, cookies, compression) costs more than all other work of a call.
"""

from http import HTTPStatus
from typing import cast

from aiohttp import web

_START_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class Reply:
    """A complete reply."""

    __slots__ = ("_body", "_content_type", "_headers", "_retry_after", "keep_alive", "status")

    def __init__(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        retry_after: int | None = None,
        headers: str = "",
    ) -> None:
        self.status = status
        self.keep_alive = True
        self._body = body
        self._content_type = content_type
        self._retry_after = retry_after
        self._headers = headers  # whole lines

    def parts(self) -> tuple[bytes, bytes]:
        """Return head and body."""
        head = _START_LINES.get(self.status) or f"HTTP/1.1 {self.status} Status {self.status}\r\n"
        head += f"Content-Type: {self._content_type}\r\nContent-Length: {len(self._body)}\r\n{self._headers}"
        if self._retry_after is not None:
            head += f"Retry-After: {self._retry_after}\r\n"
        head += "Connection: keep-alive\r\n\r\n" if self.keep_alive else "Connection: close\r\n\r\n"
        return head.encode(), self._body

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write the reply."""
        self.keep_alive = request.keep_alive
        if request.transport is not None:
            head, body = self.parts()
            request.transport.write(head + body)

    async def write_eof(self) -> None:
        """Do nothing: `prepare` has written everything."""


class Cut:
    """The beginning of a reply; then the connection is closed."""

    __slots__ = ("_beginning", "keep_alive")

    def __init__(self, beginning: bytes = b"") -> None:
        self._beginning = beginning
        self.keep_alive = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write the beginning and close the connection."""
        if request.transport is not None:
            request.transport.write(self._beginning)
            request.transport.close()

    async def write_eof(self) -> None:
        """Do nothing: the connection is closed."""


def for_aiohttp(reply: Reply | Cut) -> web.StreamResponse:
    """Return the same object, with the type that aiohttp expects."""
    return cast("web.StreamResponse", reply)
