"""A call with files as multipart/form-data: never whole in memory, with a Content-Length where possible.

A file that is a parameter itself is a part with that name; a file inside an object is a part that the object refers to
as `attach://<part>` (Telegram Bot API, "Sending files"). Parameters other than str are sent as JSON.
"""

import json
import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

from telegram.botapi.calls import Files, Placed, encode_json
from telegram.botapi.files import InputFile, size_of

# The server percent-decodes names (tdnet, HttpReader), so "%" is escaped, too.
_ESCAPED = re.compile(r'[%"\\;\x00-\x1f\x7f]')


class _Part(NamedTuple):
    head: bytes
    file: InputFile
    size: int | None


class Multipart:
    """The body of one request. `length` is in bytes, None if unknown (it contains a stream)."""

    def __init__(self, params: dict[str, Any], parts: list[tuple[str, InputFile, int | None]]) -> None:
        """Raise ValueError for text that UTF-8 cannot encode."""
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._fields = b"".join(
            b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
            % (
                boundary.encode(),
                _escaped(name),
                value.encode() if isinstance(value, str) else encode_json(value),
            )
            for name, value in params.items()
        )
        self._parts = [
            _Part(
                b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\nContent-Type: %b\r\n\r\n'
                % (boundary.encode(), _escaped(name), _escaped(file.filename), file.mime.encode()),
                file,
                size,
            )
            for name, file, size in parts
        ]
        self._end = f"--{boundary}--\r\n".encode()
        whole = len(self._fields) + len(self._end) + sum(len(part.head) + 2 for part in self._parts)
        sizes = [part.size for part in self._parts if part.size is not None]
        self.length = whole + sum(sizes) if len(sizes) == len(self._parts) else None

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body; FileUnusable if a file vanishes or shrinks meanwhile."""
        before = self._fields
        for head, file, size in self._parts:
            yield before + head
            async with aclosing(file.pieces(size)) as pieces:
                async for piece in pieces:
                    yield piece
            before = b"\r\n"
        yield before + self._end


async def multipart(params: dict[str, Any], files: Files) -> Multipart:
    """Return the body of a call whose params are None where its files belong; FileUnusable for a missing file."""
    parts: list[tuple[str, InputFile, int | None]] = []
    taken = {*params}
    for at, file in files:
        if len(at) == 1:
            name = str(at[0])
            params.pop(name)
        else:
            name = next(name for number in range(len(taken) + 1) if (name := f"file{number}") not in taken)
            put(params, at, f"attach://{name}")
        taken.add(name)
        parts.append((name, file, await file.size()))
    return Multipart(params, parts)


async def name_paths(params: dict[str, Any], files: Files) -> tuple[Files, int]:
    """Put file:// URLs of files into the params, for a server that reads them; return the other files.

    Also return the bytes that the server has to read. A file whose name differs from that on the disk must be uploaded.
    """
    others, total = [], 0
    for at, file in files:
        if isinstance(file.source, Path) and file.filename == file.source.name:
            total += await size_of(file.source)
            put(params, at, file.source.as_uri())
        else:
            others.append(Placed(at, file))
    return tuple(others), total


def put(params: Any, at: tuple[str | int, ...], value: str) -> None:
    """Set `value` in the params, at the path `at`."""
    for key in at[:-1]:
        params = params[key]
    params[at[-1]] = value


def unpacked(body: bytes) -> dict[str, Any]:
    """Return the params from their JSON."""
    params: dict[str, Any] = json.loads(body)
    return params


def _escaped(name: str) -> bytes:
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", name).encode()
