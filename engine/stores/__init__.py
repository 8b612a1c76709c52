"""The stores, by URL."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import StoreError
from engine.store import FullStore, Limits
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import open_sqlite


async def open_store(
    url: str,
    bot: str,
    *,
    limits: Limits | None = None,
    wall: Callable[[], float] = time.time,
    standby: bool = False,
) -> FullStore:
    """Open `memory:`, `sqlite:FILE` or `postgres://...` for one bot (its id).

    StoreError says in one line what is wrong. `wall` returns Unix time in seconds, for timers. If another process has the
    bot in a database, that is a StoreError, too; with `standby`, wait until it has ended.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not rest:
        return MemoryStore(limits=limits, wall=wall)
    if scheme == "sqlite" and rest:
        return await open_sqlite(Path(rest), bot, limits=limits, wall=wall)
    if scheme in {"postgres", "postgresql"} and rest:
        return await _open_postgres(url, bot, limits=limits, wall=wall, standby=standby)
    kind = (
        f"{scheme}:{rest and '...'}" if scheme.isalnum() and ":" in url else "..."
    )  # the rest may be a password
    raise StoreError(f"STORE_URL {kind!r} is not known: use sqlite:FILE, postgres://... or memory:")


async def _open_postgres(url: str, bot: str, **options: Any) -> FullStore:
    try:
        from engine.stores.postgres import open_postgres  # late: its driver is optional
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise StoreError("STORE_URL=postgres://... needs asyncpg: pip install asyncpg") from None
    return await open_postgres(url, bot, **options)
