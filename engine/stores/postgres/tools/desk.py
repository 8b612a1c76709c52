"""Questions of operators to the processes of a bot, through the database that they share.

    operator                                      process
    INSERT INTO asked, NOTIFY ─────────────────▶  DELETE FROM asked RETURNING ..., does it
    DELETE FROM answered RETURNING ...  ◀───────  INSERT INTO answered, NOTIFY

Who may write the tables may ask: a notification is a hint only, as any role of the database may send one. A look every
EVERY_S finds what a hint missed, and renews the row of the process in `desk`, by which operators know it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Self

import asyncpg
import structlog

from engine.errors import StoreUnavailable
from engine.stores.postgres.address import Address, read_address
from engine.stores.postgres.connection import Connection, connect
from engine.stores.postgres.errors import at_opening, described
from engine.stores.postgres.schema import DESK

log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0
_SEEN_S: Final = 4 * EVERY_S
"""A process that has not renewed its row for so long is gone."""

_KEPT_S: Final = 300.0
_AFTER_TROUBLE_S: Final = 5.0
_CLOSE_S: Final = 1.0
_APPLICATION: Final = "chatlane operator"
_CHANNEL: Final = "chatlane_desk"
_LOCK: Final = 0x43484C44  # "CHLD"; of the advisory lock for creating the tables
_SEEN: Final = """
INSERT INTO {0}.desk VALUES ($1, $2, clock_timestamp()) ON CONFLICT (process, bot) DO UPDATE SET seen = excluded.seen"""
_SWEEP: Final = (
    "DELETE FROM {0}.asked WHERE at < clock_timestamp() - $1 * interval '1 s'",
    "DELETE FROM {0}.answered WHERE at < clock_timestamp() - $1 * interval '1 s'",
    "DELETE FROM {0}.desk WHERE seen < clock_timestamp() - $1 * interval '1 s'",
)
_TAKE: Final = "DELETE FROM {0}.asked WHERE process = $1 AND bot = $2 RETURNING n, name, params, who"
_ANSWER: Final = "INSERT INTO {0}.answered (n, status, body) VALUES ($1, $2, $3)"
_RING: Final = "SELECT pg_notify($1, $2)"
_GONE: Final = "DELETE FROM {0}.desk WHERE process = $1 AND bot = $2"
_PROCESSES: Final = """
SELECT process FROM {0}.desk WHERE bot = $1 AND seen > clock_timestamp() - $2 * interval '1 s' ORDER BY process"""
_ASK: Final = (
    "INSERT INTO {0}.asked (bot, process, name, params, who) VALUES ($1, $2, $3, $4, $5) RETURNING n"
)
_ANSWERS: Final = "DELETE FROM {0}.answered WHERE n = ANY($1::bigint[]) RETURNING n, status, body"
_IS_THERE: Final = "SELECT to_regclass($1) IS NOT NULL"


class Answered(NamedTuple):
    """What a process has answered: a status as of HTTP, and a text."""

    status: int
    body: str


Answer = Callable[[str, str, str], Awaitable[Answered]]
"""Called with name, parameters and who asks; it does not raise."""


class ProcessDesk:
    """Answers what is asked of this process, while it is entered. Trouble is logged, and tried again."""

    def __init__(self, url: str, bot: str, process: str, answer: Answer) -> None:
        self._address = read_address(url)
        self._bot = int(bot)
        self._process = process
        self._answer = answer
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="operators' questions")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        is_logged = False
        while True:
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001 - whatever the driver raises
                reason = described(at_opening(self._address.name, error))
                if not is_logged:
                    log.warning("commands cannot reach this bot while it runs", reason=reason)
                is_logged = True
            await asyncio.sleep(_AFTER_TROUBLE_S)

    async def _serve(self) -> None:
        connection: Any = await connect(self._address, _APPLICATION)
        try:
            await self._answer_all(connection)
        except asyncio.CancelledError:
            await self._leave(connection)
            raise
        finally:
            connection.terminate()

    async def _answer_all(self, connection: Any) -> None:
        rung = asyncio.Event()
        await _create(connection, self._address)
        await connection.add_listener(
            _CHANNEL, lambda *said: rung.set() if said[-1] == self._process else None
        )
        clock = asyncio.get_running_loop().time
        seen_at = -EVERY_S
        while True:
            rung.clear()
            if clock() - seen_at >= EVERY_S:
                seen_at = clock()
                await self._do(connection, _SEEN, self._process, self._bot)
                for sweep in _SWEEP:
                    await self._do(connection, sweep, _KEPT_S)
            for n, *asked in await connection.fetch(self._sql(_TAKE), self._process, self._bot):
                status, body = await self._answer(*asked)
                await self._do(connection, _ANSWER, n, status, body)
                await connection.execute(_RING, _CHANNEL, str(n))
            try:
                async with asyncio.timeout(EVERY_S):
                    await rung.wait()
            except TimeoutError:
                pass

    async def _leave(self, connection: Any) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._do(connection, _GONE, self._process, self._bot)
        except Exception as error:  # noqa: BLE001 - its row is outdated soon
            log.debug("the row of this process stays for a while", reason=described(error))

    async def _do(self, connection: Any, text: str, *values: Any) -> None:
        await connection.execute(self._sql(text), *values)

    def _sql(self, text: str) -> str:
        return text.format(self._address.schema)


class Operators:
    """An operator's connection, while it is entered: StoreError or StoreUnavailable if there is none."""

    def __init__(self, url: str, bot: str) -> None:
        self._address = read_address(url)
        self._bot = int(bot)
        self._connection: Any = None
        self._rung = asyncio.Event()

    async def __aenter__(self) -> Self:
        try:
            self._connection = await connect(self._address, _APPLICATION)
            await self._connection.add_listener(_CHANNEL, lambda *_: self._rung.set())
        except Exception as error:  # noqa: BLE001 - whatever the driver raises
            await self.__aexit__()
            raise at_opening(self._address.name, error) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.terminate()

    async def processes(self) -> list[str]:
        """Return the processes of the bot that answer."""
        try:
            if not await self._connection.fetchval(_IS_THERE, f"{self._address.schema}.desk"):
                return []
            return [row[0] for row in await self._fetch(_PROCESSES, self._bot, _SEEN_S)]
        except Exception as error:  # noqa: BLE001 - whatever the driver raises
            raise at_opening(self._address.name, error) from None

    async def ask(
        self, processes: list[str], name: str, params: str, who: str, wait_s: float
    ) -> Mapping[str, Answered]:
        """Ask these processes, and return what they answer within `wait_s`."""
        try:
            asked = {
                (await self._fetch(_ASK, self._bot, each, name, params, who))[0][0]: each
                for each in processes
            }
            for process in processes:
                await self._connection.execute(_RING, _CHANNEL, process)
            return await self._answers(asked, wait_s)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise StoreUnavailable(f"{self._address.name} cannot be used: {described(error)}") from None

    async def _answers(self, asked: dict[int, str], wait_s: float) -> Mapping[str, Answered]:
        answers: dict[str, Answered] = {}
        until = asyncio.get_running_loop().time() + wait_s
        while len(answers) < len(asked):
            self._rung.clear()
            for n, status, body in await self._fetch(_ANSWERS, list(asked)):
                answers[asked[n]] = Answered(status, body)
            left_s = until - asyncio.get_running_loop().time()
            if len(answers) == len(asked) or left_s <= 0:
                break
            try:
                async with asyncio.timeout(min(1.0, left_s)):
                    await self._rung.wait()
            except TimeoutError:
                pass
        return answers

    async def _fetch(self, text: str, *values: Any) -> list[Any]:
        rows: list[Any] = await self._connection.fetch(text.format(self._address.schema), *values)
        return rows


async def _create(connection: Connection, address: Address) -> None:
    if await connection.fetchval(_IS_THERE, f"{address.schema}.answered"):
        return
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        await connection.execute(DESK.format(address.schema))
