"""sqlite:FILE: everything in one file, owned by one process.

* Leases and scheduling are in memory (engine/stores/owned/): the process owns the file, so after a crash everything is
  claimable at once.
* WAL. `synchronous=FULL` for a transaction with an append (Telegram will forget these updates), NORMAL for the others:
  after a power cut the last commits may have to be repeated, and no update is lost.
* On a full disk or an I/O error nothing is confirmed: StoreUnavailable, until a person has repaired it. On a full disk,
  transactions that only delete still work.
* The file's path is checked, too (disk.py). If the file is gone (deleted, renamed, unmounted): StoreUnavailable until it
  is back. If it was replaced, overwritten or exchanged for an older copy while the bot ran: StoreError, and the bot ends
  with the reason. The store never continues with a file that it did not open.
"""

import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import StoreError, StoreUnavailable
from engine.store import Limits
from engine.stores.owned.store import OwnedStore
from engine.stores.sqlite.disk import Connect, Look, Renew, connect, look, renew
from engine.stores.sqlite.file import StoreFile
from engine.stores.sqlite.ledger import FileLedger
from engine.stores.sqlite.space import Allocate, allocate
from engine.stores.sqlite.thread import JobThread, OwnThread
from engine.stores.sqlite.writer import Writer


class SqliteStore(OwnedStore):
    """One file, one process, one session. Opened by `open_sqlite`."""

    _ledger: FileLedger
    _writer: Writer


async def open_sqlite(
    path: Path,
    bot: str,
    *,
    limits: Limits | None = None,
    wall: Callable[[], float] = time.time,
    connect: Connect = connect,
    renew: Renew = renew,
    look: Look = look,
    allocate: Allocate = allocate,
    thread: Callable[[], JobThread] = OwnThread,
    look_every_s: float | None = 1.0,
) -> SqliteStore:
    """Open or create the file of one bot; StoreError says in one line what a person has to do.

    The store checks every `look_every_s` seconds whether the file is still there; None (for virtual time): only when it
    writes. `wall` returns Unix time in seconds.
    """
    file = StoreFile(path, bot, connect, renew, look, allocate)
    store = SqliteStore(FileLedger(file, thread()), limits or Limits(), wall, look_every_s=look_every_s)
    try:
        await store.open()
    except BaseException as error:
        await store.close()
        if isinstance(error, StoreUnavailable):
            raise StoreError(f"cannot open {path}: {error}") from None
        raise
    return store
