"""The chats of the sandbox in a file beside the bot's store, so that both survive a restart together.

The file is JSON, written anew as a whole. It is for a sandbox: written up to SAVE_EVERY_S after what it tells of, without
fsync. Contents of files are kept up to CONTENT_BYTES_MAX, the newest.
"""

import asyncio
import json
from pathlib import Path
from typing import Final

import structlog

from telegram.fake.answers import Json
from telegram.fake.server import FakeServer

log = structlog.get_logger(__name__)

SAVE_EVERY_S: Final = 0.5
CONTENT_BYTES_MAX: Final = 16 << 20
_VERSION: Final = 1
_IDS_SKIPPED: Final = 10_000
"""More updates than come between two writings: an update_id that the bot has seen must not be given to another update."""
_MESSAGE_IDS_SKIPPED: Final = 1_000
"""The same of the messages of a chat, if the process was killed."""
_UNREADABLE: Final = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class KeptChats:
    """Reads `path` into a fake server that was just made, and writes it whenever `changed` was called."""

    def __init__(self, fake: FakeServer, path: Path) -> None:
        self._fake = fake
        self._path = path
        self._news = asyncio.Event()

    def read(self) -> bool:
        """Take over what the file has; false if there is none, or none that can be read (a warning says why)."""
        try:
            state = json.loads(self._path.read_bytes())
            if state["version"] != _VERSION:
                raise ValueError("it is of another version")
            for chat in state["chats"]:
                chat["last_message_id"] += 0 if state["clean"] else _MESSAGE_IDS_SKIPPED
            _restore(FakeServer(), state)  # tried first: what is damaged is not taken over in part
            _restore(self._fake, state)
        except FileNotFoundError:
            return False
        except _UNREADABLE as error:
            log.warning(
                "the sandbox's chats cannot be read, it starts anew", file=str(self._path), reason=repr(error)
            )
            return False
        return True

    def changed(self) -> None:
        """Write soon."""
        self._news.set()

    async def keep(self) -> None:
        """Write what changes, until cancelled; then once more."""
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
            draft.touch(mode=0o600, exist_ok=False)  # people's messages: nobody else reads them
            draft.write_text(text)
            draft.replace(self._path)
        except OSError as error:
            log.warning("the sandbox's chats cannot be written", file=str(self._path), reason=str(error))


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
