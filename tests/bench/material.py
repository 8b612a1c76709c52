"""What benchmarks feed on: realistic updates, and the stores to feed."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine import Envelope
from engine.stores import open_store

BATCH = 100  # as getUpdates gives them


def raw_update(update_id: int, chat: int) -> bytes:
    """A text message as Telegram sends it, about 600 bytes."""
    person = {
        "id": chat,
        "is_bot": False,
        "first_name": "Ada",
        "last_name": "Lovelace",
        "username": f"ada{chat}",
    }
    message = {
        "message_id": update_id,
        "from": {**person, "language_code": "en"},
        "chat": {**person, "type": "private"},
        "date": 1_790_000_000,
        "text": "what one writes to a bot, at some length, so that the size is that of a usual message " * 3,
    }
    return json.dumps({"update_id": update_id, "message": message}, separators=(",", ":")).encode()


def batches(updates: int, chats: int, *, first: int = 1) -> list[list[Envelope]]:
    """Updates in batches, their chats taking turns."""
    bodies = {chat: raw_update(first, chat) for chat in range(1, min(chats, 100) + 1)}
    made = []
    for start in range(first, first + updates, BATCH):
        ids = range(start, min(start + BATCH, first + updates))
        made.append(
            [Envelope(i, f"chat:{i % chats}", str(i % chats), bodies[i % len(bodies) + 1]) for i in ids]
        )
    return made


@asynccontextmanager
async def a_store(kind: str) -> AsyncIterator[Any]:
    """A new store, in a file on the disk of the working directory for `sqlite`; or the URL of another one."""
    if kind != "sqlite":
        store = await open_store("memory:" if kind == "memory" else kind, "1")
        yield store
        await store.close()
        return
    with TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        store = await open_store(f"sqlite:{Path(folder) / 'bench.db'}", "1")
        yield store
        await store.close()
