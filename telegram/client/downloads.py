"""Downloads: streamed to the disk, bounded in size, complete or absent, and resumed after an interruption."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from pydantic import SecretBytes, SecretStr

from telegram.botapi.errors import DownloadCut, FileTooBig, FileUnusable, api_error
from telegram.botapi.files import opened, path_of, read, size_of
from telegram.client.beneath import Beneath, find_beneath
from telegram.client.streaming import Incoming
from telegram.client.wire import Wire

DOWNLOAD_MAX: Final = 20 * 2**20
"""Maximum size of a file from Telegram's own server, in bytes; a local server has no such limit (Telegram Bot API,
getFile)."""

_ERROR_MAX: Final = 2**16
_RANGE: Final = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")


class Content(NamedTuple):
    """A file's content from byte `start` on; `total` is the whole file's size in bytes, None if unknown."""

    start: int
    total: int | None
    pieces: AsyncGenerator[bytes, None]


Opener = Callable[[int], AbstractAsyncContextManager[Content]]
"""Opens a file at a byte offset, or at its beginning if the server cannot."""


async def save(
    opener: Opener, part: Path, destination: Path, *, size: int | None, limit_bytes: int, resume: bool
) -> None:
    """Write a file to `part`, then rename it to `destination`; `size` is the size that Telegram announced, if it did.

    DownloadCut leaves `part` for a later resume; OSError for errors of the disk. FileTooBig leaves no part that it wrote.
    """
    if size is not None and size > limit_bytes:
        raise FileTooBig(limit_bytes)
    have = await asyncio.to_thread(_size_of_part, part) if resume else 0
    if not have or have != size:  # else only the renaming is missing
        async with opener(have if size is None or have < size else 0) as content:
            total = size if content.total is None else content.total
            if total is not None and total > limit_bytes:
                raise FileTooBig(limit_bytes)
            done = await _write(content, part, limit_bytes)
        if total is not None and done != total:
            raise DownloadCut(f"the file ended after {done} of {total} bytes")
    await asyncio.to_thread(part.replace, destination)


async def _write(content: Content, part: Path, limit_bytes: int) -> int:
    """Write the content to `part` and sync it; return its size in bytes."""
    done = content.start
    async with opened(part, "ab" if done else "wb") as file:
        async for piece in content.pieces:
            done += len(piece)
            if done > limit_bytes:
                await asyncio.to_thread(part.unlink)
                raise FileTooBig(limit_bytes)
            await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(file.flush)
        await asyncio.to_thread(os.fsync, file.fileno())  # no name before its content is durable
    return done


def _size_of_part(part: Path) -> int:
    with suppress(FileNotFoundError):
        return part.stat().st_size
    return 0


def part_of(destination: Path, file_unique_id: str) -> Path:
    """Return the path of an unfinished download: beside its destination, and unique to the file."""
    unique = re.sub(r"[^A-Za-z0-9_-]", "_", file_unique_id)[:64]
    return destination.with_name(f"{destination.name}.{unique}.part")


# -- sources of the content ----------------------------------------------------------------------------------------


class FileServer:
    """Telegram's file server, by HTTP. `target` is the request line up to the file's path."""

    def __init__(self, wire: Wire, target: SecretStr, host: str, token: SecretStr, timeout_s: float) -> None:
        self._wire = wire
        self._target = target
        self._host = host
        self._token = token
        self._timeout_s = timeout_s

    def opener(self, file_path: str) -> Opener:
        """Return an opener of `file_path`, as returned by getFile."""

        @asynccontextmanager
        async def open_at(start: int) -> AsyncIterator[Content]:
            for offset in dict.fromkeys((start, 0)):
                async with self._wire.get(self._request(file_path, offset), self._timeout_s) as incoming:
                    if content := _content(incoming, offset):
                        yield content
                        return
                    if not offset or incoming.status not in {206, 416}:
                        raise await self._refusal(incoming)

        return open_at

    def _request(self, file_path: str, offset: int) -> SecretBytes:
        wanted = f"Range: bytes={offset}-\r\n" if offset else ""
        target = self._target.get_secret_value() + quote(file_path)
        return SecretBytes(f"{target} HTTP/1.1\r\nHost: {self._host}\r\n{wanted}\r\n".encode())

    async def _refusal(self, incoming: Incoming) -> Exception:
        body = b""
        async with aclosing(incoming.pieces()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > _ERROR_MAX:
                    break
        retry_after = incoming.headers.get("Retry-After")
        return api_error("download", incoming.status, body, retry_after, token=self._token.get_secret_value())


def _content(incoming: Incoming, offset: int) -> Content | None:
    """Return the file's content in an answer; None if it is not the content that was requested."""
    if incoming.status == 200:  # a server may ignore the Range header
        length = incoming.headers.get("Content-Length", "")
        return Content(0, int(length) if re.fullmatch(r"\d{1,18}", length) else None, incoming.pieces())
    found = _RANGE.fullmatch(incoming.headers.get("Content-Range", ""))
    if incoming.status == 206 and offset and found and int(found[1]) == offset:
        return Content(offset, None if found[2] == "*" else int(found[2]), incoming.pieces())
    return None


def is_local(file_path: str) -> bool:
    """Return whether getFile returned a path on the server's disk."""
    return file_path.startswith(("/", "file:"))


async def local_opener(file_path: str, root: Path | None) -> Opener:
    """Return an opener of a local server's file; FileUnusable if it is not below `root`."""
    path = await asyncio.to_thread(_below, file_path, root)

    @asynccontextmanager
    async def open_at(start: int) -> AsyncIterator[Content]:
        total = await size_of(path)
        start = start if start < total else 0
        async with aclosing(read(path, total - start, start)) as pieces:
            yield Content(start, total, pieces)

    return open_at


def _below(file_path: str, root: Path | None) -> Beneath:
    """Return the file if it is below `root`, else FileUnusable: a server's answer must not make the bot read other files."""
    if root is None:
        raise FileUnusable(
            f"{file_path} is on the server's disk: set local_root to the folder it may be read from"
        )
    with suppress(OSError, ValueError, RuntimeError):  # RuntimeError: a loop of links
        path = path_of(file_path) if file_path.startswith("file:") else Path(file_path)
        if found := find_beneath(path, root):
            return found
    raise FileUnusable(f"{file_path} is outside of local_root")
