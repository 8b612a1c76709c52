"""The stores, by URL."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from engine.errors import StoreError
from engine.store import FullStore, Limits
from engine.stores.memory import MemoryStore
from engine.stores.moving import Moving
from engine.stores.records import Records
from engine.stores.sqlite import open_sqlite
from engine.stores.sqlite.moving import MovingFile
from engine.stores.sqlite.moving import bots_of as sqlite_bots
from engine.stores.sqlite.records import SqliteRecords

T = TypeVar("T", bound="_Opening")


async def open_store(
    url: str,
    bot: str,
    *,
    limits: Limits | None = None,
    wall: Callable[[], float] = time.time,
    shared: bool = False,
    owns: bool = True,
    named: Callable[[int], object] | None = None,
) -> FullStore:
    """Open `memory:`, `sqlite:FILE` or `postgres://...` for one bot (its id).

    StoreError says in one line what is wrong. `wall` returns Unix time in seconds, for timers. If another process has the
    bot in a database, that is a StoreError, too; with `shared`, the processes share its lanes. Unless it `owns`, this one takes
    no lanes. `named` is called with the number of each session of this process in a database (`revoke`), before that begins.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not rest:
        return MemoryStore(limits=limits, wall=wall)
    if scheme == "sqlite" and rest:
        return await open_sqlite(Path(rest), bot, limits=limits, wall=wall)
    if scheme in {"postgres", "postgresql"} and rest:
        return await _open_postgres(url, bot, limits=limits, wall=wall, shared=shared, owns=owns, named=named)
    raise _not_known(url)


async def revoke(url: str, bot: str, session: int) -> bool:
    """End a session of a process that is dead, so that others continue at once; False: it has ended already.

    Waits for what the database still does for it. StoreUnavailable, StoreError.
    """
    return await revoker(url, bot)(session)


def revoker(url: str, bot: str) -> Callable[[int], Awaitable[bool]]:
    """Return `revoke` for one bot, with all code of it loaded: later its files may be those of another version. StoreError."""
    with _optional_driver():
        from engine.stores.postgres.tools.revoking import revoke_session
    return partial(revoke_session, url, bot)


async def open_records(url: str, bot: str) -> Records:
    """Open what a store has about persons and chats, for a bot that is stopped. StoreError says in one line what is wrong."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        return await _opened(SqliteRecords(Path(rest), bot))
    if scheme in {"postgres", "postgresql"} and rest:
        with _optional_driver():
            from engine.stores.postgres.tools.records import PostgresRecords

        return await _opened(PostgresRecords(url, bot))
    if scheme == "memory" and not rest:
        raise StoreError("STORE_URL=memory: has nothing while the bot is stopped")
    raise _not_known(url)


async def open_moving(url: str, bot: str, *, is_source: bool, again: bool = False) -> Moving:
    """Open a store for copying one bot, while no process uses it; StoreError says in one line what is wrong.

    A target is created if missing. `again`: also a source that was moved before.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        return await _opened(MovingFile(Path(rest), bot, is_source=is_source, again=again))
    if scheme in {"postgres", "postgresql"} and rest:
        with _optional_driver():
            from engine.stores.postgres.tools.moving import MovingBot

        return await _opened(MovingBot(url, bot, is_source=is_source, again=again))
    raise _not_copied(url)


async def bots_of(url: str) -> list[str]:
    """Return the numbers of the bots that a store has; StoreError says in one line what is wrong."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        return sqlite_bots(Path(rest))
    if scheme in {"postgres", "postgresql"} and rest:
        with _optional_driver():
            from engine.stores.postgres.tools.moving import bots_of as postgres_bots

        return await postgres_bots(url)
    raise _not_copied(url)


async def migrate_schema(url: str, role: str | None) -> str:
    """Create or migrate the tables of a database, and let `role` use them; return what they are. StoreError in one line."""
    if url.partition(":")[0] not in {"postgres", "postgresql"}:
        raise StoreError(
            "only STORE_URL=postgres://... has a schema to migrate: a file is migrated when it is opened"
        )
    with _optional_driver():
        from engine.stores.postgres.tools.migrating import migrate_url

    return await migrate_url(url, role)


class _Opening(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...


async def _opened(opening: T) -> T:
    try:
        await opening.open()
    except BaseException:
        await opening.close()
        raise
    return opening


def _not_copied(url: str) -> StoreError:
    if url.startswith("memory:"):
        return StoreError("memory: cannot be copied: it has nothing while the bot is stopped")
    return _not_known(url)


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
