"""The stores, by URL."""

import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import StoreError
from engine.store import FullStore, Limits
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import open_sqlite


async def open_store(
    url: str, bot: str, *, limits: Limits | None = None, wall: Callable[[], float] = time.time
) -> FullStore:
    """Open `memory:` or `sqlite:FILE` for one bot (its id); StoreError says in one line what is wrong.

    `wall` returns Unix time in seconds, for timers.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not rest:
        return MemoryStore(limits=limits, wall=wall)
    if scheme == "sqlite" and rest:
        return await open_sqlite(Path(rest), bot, limits=limits, wall=wall)
    kind = (
        f"{scheme}:{rest and '...'}" if scheme.isalnum() and ":" in url else "..."
    )  # the rest may be a password
    raise StoreError(f"STORE_URL {kind!r} is not known: use sqlite:FILE or memory:")
