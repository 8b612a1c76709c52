"""How the groups of requests become transactions of PostgreSQL: one statement each (statements.py)."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from asyncpg import QueryCanceledError

from engine.errors import RightLost, StateChanged, StoreUnavailable, TooManyTimers
from engine.stores.owned.group import Group, Row, Steps, combined
from engine.stores.owned.reads import Read
from engine.stores.owned.writer import Doubted, GroupWriter
from engine.stores.postgres.connection import COMMAND_S, Connection, check_replicated
from engine.stores.postgres.errors import is_fault_of_values, outcome_of
from engine.stores.postgres.own_sql import commit_with
from engine.stores.postgres.session import Held
from engine.stores.postgres.statements import MAIL_BYTES_MAX, OF_SHARES, QUERIES, group_statement
from engine.stores.postgres.window import Window

_SLOWEST_BYTES_PER_S: Final = 1 << 20
"""Content may take so long to reach the server. A line that is cut is noticed by the session's renewal."""


class Ring(Protocol):
    """Called when other sessions may have something to do."""

    def __call__(self, *, moved: bool) -> object:
        """`moved`: shares may be free."""


class Writer(GroupWriter):
    """Runs groups one after another on one connection. `shares` returns those of the session, as bits."""

    def __init__(
        self,
        connection: Connection,
        schema: str,
        bot: int,
        held: Held,
        doubted: Doubted,
        shares: Callable[[], bytes],
        ring: Ring,
        window: Window,
    ) -> None:
        super().__init__(doubted)
        self._connection = connection
        self._schema = schema
        self._bot = bot
        self._held = held
        self._ring = ring
        self._shares = shares
        self._window = window
        self._task: asyncio.Task[None] | None = None
        # Of the group that is being written: whether its mail comes with shares that are free.
        self._news: set[bool] = set()

    def _start(self, group: Group) -> None:
        # A task of its own: a caller that is cancelled must not cut the connection.
        self._task = self._loop.create_task(self._work(group), name="writing to the database")

    async def _work(self, group: Group) -> None:
        failures: dict[int, Exception] = {}
        doubt: Exception | None = None
        try:
            if group.waiting:
                failures, doubt = await self._write(group)
                while self._news:  # after the commit: who is called earlier finds nothing
                    self._ring(moved=self._news.pop())
            found: list[list[Row] | Exception] = []
            for _, what, values, _ in group.reads:
                rows, why = await self._rows(what, values, doubt)
                found.append(rows)
                doubt = doubt or why
        except BaseException as error:
            self._failed(group, StoreUnavailable(f"writing was ended: {error!r}"), suspect=True)
            raise
        _drop(group)
        self._committed(group, failures, found, doubt)

    def _failed(self, group: Group, error: Exception, *, suspect: bool = False) -> None:
        _drop(group)
        super()._failed(group, error, suspect=suspect)

    async def _write(self, group: Group) -> tuple[dict[int, Exception], Exception | None]:
        """Return the failures by index of the caller; and why the store is in doubt, or None."""
        done: frozenset[int] = frozenset()
        steps = group.steps
        apart = group.apart
        if apart:
            parts = group.parts()
            done = frozenset(index for index in range(len(parts)) if index not in apart)
            steps = [step for index in done for step in parts[index]]
        try:
            if steps:
                await self._transact(steps, self._connection)
        except Exception as error:  # noqa: BLE001 - returned below
            if not is_fault_of_values(error) or len(group.waiting) == 1:
                failure, suspect = outcome_of(error)
                return dict.fromkeys(range(len(group.waiting)), failure), failure if suspect else None
            done = frozenset()
        else:
            if not apart:
                return {}, None
        return await self._write_one_by_one(group, done)

    async def _write_one_by_one(
        self, group: Group, done: frozenset[int]
    ) -> tuple[dict[int, Exception], Exception | None]:
        parts = group.parts()
        failures, doubt = await self._commit_within(group, parts)
        for index, steps in enumerate(parts):
            try:
                if index in done or index in group.within:
                    continue
                if doubt is not None:
                    failures[index] = doubt
                elif index in group.sql:
                    statements = group.sql[index]
                    transact = partial(self._transact, steps, self._connection, group.large.get(index, 0))
                    await commit_with(self._connection, self._schema, statements, transact)
                else:
                    await self._transact(steps, self._connection, group.large.get(index, 0))
            except QueryCanceledError as error:
                # Content that the server does not take in time: its caller would repeat it for ever, and all others wait.
                failures[index] = error if index in group.large else outcome_of(error)[0]
            except Exception as error:  # noqa: BLE001 - its caller gets it
                failures[index], suspect = outcome_of(error)
                doubt = failures[index] if suspect else None
        return failures, doubt

    async def _commit_within(
        self, group: Group, parts: list[Steps]
    ) -> tuple[dict[int, Exception], Exception | None]:
        """Commit the transactions of handlers, all at the same time: each has a connection of its own."""
        failures: dict[int, Exception] = {}
        doubt: Exception | None = None
        commits = [
            within.commit(
                group.sql.get(index, ()),
                partial(self._transact, parts[index], content=group.large.get(index, 0)),
            )
            for index, within in group.within.items()
        ]
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        for index, outcome in zip(group.within, outcomes, strict=True):
            if isinstance(outcome, Exception):
                failures[index], suspect = outcome_of(outcome)
                doubt = failures[index] if suspect else doubt
            elif outcome is not None:
                raise outcome
        return failures, doubt

    async def _transact(self, steps: Steps, connection: Connection, content: int = 0) -> None:
        """`content`: bytes that the statement has, if they are many, for the time that the line may take."""
        parts = combined(steps)
        sql, values = group_statement(self._schema, parts)
        limit = {"timeout": COMMAND_S + content / _SLOWEST_BYTES_PER_S} if content else {}
        row = await connection.fetchrow(sql, self._bot, *self._held, *values, **limit)
        check_replicated(connection)
        if row is None or not row[0]:
            raise StoreUnavailable("other processes have taken over")
        if not row[1]:
            raise StoreUnavailable("the server has crashed, or another one has taken its place")
        if not row[2]:
            raise RightLost(f"right {parts.right} to append")
        if row[3] is not None:
            raise StateChanged(row[3])
        if row[4] is not None:
            raise TooManyTimers(row[4], parts.bounded[row[4]])
        if parts.new.get("mail") or parts.given:
            self._news.add(bool(parts.given))

    async def _rows(
        self, what: Read, values: Row, doubt: Exception | None
    ) -> tuple[list[Row] | Exception, Exception | None]:
        """Return the rows or the error; and why the store is in doubt because of it, or None."""
        if doubt is not None:
            return doubt, None
        if what is Read.NOTHING:
            return [], None
        try:
            query = QUERIES[what].format(self._schema)
            if what is Read.MAIL:
                return await self._read_mail(query, *values), None
            if what in OF_SHARES:
                values = (*values, self._shares())
            return await self._connection.fetch(query, self._bot, *values), None
        except Exception as error:  # noqa: BLE001 - the caller gets it
            failure, suspect = outcome_of(error)
            return failure, failure if suspect else None

    async def _read_mail(self, query: str, most: int, everything: bool) -> list[Row]:
        start, ended = self._window.start(everything=everything), self._window.ended
        rows = await self._connection.fetch(query, self._bot, most, start, self._shares())
        if len(rows) < most and sum(len(row[6]) for row in rows) < MAIL_BYTES_MAX:
            self._window.read(start, ended)
        return rows


def _drop(group: Group) -> None:
    """Roll back the transactions of handlers that were not committed with this group."""
    for within in group.within.values():
        within.drop()
