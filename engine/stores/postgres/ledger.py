"""The ledger that is a PostgreSQL database: connections, the hold on the bot, and reading all."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog

from engine.errors import StoreError, StoreUnavailable
from engine.model import Sql
from engine.store import NoNotes
from engine.stores.owned.ledger import Loader
from engine.stores.owned.writer import Doubted
from engine.stores.postgres.address import Address
from engine.stores.postgres.connection import Connection, connect
from engine.stores.postgres.errors import at_opening, described
from engine.stores.postgres.hold import Held, Hold
from engine.stores.postgres.reading import Reader
from engine.stores.postgres.schema import prepare
from engine.stores.postgres.source import read_all
from engine.stores.postgres.writer import Writer

log = structlog.get_logger(__name__)
T = TypeVar("T")

TTL_S: Final = 15.0
"""A process that has not renewed its hold for so long may be taken over."""

RENEW_EVERY_S: Final = 1.0
_CUT_AT: Final = 0.7
"""After this part of TTL_S without a renewal the handlers are cut: another process may take over soon."""

_LOOK_EVERY_S: Final = 0.5
"""How often a standby looks whether the bot is free."""

_CLOSE_S: Final = 2.0


class PostgresLedger:
    """See Ledger. `renew_every_s` is None on virtual time: the hold is not renewed then."""

    pause_max_s = 2.0

    def __init__(
        self,
        address: Address,
        hold: Callable[[], Hold],
        wall: Callable[[], float],
        *,
        standby: bool,
        renew_every_s: float | None = RENEW_EVERY_S,
    ) -> None:
        """`hold` returns a hold under a new owner; `standby`: wait while another process holds the bot."""
        self.notes = NoNotes()
        self._address = address
        self._reader = Reader(address)
        self._new_hold = hold
        self._hold = hold()
        self._wall = wall
        self._standby = standby
        self._renew_every_s = renew_every_s
        self._connections: list[Connection] = []
        self._held: Held | None = None
        self._writer: Writer | None = None
        self._opened: Callable[[Doubted], Writer]
        self._keeper: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._asked_at: float  # when the last renewal was requested, which the server has confirmed since
        self._lost: Callable[[], object] = lambda: None
        self._reopening = asyncio.Lock()
        self._closed = asyncio.Event()

    @property
    def name(self) -> str:
        """See Ledger."""
        return self._address.name

    async def open(self, loader: Loader[T]) -> T:
        """See Ledger. StoreError at once if the database cannot be reached; later on a standby waits for it, too."""
        try:
            connection = await self._connect()
            await prepare(connection, self._address)
            self._held = await self._take(connection)
            if self._held is None and not self._standby:
                raise StoreError(
                    f"{self.name} is in use by {await self._hold.who(connection)}: stop it first"
                )
        except Exception as error:  # noqa: BLE001 - whatever the driver raises
            raise at_opening(self.name, error) from None
        if self._held is not None:
            return await self._load(connection, loader)
        while True:
            try:
                return await self.reopen(loader)
            except StoreUnavailable as error:
                log.warning("the store cannot be reached", store=self.name, reason=str(error))
                await self._pause(self.pause_max_s)

    async def reopen(self, loader: Loader[T]) -> T:
        """See Ledger. Waits while another process holds the bot."""
        async with self._reopening:
            return await self._reopen(loader)

    async def _reopen(self, loader: Loader[T]) -> T:
        self._let_go()
        try:
            connection = await self._connect()
            if self._held is not None:
                self._asked_at = asyncio.get_running_loop().time()
                self._held = await self._hold.resume(connection)
        except Exception as error:  # noqa: BLE001 - whatever the driver raises
            raise at_opening(self.name, error) from None
        if self._held is None:
            self._stop_alarm()
            self._lost()
            self._hold = self._new_hold()
            await self._wait_for_hold(connection)
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
        """See Ledger. A hold that cannot be given up expires."""
        self._closed.set()
        self._reader.close()
        if self._reopening.locked():
            self._let_go()  # so that it ends now
            async with self._reopening:
                pass
        self._stop_alarm()
        if self._held is not None and self._connections:
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_S):
                    await self._hold.give_up(self._connections[0])
                    for connection in self._connections:
                        await connection.close()
        self._let_go()

    # -- parts of the above -----------------------------------------------------------------------------------

    async def _connect(self) -> Connection:
        connection = await connect(self._address, self._hold.application)
        self._connections.append(connection)
        if self._closed.is_set():
            raise StoreUnavailable("the store is closed")
        return connection

    async def _wait_for_hold(self, connection: Connection) -> None:
        """Wait until this process holds the bot; StoreUnavailable if the connection is lost, or at `close`."""
        is_logged = False
        try:
            await self._hold.name(connection)
            while (held := await self._take(connection)) is None:
                if not is_logged:
                    holder = await self._hold.who(connection)
                    log.info("standby: another process has the bot", store=self.name, held_by=holder)
                    is_logged = True
                await self._pause(_LOOK_EVERY_S)
        except Exception as error:  # noqa: BLE001 - whatever the driver raises
            raise at_opening(self.name, error) from None
        log.info("this process has the bot now", store=self.name)
        self._held = held

    async def _take(self, connection: Connection) -> Held | None:
        self._asked_at = asyncio.get_running_loop().time()
        return await self._hold.take(connection)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        if self._closed.is_set():
            raise StoreUnavailable("the store is closed")

    async def _load(self, connection: Connection, loader: Loader[T]) -> T:
        """Start renewing, and read all."""
        held = self._held
        if held is None:
            raise StoreUnavailable("the store is closed")
        try:
            if self._renew_every_s is not None:
                keeping = await self._connect()
                self._set_alarm()
                keep = self._keep(keeping, held, self._renew_every_s)
                self._keeper = asyncio.create_task(keep, name="renewing the hold")
            found = await read_all(connection, self._address.schema, self._hold.bot, held.epoch, self._wall())
        except Exception as error:  # noqa: BLE001 - whatever the driver raises
            raise at_opening(self.name, error) from None
        schema, bot, number = self._address.schema, self._hold.bot, found.last_dead()
        self._opened = lambda doubted: Writer(connection, schema, bot, held, number, doubted)
        return await asyncio.get_running_loop().run_in_executor(None, loader(), found)

    async def _keep(self, connection: Connection, held: Held, every_s: float) -> None:
        """Renew the hold until it is lost, or the connection is."""
        while True:
            await asyncio.sleep(every_s)
            asked_at = asyncio.get_running_loop().time()
            try:
                await self._hold.renew(connection, held)
            except Exception as error:  # noqa: BLE001 - whatever the driver raises
                self._doubt(f"the hold on the bot cannot be renewed: {described(error)}")
                return
            self._asked_at = asked_at
            self._set_alarm()

    def _doubt(self, reason: str) -> None:
        """Put the store in doubt, and cut the connections: the answer to what is under way may never come."""
        if self._writer is not None and not self._writer.suspect:
            self._writer.doubt(StoreUnavailable(reason))
            for connection in self._connections:
                connection.terminate()

    def _set_alarm(self) -> None:
        self._stop_alarm()
        cut_at = self._asked_at + _CUT_AT * self._hold.ttl_s
        self._alarm = asyncio.get_running_loop().call_at(cut_at, self._cut)

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _cut(self) -> None:
        """End what runs before another process may take over: all is read anew, whichever process has the bot then."""
        self._doubt("the hold on the bot could not be renewed in time")
        if self._writer is not None:
            self._lost()

    def _let_go(self) -> None:
        """Stop renewing, and cut the connections."""
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None
        for connection in self._connections:
            connection.terminate()
        self._connections.clear()
