"""Files that were sent: in memory up to a limit, or on disk like those of a local Bot API server.

At the limit the oldest contents are dropped; getFile then answers "temporarily unavailable", as Telegram does.
"""

import hashlib
import mimetypes
import re
import tempfile
import time
import unicodedata
from base64 import b64decode, b64encode
from itertools import count
from pathlib import Path, PurePath
from typing import Final, NamedTuple

from telegram.client.safe_name import safe_name
from telegram.fake.protocol.answers import Json

FILE_BYTES_MAX: Final = 50 << 20
DOWNLOAD_BYTES_MAX: Final = 20 << 20
"""Telegram Bot API, "Sending files" and getFile; a local server has no limit for downloads and 2000 MB for uploads."""
KEPT_BYTES_MAX: Final = 256 << 20
KNOWN_MAX: Final = 100_000
"""Maximum number of files; beyond it the oldest are forgotten."""

_PREFIXES: Final = {
    "photo": "AgAC",
    "audio": "CQAC",
    "document": "BQAC",
    "video": "BAAC",
    "animation": "CgAC",
    "voice": "AwAC",
    "video_note": "DQAC",
    "sticker": "CAAC",
    "live_photo": "BgAC",
}
_ENDINGS: Final = {
    "photo": ".jpg",
    "live_photo": ".jpg",
    "audio": ".mp3",
    "video": ".mp4",
    "animation": ".mp4",
    "voice": ".oga",
    "video_note": ".mp4",
    "sticker": ".webp",
}


_NAME_SIGNS: Final = frozenset("<>:\"/\\|?*&`'")  # ASCII characters that are not allowed in a file's name
_STEM_MAX, _ENDING_MAX = 64, 16


def clean_name(name: str) -> str:
    """Return a file's name as the server cleans it (tdlib/td, filesystem.cpp, clean_filename)."""
    name = re.split(r"[/\\]", name)[-1]
    dot = name.rfind(".", 1)
    stem, ending = (name, "") if dot < 0 else (name[:dot], name[dot + 1 :])
    return ".".join(part for part in (_clean(stem, _STEM_MAX), _clean(ending, _ENDING_MAX)) if part)


def _clean(part: str, longest: int) -> str:
    kept: list[str] = []
    for letter in part:
        category = unicodedata.category(letter)
        if len(kept) == longest:
            break
        if category[0] == "M" or category in ("Cf", "Cs") or letter == "\0":
            continue
        allowed = letter not in _NAME_SIGNS if " " <= letter <= "~" else category[0] in "LN"
        kept += letter if allowed else " "
        if kept in ([" "], ["."]):
            kept.clear()
    return "".join(kept).rstrip(" .")


class StoredFile(NamedTuple):
    """A file at Telegram; `kind`: how it was sent ("photo", "document", ...), `path`: file_path of getFile, `size` in bytes."""

    file_id: str
    file_unique_id: str
    kind: str
    name: str
    mime_type: str
    size: int
    path: str

    def identity(self) -> Json:
        """Return the fields that all kinds of file have."""
        return {"file_id": self.file_id, "file_unique_id": self.file_unique_id, "file_size": self.size}


class Files:
    """All files by file_id; with `local` the contents are in a temporary folder, which `close` removes."""

    def __init__(self, *, local: bool = False, bytes_max: int = KEPT_BYTES_MAX) -> None:
        self.local = local
        self._bytes_max = bytes_max
        self._bytes = 0
        self._numbers = count()
        self._files: dict[str, StoredFile] = {}
        self._by_path: dict[str, StoredFile] = {}
        self._contents: dict[str, bytes] = {}  # by path, oldest first
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def add(self, kind: str, content: bytes, *, name: str = "", mime_type: str = "") -> StoredFile:
        """Store a new file; the same content sent as the same kind has the same file_unique_id."""
        n = next(self._numbers)
        name = clean_name(name)
        unique_id = hashlib.blake2b(content or name.encode(), key=kind.encode(), digest_size=9).hexdigest()
        ending = PurePath(safe_name(name)).suffix or _ENDINGS.get(kind, "")
        path = f"{kind}s/file_{n}{ending}"
        if self.local:
            path = str(self._on_disk(path, content))
        file = StoredFile(
            f"{_PREFIXES.get(kind, 'BQAC')}AgADfake{n:08d}",
            f"AQAD{unique_id}",
            kind,
            name,
            mime_type or mimetypes.guess_type(path)[0] or "application/octet-stream",
            len(content),
            path,
        )
        self._note(file, content)
        return file

    def add_known(self, kind: str, given: Json) -> None:
        """Store a file of a user's message under its own file_id, unless it is known."""
        file_id = str(given["file_id"])
        if file_id in self._files:
            return
        content, name = file_id.encode(errors="replace"), clean_name(str(given.get("file_name", "")))
        path = (
            f"{kind}s/file_{next(self._numbers)}{PurePath(safe_name(name)).suffix or _ENDINGS.get(kind, '')}"
        )
        if self.local:
            path = str(self._on_disk(path, content))
        unique_id, mime_type = str(given.get("file_unique_id", "")), str(given.get("mime_type", ""))
        self._note(StoredFile(file_id, unique_id, kind, name, mime_type, len(content), path), content)

    def find(self, file_id: str) -> StoredFile | None:
        """Return the file with this id, also if its content was dropped; None if it is unknown."""
        return self._files.get(file_id)

    def has_content(self, file: StoredFile) -> bool:
        """Whether the file can be downloaded."""
        return file.path in self._contents or self.local

    def download(self, path: str) -> tuple[StoredFile, bytes] | None:
        """Return the file and its content for a `file_path`; None if it is unknown, was dropped, or is on disk."""
        content = self._contents.get(path)
        return None if content is None else (self._by_path[path], content)

    def state(self, bytes_max: int) -> Json:
        """Return the state for `restore`, as JSON: all files, and the newest contents of up to `bytes_max` bytes."""
        contents: Json = {}
        for path, content in reversed(self._contents.items()):
            bytes_max -= len(content)
            if bytes_max < 0:
                break
            contents[path] = b64encode(content).decode()
        return {"files": [list(file) for file in self._files.values()], "contents": contents}

    def restore(self, state: Json) -> None:
        """Load a state into an empty object; files without content are "temporarily unavailable"."""
        for fields in state["files"]:
            file = StoredFile(*fields)
            self._files[file.file_id] = self._by_path[file.path] = file
        for path, content in reversed(state["contents"].items()):
            self._keep(path, b64decode(content))
        self._numbers = count(len(self._files) + int(time.time()))

    def close(self) -> None:
        """Remove the files on disk."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _note(self, file: StoredFile, content: bytes) -> None:
        self._files[file.file_id] = self._by_path[file.path] = file
        if not self.local:
            self._keep(file.path, content)
        if len(self._files) > KNOWN_MAX:
            self._forget(next(iter(self._files.values())))

    def _keep(self, path: str, content: bytes) -> None:
        self._contents[path] = content
        self._bytes += len(content)
        while self._bytes > self._bytes_max:
            self._bytes -= len(self._contents.pop(next(iter(self._contents))))

    def _forget(self, file: StoredFile) -> None:
        del self._files[file.file_id], self._by_path[file.path]
        self._bytes -= len(self._contents.pop(file.path, b""))
        if self.local:
            Path(file.path).unlink(missing_ok=True)

    def _on_disk(self, path: str, content: bytes) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="fake-bot-api-")
        target = Path(self._folder.name) / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
        return target
