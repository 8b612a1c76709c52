"""The ledger that is a PostgreSQL database: a session, and reading what it owns."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog

from engine.errors import StoreError, StoreUnavailable
from engine.model import Sql
from engine.sharing import Lack
from engine.store import NoNotes
from engine.stores.owned.ledger import Granted, Loader, Source
from engine.stores.owned.shares import Shares
from engine.stores.owned.writer import Doubted
from engine.stores.postgres.address import Address
from engine.stores.postgres.blocks import BLOCKS, Blocks
from engine.stores.postgres.connection import Connection, Connections, connect
from engine.stores.postgres.errors import at_opening
from engine.stores.postgres.keeper import Keeper
from engine.stores.postgres.reading import Reader
from engine.stores.postgres.schema import prepare
from engine.stores.postgres.session import Held, Session
from engine.stores.postgres.source import read_first, take_free
from engine.stores.postgres.transactions import Transactions
from engine.stores.postgres.writer import Writer

log = structlog.get_logger(__name__)
T = TypeVar("T")

TTL_S: Final = 15.0
"""A process that has not renewed its session for so long may be reaped."""

RENEW_EVERY_S: Final = 1.0
_LOOK_EVERY_S: Final = 0.5
"""How often a process that waits for the right to append looks whether it is free."""

_COUNTED_S: Final = 1.0
_CLOSE_S: Final = 2.0
_PENDING: Final = "SELECT count(*) FROM {0}.inbox WHERE bot = $1"
_LETTERS: Final = "SELECT count(*) FROM {0}.dead WHERE bot = $1"


class PostgresLedger:
    """See SharedLedger. `renew_every_s` is None on virtual time: the session is not renewed then."""

    pause_max_s = 2.0

    def __init__(
        self,
        address: Address,
        session: Callable[[], Session],
        wall: Callable[[], float],
        *,
        alone: bool,
        renew_every_s: float | None = RENEW_EVERY_S,
    ) -> None:
        """`session` returns a new one; `alone`: StoreError if another process has the bot."""
        self.notes = NoNotes()
        self.bell = asyncio.Event()
        self.shares = Shares(())
        self._address = address
        self._reader = Reader(address)
        self.transactions = Transactions(
            address.schema, lambda settings: connect(address, self._session.application, settings)
        )
        self._new_session = session
        self._session = session()
        self._wall = wall
        self._alone = alone
        self._renew_every_s = renew_every_s
        self._connections = Connections(address, lambda: self._session.application, self._doubt)
        self._held: Held | None = None
        self._writer: Writer | None = None
        self._opened: Callable[[Doubted], Writer]
        self._keeper: Keeper | None = None
        self._former: Keeper | None = None  # it knows when the time of the session is over
        self._blocks: Blocks
        self._openings = 0
        self._pending = (0, float("-inf"))  # a count, and when it was made
        self._lost: Callable[[], object] = lambda: None
        self._reopening = asyncio.Lock()
        self._freed = asyncio.Event()  # the right to append may be free, or the store is closed
        self.poller = ""  # see SharedLedger

    @property
    def name(self) -> str:
        """See Ledger."""
        return self._address.name

    @property
    def sessions(self) -> int:
        """See SharedLedger."""
        return len(self._session.all)

    @property
    def is_alone(self) -> bool:
        """See SharedLedger."""
        return self._session.all == {self._session.id}

    @property
    def lacks(self) -> frozenset[Lack]:
        """See SharedLedger."""
        return self._session.lacks

    async def open(self, loader: Loader[T]) -> T:
        """See Ledger. StoreError at once if the database cannot be reached."""
        try:
            connection = await self._connections.make()
            await prepare(connection, self._address)
            self._held = await self._session.join(connection, alone=self._alone)
            if self._held is None and self._alone:
                other = await self._session.another(connection)
                raise StoreError(f"{self.name} is in use by {other}: stop it first")
        except Exception as error:  # noqa: BLE001 - whatever the driver raises
            raise at_opening(self.name, error) from None
        if self._held is not None:
            return await self._load(connection, loader)
        while True:
            try:
                return await self.reopen(loader)
            except StoreUnavailable as error:
                log.warning("the store cannot be reached", store=self.name, reason=str(error))
                await self.pause()

    async def reopen(self, loader: Loader[T]) -> T:
        """See Ledger. Under a new session, if this one was reaped."""
        async with self._reopening:
            self._let_go()
            try:
                connection = await self._connections.make()
                if self._held is not None:
                    self._held = await self._session.resume(connection)
                if self._held is None:
                    self._lost()
                    await self._session.leave(connection)  # a failover may have brought it back
                    self._session = self._new_session()
                    await self._join(connection)
            except Exception as error:  # noqa: BLE001 - whatever the driver raises
                raise at_opening(self.name, error) from None
            return await self._load(connection, loader)

    def writer(self, doubted: Doubted, lost: Callable[[], object]) -> Writer:
        """See Ledger."""
        self._lost = lost
        self._writer = self._opened(doubted)
        return self._writer

    async def query(self, asked: Sql) -> list[Any]:
        """See Ledger."""
        return await self._reader.query(asked)

    async def create_tables(self, script: str) -> None:
        """See Ledger."""
        await self._reader.create_tables(script)

    async def close(self) -> None:
        """See Ledger. A session that cannot be ended expires."""
        self._connections.is_closed = True
        self._freed.set()
        self._reader.close()
        await self.transactions.close()
        if self._reopening.locked():
            self._let_go()  # so that it ends now
            async with self._reopening:
                pass
        if self._held is not None and self._keeper is not None:
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_S):
                    await self._keeper.leave()
                    await self._blocks.give_back(self._connections.reader, "letters")
                    for connection in self._connections.made:
                        await connection.close()
        self._let_go()
        if self._former is not None:
            self._former.forget()

    # -- sharing ---------------------------------------------------------------------------------------------------------

    @property
    def held(self) -> dict[str, str]:
        """See SharedLedger."""
        return self._session.held

    def tell_all(self) -> None:
        """See SharedLedger."""
        self._ring(moved=True)

    async def part(self) -> frozenset[int]:
        """See SharedLedger."""
        if self._keeper is not None and self._keeper.moved:
            self._keeper.moved = False
            async with self._connections.reading() as connection:
                await self._session.look(connection)
        return self._session.part

    async def take(self, wanted: Collection[int]) -> Source | None:
        """See SharedLedger. Ids of calls and timers are higher from now on than all that the former owners used."""
        held, schema, bot = self._in_force(), self._address.schema, self._session.bot
        async with self._connections.reading() as connection:
            found = await take_free(connection, schema, bot, held, wanted, self._wall())
            if found is not None:
                await self._blocks.reserve(connection, "calls", "timers")
        return found

    async def grant(self) -> Granted | None:
        """See SharedLedger."""
        held = self._in_force()
        async with self._connections.reading() as connection:
            granted = await self._session.grant(connection, held)
            if granted is None and not await self._session.is_alive(connection, held):
                self._doubt("other processes have taken over", is_over=True)
                raise StoreUnavailable("other processes have taken over")
            poller = "" if granted else await self._session.poller(connection)
        if granted is not None and self.poller:
            log.info("this process takes updates in now", store=self.name)
        elif granted is None and poller != self.poller:
            part = "another process takes updates in: this one handles its part"
            log.info(part, store=self.name, polls=poller)
        self.poller = poller
        return granted

    async def leave(self) -> None:
        """See SharedLedger."""
        async with self._connections.reading() as connection:
            await self._session.step_back(connection)
        self._ring(moved=True)

    def is_in_time(self) -> bool:
        """See SharedLedger."""
        keeper = self._keeper or self._former
        return keeper is None or keeper.is_in_time()

    async def resign(self, epoch: int) -> None:
        """See SharedLedger."""
        async with self._connections.reading() as connection:
            await self._session.resign(connection, epoch)
        self._ring(moved=True)

    async def pending(self) -> int:
        """See SharedLedger."""
        now = asyncio.get_running_loop().time()
        if now - self._pending[1] > _COUNTED_S:
            async with self._connections.reading() as connection:
                count = await connection.fetchval(_PENDING.format(self._address.schema), self._session.bot)
            self._pending = (count, now)
        return self._pending[0]

    async def letters(self) -> int:
        """See SharedLedger."""
        async with self._connections.reading() as connection:
            return int(await connection.fetchval(_LETTERS.format(self._address.schema), self._session.bot))

    async def pause(self) -> None:
        """See SharedLedger."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_S):
                await self._freed.wait()
        self._freed.clear()  # after the wait: what comes between a look and the pause ends the pause
        if self._connections.is_closed:
            raise StoreUnavailable("the store is closed")

    # -- parts of the above ------------------------------------------------------------------------------------------------

    async def _join(self, connection: Connection) -> None:
        """Begin the session; wait while another process has the bot alone."""
        other = ""
        while self._held is None:
            self._held = await self._session.join(connection, alone=self._alone)
            if self._held is None:
                if not other:
                    other = await self._session.another(connection)
                    log.info("waiting: another process has the bot alone", store=self.name, held_by=other)
                await self.pause()

    def _in_force(self) -> Held:
        if self._held is None:
            raise StoreUnavailable("the store is closed")
        return self._held

    async def _load(self, connection: Connection, loader: Loader[T]) -> T:
        """Start renewing, and read all that the session owns."""
        held, schema, bot = self._in_force(), self._address.schema, self._session.bot
        if self.sessions > 1:
            log.info("sharing the bot with other processes", store=self.name, processes=self.sessions)
        try:
            self._connections.reader = reader = await self._connections.make()
            keeping = await self._connections.make()
            keeper = Keeper(self._session, keeping, held, self._heard, self._doubt, self._former)
            await keeper.start(self._renew_every_s)
            self._keeper = keeper
            found = await read_first(reader, schema, self._session, held, self._wall())
            self._openings += 1  # not the stint: that of another session may be the same
            found.owner_epoch = self._openings
            found.granted = await self._session.granted(reader)
            found.all_seen = found.granted.seen if found.granted else await self._session.seen(reader)
            self._blocks = Blocks(schema, bot, self._connections.reading)
            await self._blocks.reserve(reader, *(BLOCKS if found.shares else ("letters",)))
            found.blocks = self._blocks.spans
        except Exception as error:  # noqa: BLE001 - whatever the driver raises
            raise at_opening(self.name, error) from None
        self._opened = lambda doubted: Writer(
            connection, schema, bot, held, doubted, lambda: self.shares.bits, self._ring, keeper.window
        )
        loaded = await asyncio.get_running_loop().run_in_executor(None, loader(), found)
        if not keeper.is_at_work:  # nothing would notice later
            raise StoreUnavailable("the session cannot be renewed")
        return loaded

    def _heard(self, *, moved: bool) -> None:
        self.bell.set()
        if moved:
            self._freed.set()

    def _ring(self, *, moved: bool) -> None:
        if self._keeper is not None:
            self._keeper.ring(moved=moved)

    def _doubt(self, reason: str, *, is_over: bool = False) -> None:
        """Put the store in doubt, and cut the connections: the answer to what is under way may never come.

        `is_over`: other processes may take over what this one has.
        """
        if self._writer is not None and not self._writer.suspect:
            self._writer.doubt(StoreUnavailable(reason))
            self._connections.cut()
        if is_over and self._writer is not None:
            self._lost()

    def _let_go(self) -> None:
        """Stop renewing, and cut the connections; what runs is ended when the time of the session is over."""
        if self._keeper is not None:
            self._keeper.stop()
            self._former, self._keeper = self._keeper, None
        self.transactions.cut()
        self._connections.cut()
