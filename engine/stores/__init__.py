"""The stores, by URL."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import StoreError
from engine.store import FullStore, Limits
from engine.stores.memory import MemoryStore
from engine.stores.records import Records
from engine.stores.sqlite import open_sqlite
from engine.stores.sqlite.records import SqliteRecords

if TYPE_CHECKING:
    from engine.stores.postgres.records import PostgresRecords


async def open_store(
    url: str,
    bot: str,
    *,
    limits: Limits | None = None,
    wall: Callable[[], float] = time.time,
    shared: bool = False,
) -> FullStore:
    """Open `memory:`, `sqlite:FILE` or `postgres://...` for one bot (its id).

    StoreError says in one line what is wrong. `wall` returns Unix time in seconds, for timers. If another process has the
    bot in a database, that is a StoreError, too; with `shared`, the processes share its lanes.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not rest:
        return MemoryStore(limits=limits, wall=wall)
    if scheme == "sqlite" and rest:
        return await open_sqlite(Path(rest), bot, limits=limits, wall=wall)
    if scheme in {"postgres", "postgresql"} and rest:
        return await _open_postgres(url, bot, limits=limits, wall=wall, shared=shared)
    raise _not_known(url)


async def open_records(url: str, bot: str) -> Records:
    """Open what a store has about persons and chats, for a bot that is stopped. StoreError says in one line what is wrong."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        return await _opened(SqliteRecords(Path(rest), bot))
    if scheme in {"postgres", "postgresql"} and rest:
        with _optional_driver():
            from engine.stores.postgres.records import PostgresRecords

        return await _opened(PostgresRecords(url, bot))
    if scheme == "memory" and not rest:
        raise StoreError("STORE_URL=memory: has nothing while the bot is stopped")
    raise _not_known(url)


async def _opened(records: "SqliteRecords | PostgresRecords") -> Records:
    try:
        await records.open()
    except BaseException:
        await records.close()
        raise
    return records


def _not_known(url: str) -> StoreError:
    scheme, _, rest = url.partition(":")
    kind = (
        f"{scheme}:{rest and '...'}" if scheme.isalnum() and ":" in url else "..."
    )  # the rest may be a password
    return StoreError(f"STORE_URL {kind!r} is not known: use sqlite:FILE, postgres://... or memory:")


async def _open_postgres(url: str, bot: str, **options: Any) -> FullStore:
    with _optional_driver():
        from engine.stores.postgres import open_postgres
    return await open_postgres(url, bot, **options)


@contextmanager
def _optional_driver() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise StoreError("STORE_URL=postgres://... needs asyncpg: pip install asyncpg") from None
