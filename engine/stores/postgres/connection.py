"""Connections: how they are made and set up, and what of the driver is used."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, Protocol
from weakref import WeakSet

import asyncpg

from engine.errors import StoreError, StoreUnavailable
from engine.stores.postgres.address import Address, read_address
from engine.stores.postgres.errors import at_opening, described, outcome_of

_CONNECT_S: Final = 5.0
COMMAND_S: Final = 20.0
_SETTINGS: Final = {
    "jit": "off",  # it would compile each statement for longer than it runs
    "enable_seqscan": "off",  # a plan made while a table was empty would be kept when it is full
    "enable_bitmapscan": "off",  # it would sort all that waits, to return a few rows in order
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "idle_session_timeout": "0",  # these connections wait for work
    "client_min_messages": "warning",  # it says that a commit has not reached the standby (below)
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "synchronous_commit": "on",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}

_UNLIMITED: Final = ["transaction_timeout"]
"""Since PostgreSQL 17: an older server refuses a connection that names it. To read a large backlog may take minutes."""

_FIRST: Final = """
SELECT pg_backend_pid(), pg_is_in_recovery(), (SELECT count(set_config(name, '0', false)) FROM pg_settings WHERE name = ANY($1))"""


class Connection(Protocol):
    """What is used of asyncpg's connection, which has no types. A row can be indexed and unpacked."""

    async def execute(self, query: str, *values: Any) -> str:
        """Execute; return the command's tag."""

    async def fetch(self, query: str, *values: Any, timeout: float | None = None) -> list[Any]:  # noqa: ASYNC109 - the driver's
        """Return the rows."""

    async def fetchrow(self, query: str, *values: Any, timeout: float = ...) -> Sequence[Any] | None:  # noqa: ASYNC109 - the driver's
        """Return the first row."""

    async def fetchval(self, query: str, *values: Any) -> Any:
        """Return the first value of the first row."""

    def transaction(self, *, isolation: str | None = None) -> AbstractAsyncContextManager[Any]:
        """Return a transaction, to be entered."""

    async def add_listener(self, channel: str, callback: Any) -> None:
        """Call it at each NOTIFY of this channel."""

    def add_log_listener(self, callback: Any) -> None:
        """Call it with the connection and each warning, before the answer that follows it is returned."""

    def get_server_pid(self) -> int:
        """Return the process id that the server gave at the start of the connection."""

    async def prepare(self, query: str) -> Any:
        """Return a prepared statement: exactly one statement."""

    def is_in_transaction(self) -> bool:
        """Return whether a transaction is open, as of the last answer."""

    def is_closed(self) -> bool:
        """Return whether it is closed."""

    async def close(self) -> None:
        """Close it."""

    def terminate(self) -> None:
        """Cut it; may be repeated."""


async def connect(
    address: Address, application: str, settings: Mapping[str, str] = MappingProxyType({})
) -> Connection:
    """Connect, with other settings than usual; StoreError for a pooler, StoreUnavailable for a standby server, and the driver's errors."""
    chosen = {**_SETTINGS, **settings, "application_name": application}
    connection: Connection = await asyncpg.connect(
        **address.options, timeout=_CONNECT_S, command_timeout=COMMAND_S, server_settings=chosen
    )
    connection.add_log_listener(_note_not_replicated)
    try:
        pid, is_standby, _ = await connection.fetchrow(_FIRST, _UNLIMITED) or (0, False, 0)
        # A pooler invents the process id that it gives, and shares its connections: settings would be other clients', too.
        if pid != connection.get_server_pid():
            raise StoreError(f"{address.name} is a pooler: connect to PostgreSQL itself")
        if is_standby:
            raise StoreUnavailable(f"{address.name} is a standby server, which cannot be written")
    except BaseException:
        connection.terminate()
        raise
    return connection


_NOT_REPLICATED: Final[WeakSet[Any]] = WeakSet()


def _note_not_replicated(connection: Any, message: Any) -> None:
    if message.server_source_function == "SyncRepWaitForLSN":
        _NOT_REPLICATED.add(connection)


def check_replicated(connection: Connection) -> None:
    """After a commit: StoreUnavailable if a person has ended its wait for a synchronous standby.

    It has succeeded then, with a warning, and a failover would lose it. To read all anew waits for the standby again.
    """
    if connection in _NOT_REPLICATED:
        raise StoreUnavailable("a commit has not reached the standby server")


@asynccontextmanager
async def visit(url: str, application: str) -> AsyncIterator[tuple[Address, Connection]]:
    """Connect to a store for a moment, without a session. StoreError, StoreUnavailable instead of the driver's errors."""
    address = read_address(url)
    try:
        connection = await connect(address, application)
        try:
            yield address, connection
        finally:
            connection.terminate()
    except Exception as error:  # noqa: BLE001 - whatever the driver raises
        raise at_opening(address.name, error) from None


class Doubt(Protocol):
    """Called with the reason why the store is in doubt."""

    def __call__(self, reason: str, *, is_over: bool = False) -> None:
        """`is_over`: other processes may take over what this one has."""


class Connections:
    """The connections of one process's sessions: made one by one, cut all at once."""

    def __init__(self, address: Address, application: Callable[[], str], doubt: Doubt) -> None:
        """`application` returns the application_name of those that are made now."""
        self.made: list[Connection] = []
        """Those that were not cut."""

        self.is_closed = False
        """No more are made."""

        self._address = address
        self._application = application
        self._doubt = doubt
        self.reader: Connection
        """One of them, for what is read beside the writer; who makes it sets it."""

        self._reading = asyncio.Lock()
        self._was_let_in = False

    async def make(self) -> Connection:
        """Connect; StoreUnavailable if `is_closed`, and what `connect` raises.

        A server that refuses this process after it had let it in is at maintenance: StoreUnavailable, since that passes.
        """
        try:
            connection = await connect(self._address, self._application())
        except asyncpg.PostgresError as error:
            if not self._was_let_in:
                raise
            raise StoreUnavailable(f"{self._address.name} refuses a connection: {described(error)}") from None
        self._was_let_in = True
        self.made.append(connection)
        if self.is_closed:
            raise StoreUnavailable("the store is closed")
        return connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Lend the reader, for one request at a time; StoreUnavailable instead of the driver's errors."""
        async with self._reading:
            try:
                yield self.reader
            except Exception as error:  # noqa: BLE001 - whatever the driver raises
                known, is_in_doubt = outcome_of(error)
                if is_in_doubt:  # the connection may be lost: all of them are made anew
                    self._doubt(str(known))
                raise known from None

    def cut(self) -> None:
        """Cut all of them, without I/O that could wait."""
        for connection in self.made:
            connection.terminate()
        self.made.clear()
