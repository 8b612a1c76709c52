"""Files to upload: InputFile, its reference in the outbox, and reading it in pieces."""

import asyncio
import os
import re
import stat
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from pydantic_core import CoreSchema, core_schema

from telegram.botapi.errors import FileUnusable, redact

PIECE: Final = 2**18
"""Bytes read at a time; this much of a file is in memory, and as much again in the socket's buffers."""

DURABLE_BYTES_MAX: Final = 2**16
"""Maximum size, in bytes, of content stored in the outbox itself; larger content must be a file."""

_MIME: Final = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class InputFile:
    """A file to upload. (A file that is at Telegram already, or on the web, is a str: its file_id or URL.)

    - a path (str or Path; a relative one is resolved now): read when it is sent, so it must exist then, also for a call
      that waits in the outbox;
    - bytes, with a filename: at most DURABLE_BYTES_MAX in the outbox;
    - a stream (any async iterable of bytes), with a filename: read once, so only the client's own methods can send it.
    """

    source: Path | bytes | AsyncIterable[bytes]
    filename: str
    mime: str

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes | AsyncIterable[bytes],
        *,
        filename: str | None = None,
        mime: str = "application/octet-stream",
    ) -> None:
        """Raise TypeError or ValueError for a source that can never be sent; the file itself is not checked yet."""
        kept: Path | bytes | AsyncIterable[bytes]
        if isinstance(source, str | os.PathLike):
            kept = Path(source).absolute()
            if "\0" in str(kept):
                raise ValueError("a path has no NUL")
            filename = kept.name if filename is None else filename
        elif isinstance(source, bytes | AsyncIterable):
            kept = source
        else:
            raise TypeError(f"a file is a path, bytes or an async iterable, not {type(source).__name__}")
        if not filename:
            raise ValueError(
                "a file of bytes or of a stream needs a filename; a path needs one that is not empty"
            )
        if not _MIME.fullmatch(mime):
            raise ValueError("malformed mime: it looks like image/png")
        object.__setattr__(self, "source", kept)
        # A path may have bytes that are not UTF-8; the file's name for users may not.
        object.__setattr__(self, "filename", filename.encode("utf-8", "replace").decode())
        object.__setattr__(self, "mime", mime)

    def __repr__(self) -> str:
        if isinstance(self.source, Path):
            what = redact(repr(str(self.source)))
        else:
            what = f"<{len(self.source)} bytes>" if isinstance(self.source, bytes) else "<stream>"
        return f"InputFile({what}, filename={self.filename!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> CoreSchema:
        return core_schema.is_instance_schema(cls)

    def reference(self) -> dict[str, str]:
        """Return its reference for the outbox. ValueError for a stream, and for more than DURABLE_BYTES_MAX."""
        kept = {"filename": self.filename, "mime": self.mime}
        if isinstance(self.source, Path):
            return {"uri": self.source.as_uri(), **kept}
        if isinstance(self.source, bytes) and len(self.source) <= DURABLE_BYTES_MAX:
            return {"base64": b64encode(self.source).decode(), **kept}
        raise ValueError(f"{self!r} cannot wait in the outbox: write it to a file, and send its path")

    @classmethod
    def of(cls, reference: dict[str, str]) -> "InputFile":
        """Return the file of a reference(); ValueError or LookupError for an invalid one."""
        name, mime = reference["filename"], reference["mime"]
        if "base64" in reference:
            return cls(b64decode(reference["base64"], validate=True), filename=name, mime=mime)
        return cls(path_of(reference["uri"]), filename=name, mime=mime)

    async def size(self) -> int | None:
        """Return the size in bytes, None for a stream; FileUnusable for a path that is not a file."""
        if isinstance(self.source, Path):
            return await size_of(self.source)
        return len(self.source) if isinstance(self.source, bytes) else None

    def pieces(self, size: int | None) -> AsyncGenerator[bytes, None]:
        """Yield the content, exactly `size` bytes if that is known; FileUnusable if reading fails."""
        if isinstance(self.source, Path):
            return read(self.source, size or 0)
        return _sliced(self.source) if isinstance(self.source, bytes) else self._streamed(self.source)

    async def _streamed(self, stream: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in stream:
                if not isinstance(piece, bytes | bytearray | memoryview):
                    raise TypeError(f"a piece is bytes, not {type(piece).__name__}")
                yield bytes(piece)
            return
        except Exception as error:  # noqa: BLE001 - whatever the caller's stream may raise
            reason = f"stream {self.filename} failed: {type(error).__name__}: {error}"
        raise FileUnusable(reason)


def path_of(uri: str) -> Path:
    """Return the path of a file:// URI of this machine; ValueError for any other URI."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path:
        raise ValueError("not a file:// URI")
    # urlsplit splits at "?" and "#", but as_uri() and the server quote both, so the path has neither.
    return Path(os.fsdecode(unquote_to_bytes(parts.path)))


class Source(Protocol):
    """A Path, or an object with these methods of it."""

    def stat(self) -> os.stat_result:
        """Return the file's status; OSError."""
        ...

    def open(self, mode: str, /) -> IO[Any]:
        """Open the file; OSError."""
        ...


async def size_of(path: Source) -> int:
    """Return the size in bytes; FileUnusable if there is no regular file."""
    try:
        found = await asyncio.to_thread(path.stat)
    except OSError as error:
        reason = _reason(path, error)
    else:
        if stat.S_ISREG(found.st_mode):
            return found.st_size
        reason = f"{path} is not a regular file"
    raise FileUnusable(reason)


async def read(path: Source, size: int, start: int = 0) -> AsyncGenerator[bytes, None]:
    """Yield `size` bytes from `start`, read in a thread. FileUnusable if there are fewer; further bytes are ignored."""
    reason = ""
    try:
        async with opened(path, "rb") as file:
            await asyncio.to_thread(file.seek, start)
            while size:
                piece = await asyncio.to_thread(file.read, min(PIECE, size))
                if not piece:
                    reason = f"{path} became shorter while it was read"
                    break
                size -= len(piece)
                yield piece
    except OSError as error:
        reason = _reason(path, error)
    if reason:
        raise FileUnusable(reason)


@asynccontextmanager
async def opened(path: Source, mode: str) -> AsyncIterator[Any]:
    """Open and close a file in a thread. After a cancellation, closing waits for the thread that still opens it."""
    opening = asyncio.ensure_future(asyncio.to_thread(path.open, mode))
    try:
        yield await asyncio.shield(opening)
    finally:
        await asyncio.wait({opening})
        if opening.exception() is None:
            await asyncio.to_thread(opening.result().close)


async def _sliced(content: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(content), PIECE):
        yield content[start : start + PIECE]


def _reason(path: Source, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path} is missing"
    return f"{path} cannot be read ({error.strerror or type(error).__name__})"
