"""postgres://: a database; several processes share the lanes of a bot (engine/stores/owned/sessions.py).

* Lanes, leases, timers and caches are in the memory of the process whose session owns the lane's share. Each group of
  requests is one statement, which checks in its own transaction that the session is in force.
* What a killed process owned others take within a few seconds; of one that is stopped, or cut off from the database,
  after TTL_S. What it does later is refused.
* Commits are synchronous: what was confirmed to Telegram, and the calls that are sent, survive a crash of the server.
* After a lost connection, or a crash of the server, the same process reads all anew and continues.
"""

import os
import socket
import time
from collections.abc import Callable

from engine.errors import StoreAwayError, StoreError, StoreUnavailable, TransactionFailed
from engine.store import Limits
from engine.stores.owned.group import Group
from engine.stores.owned.sessions import SharedStore
from engine.stores.postgres.address import read_address
from engine.stores.postgres.ledger import RENEW_EVERY_S, TTL_S, PostgresLedger
from engine.stores.postgres.session import Session
from engine.stores.postgres.within import Within
from engine.stores.postgres.writer import Writer
from engine.transaction import Transaction


class PostgresStore(SharedStore):
    """One session. Opened by `open_postgres`."""

    _ledger: PostgresLedger
    _writer: Writer

    def transaction(self) -> Transaction:
        """Return a transaction for SQL of a handler, whose commit is that of `Effects.within`."""
        return Within(self._ledger.transactions)

    def _join(self, group: Group, within: Transaction) -> None:
        if not isinstance(within, Within):
            raise TransactionFailed("a transaction of another store")
        within.join()
        group.within[len(group.waiting)] = within


async def open_postgres(
    url: str,
    bot: str,
    *,
    limits: Limits | None = None,
    wall: Callable[[], float] = time.time,
    shared: bool = True,
    ttl_s: float = TTL_S,
    renew_every_s: float | None = RENEW_EVERY_S,
    owns: bool = True,
    named: Callable[[int], object] | None = None,
) -> PostgresStore:
    """Open the store of one bot, its tables created if missing; `shared` with other processes, or else for this one alone.

    Alone: StoreError if another process has the bot, and others wait. Unless it `owns`, it takes no shares. `named` is called
    with the id of each of its sessions, before that begins. StoreError says in one line what a person has to do; StoreAwayError: the
    database cannot be reached.
    """
    address = read_address(url)
    if not bot.isdecimal():
        raise StoreError(f"a bot in {address.name} has a number, not {bot!s:.40}")
    holder = f"process {os.getpid()} on {socket.gethostname()}"

    def session() -> Session:
        new = Session(address.schema, int(bot), ttl_s=ttl_s, holder=holder, owns=owns)
        if named is not None:
            named(new.id)
        return new

    ledger = PostgresLedger(address, session, wall, alone=not shared, renew_every_s=renew_every_s)
    store = PostgresStore(ledger, limits or Limits(), wall)
    try:
        await store.open()
    except BaseException as error:
        await store.close()
        if isinstance(error, StoreUnavailable):
            raise StoreAwayError(str(error)) from None
        raise
    return store
