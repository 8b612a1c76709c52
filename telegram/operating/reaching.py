"""Where the commands of the command line ask: the bot that runs, or its store while none runs."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine import StoreError, StoreUnavailable
from engine.stores import open_store
from telegram.operating.asked import Asked
from telegram.operating.audit import Audit, AuditLog, Who
from telegram.operating.database import DatabaseAudit, NoAnswer, ask_processes, is_shared
from telegram.operating.desk import Desk, NotAllowed
from telegram.operating.letters import Json
from telegram.operating.local import NotRunning, Refused, ask_running, socket_of
from telegram.operating.operating import Operating

if TYPE_CHECKING:
    from engine.stores.postgres.tools.desk import Operators

_PING_S: Final = 3.0


def database_file(store_url: str) -> Path | None:
    """Return the file of a SQLite store."""
    scheme, _, file = store_url.partition(":")
    return Path(file) if scheme == "sqlite" and file else None


def audit_of(given: Path | None, store_url: str, bot: str) -> AuditLog:
    """Return the audit log: as set, beside the database file, in the database, or in the working folder."""
    if given is None and is_shared(store_url):
        return DatabaseAudit(store_url, bot)
    file = database_file(store_url)
    beside = Path("chatlane-audit.jsonl") if file is None else file.with_name(f"{file.name}-audit.jsonl")
    return Audit(given or beside)


@asynccontextmanager
async def reached(store_url: str, token: str, audit: Path | None) -> AsyncIterator[Asked]:
    """Yield where to ask. ValueError of one line for an answer that is no; StoreError if the store cannot be opened."""
    file = database_file(store_url)
    if file is not None and await _runs(socket_of(file)):
        path = socket_of(file)

        async def ask(name: str, params: Json) -> Json:
            try:
                return await ask_running(path, name, params)
            except NotRunning:
                raise ValueError("the bot has stopped meanwhile") from None
            except Refused as error:
                raise ValueError(str(error)) from None

        yield Asked(ask, is_running=True)
        return
    bot = token.partition(":")[0]
    async with AsyncExitStack() as stack:
        operators = await _operators(stack, store_url, bot)
        processes = [] if operators is None else await _answering(operators)
        if operators is not None and processes:
            one_at_a_time = asyncio.Lock()  # a connection does one thing at a time; `top` asks several

            async def ask_bots(name: str, params: Json) -> Json:
                try:
                    async with one_at_a_time:
                        return await ask_processes(operators, processes, name, params, _user())
                except (NoAnswer, StoreUnavailable) as error:
                    raise ValueError(str(error)) from None

            yield Asked(ask_bots, is_running=True)
            return
    store = await open_store(store_url, bot)
    try:
        desk = Desk(Operating(store, token=token), audit_of(audit, store_url, bot))
        who = Who(_user(), may_write=True, where="store")

        async def ask_store(name: str, params: Json) -> Json:
            try:
                return await desk.ask(name, params, who)
            except (NotAllowed, StoreUnavailable) as error:
                raise ValueError(str(error)) from None

        yield Asked(ask_store, is_running=False)
    finally:
        await store.close()


async def _operators(stack: AsyncExitStack, store_url: str, bot: str) -> "Operators | None":
    """Return a connection to a database that processes share; None if the store is none, or its driver is missing."""
    if not is_shared(store_url):
        return None
    try:
        from engine.stores.postgres.tools.desk import Operators  # late: its driver is optional
    except ModuleNotFoundError:
        return None  # `open_store` says what to install
    try:
        return await stack.enter_async_context(Operators(store_url, bot))
    except StoreUnavailable as error:
        raise StoreError(str(error)) from None


async def _answering(operators: "Operators") -> list[str]:
    """Return the processes that answer: one that was killed is listed for a while."""
    listed = await operators.processes()
    return list(await operators.ask(listed, "stats", "{}", _user(), _PING_S)) if listed else []


def _user() -> str:
    user = os.geteuid() if hasattr(os, "geteuid") else "unknown"
    return f"command line, user {user}"


async def _runs(path: Path) -> bool:
    try:
        await ask_running(path, "stats", {})
    except NotRunning:
        return False
    except Refused:
        return True
    return True
