"""Persists the sandbox's chats in a file beside the bot's store, so that both survive a restart.

The file is JSON and rewritten as a whole, up to SAVE_EVERY_S after a change and without fsync: good enough for a
sandbox. Of the contents of files, the newest are saved, up to CONTENT_BYTES_MAX in total.
"""

import asyncio
import json
from pathlib import Path
from typing import Final

import structlog

from telegram.fake.protocol.answers import Json
from telegram.fake.server import FakeServer

log = structlog.get_logger(__name__)

SAVE_EVERY_S: Final = 0.5
CONTENT_BYTES_MAX: Final = 16 << 20
_VERSION: Final = 1
_IDS_SKIPPED: Final = 10_000
"""More updates than arrive between two saves: an update_id that the bot has seen must not be used again."""
_MESSAGE_IDS_SKIPPED: Final = 1_000
"""The same for message ids of a chat, after the process was killed."""
_UNREADABLE: Final = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class SavedChats:
    """Loads `path` into a new fake server, and saves it after calls of `changed`."""

    def __init__(self, fake: FakeServer, path: Path) -> None:
        self._fake = fake
        self._path = path
        self._news = asyncio.Event()

    def read(self) -> bool:
        """Load the file; return False if it does not exist or cannot be read (logged as a warning)."""
        try:
            state = json.loads(self._path.read_bytes())
            if state["version"] != _VERSION:
                raise ValueError("it is of another version")
            for chat in state["chats"]:
                chat["last_message_id"] += 0 if state["clean"] else _MESSAGE_IDS_SKIPPED
            _restore(FakeServer(), state)  # tried first: a damaged file is not loaded in part
            _restore(self._fake, state)
        except FileNotFoundError:
            return False
        except _UNREADABLE as error:
            log.warning(
                "cannot read the sandbox's chats, starting without them",
                file=str(self._path),
                reason=repr(error),
            )
            return False
        return True

    def changed(self) -> None:
        """Request a save within SAVE_EVERY_S."""
        self._news.set()

    async def run(self) -> None:
        """Save changes until cancelled; then save once more."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                self._write(clean=False)
                await asyncio.sleep(SAVE_EVERY_S)
        finally:
            self._write(clean=True)

    def _write(self, *, clean: bool) -> None:
        text = json.dumps({"version": _VERSION, "clean": clean, **_state(self._fake)})
        draft = self._path.with_name(f"{self._path.name}.new")
        try:
            draft.unlink(missing_ok=True)
            draft.touch(mode=0o600, exist_ok=False)  # private messages: readable by the owner only
            draft.write_text(text)
            draft.replace(self._path)
        except OSError as error:
            log.warning("cannot save the sandbox's chats", file=str(self._path), reason=str(error))


def _state(fake: FakeServer) -> Json:
    world = fake.world
    return {
        "ahead_s": fake.clock.ahead_s,
        "queue": fake.queue.state(),
        "files": world.files.state(CONTENT_BYTES_MAX),
        **world.state(),
    }


def _restore(fake: FakeServer, state: Json) -> None:
    fake.world.restore(state)
    fake.world.files.restore(state["files"])
    fake.clock.ahead_s = float(state["ahead_s"])
    fake.queue.restore(state["queue"], skipped=_IDS_SKIPPED)
