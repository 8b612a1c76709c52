"""How the files of calls wait in the outbox, so that the process that sends a call can read them.

| a call's file        | of a bot on one machine          | of a bot whose processes share a store                   |
|----------------------|----------------------------------|----------------------------------------------------------|
| a path below `folder` | its path in the folder           | its path in the folder                                   |
| another path         | the path                         | its content, read when the call is made                  |
| bytes                | as they are, up to DURABLE_BYTES_MAX | as they are                                          |

What is read when the call is sent must be there then. Content is part of the call: it is committed with it, and gone with it.
"""

import os
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from telegram.botapi.files import InputFile

SHARED_BYTES_MAX: Final = 20 << 20
"""Maximum content of all files of one call in a shared store, in bytes."""


class KeptFiles(NamedTuple):
    """Where files are kept for calls that wait."""

    folder: Path | None = None
    """Which all processes see, under this path or another one each; None: there is none."""

    is_shared: bool = False
    """Whether another machine may send a call."""

    def references(self, files: Iterable[InputFile]) -> list[dict[str, str]]:
        """Return the references of a call's files; ValueError for a file that cannot wait, OSError if it cannot be read."""
        room = SHARED_BYTES_MAX
        found = []
        for file in files:
            inside = self._inside(file)
            if inside is not None:
                found.append({**file.reference(), "below": inside})  # other versions read the path
            elif not self.is_shared:
                found.append(file.reference())
            else:
                content = self._content(file, room)
                room -= len(content)
                encoded = b64encode(content).decode()
                found.append({"base64": encoded, "filename": file.filename, "mime": file.mime})
        return found

    def file(self, reference: dict[str, str]) -> InputFile:
        """Return the file of a reference; ValueError or LookupError for an invalid one."""
        if "below" not in reference or self.folder is None:
            return InputFile.of(reference)
        path = self.folder / os.fsdecode(unquote_to_bytes(reference["below"]))
        return InputFile(path, filename=reference["filename"], mime=reference["mime"])

    def _inside(self, file: InputFile) -> str | None:
        """Return the path of a file in the folder; None if it is not there."""
        if self.folder is None or not isinstance(file.source, Path):
            return None
        try:
            # A symbolic link to another place may lead elsewhere on another machine.
            inside = file.source.resolve().relative_to(self.folder.resolve())
        except ValueError:
            return None
        return quote_from_bytes(os.fsencode(inside))

    def _content(self, file: InputFile, room: int) -> bytes:
        if isinstance(file.source, bytes):
            content = file.source
        elif isinstance(file.source, Path):
            with file.source.open("rb") as opened:
                content = opened.read(room + 1)
        else:
            file.reference()  # a stream: raises
            content = b""
        if len(content) <= room:
            return content
        where = (
            "set FILES_DIR to a folder that all processes mount, and put it there"
            if self.folder is None
            else f"put it into {self.folder}"
        )
        raise ValueError(
            f"{file!r} cannot wait in a store that several processes share: a call has {SHARED_BYTES_MAX >> 20} MiB "
            f"of files at most; for larger ones {where}"
        )


ON_ONE_MACHINE: Final = KeptFiles()
