"""Where the commands of the command line ask: the bot that runs, or its store while none runs."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from engine import StoreUnavailable
from engine.stores import open_store
from telegram.operating.audit import Audit, Who
from telegram.operating.commands import Asked
from telegram.operating.desk import Desk, NotAllowed
from telegram.operating.letters import Json
from telegram.operating.local import NotRunning, Refused, ask_running, socket_of
from telegram.operating.operating import Operating


def database_file(store_url: str) -> Path | None:
    """Return the file of a SQLite store."""
    scheme, _, file = store_url.partition(":")
    return Path(file) if scheme == "sqlite" and file else None


def audit_file(given: Path | None, store_url: str) -> Path:
    """Return where the audit log is: as set, beside the database file, or in the working folder."""
    if given is not None:
        return given
    file = database_file(store_url)
    return Path("chatlane-audit.jsonl") if file is None else file.with_name(f"{file.name}-audit.jsonl")


@asynccontextmanager
async def reached(store_url: str, token: str, audit: Path) -> AsyncIterator[Asked]:
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
    store = await open_store(store_url, token.partition(":")[0])
    try:
        desk = Desk(Operating(store, token=token), Audit(audit))
        user = os.geteuid() if hasattr(os, "geteuid") else "unknown"
        who = Who(f"command line, user {user}", may_write=True, where="store")

        async def ask_store(name: str, params: Json) -> Json:
            try:
                return await desk.ask(name, params, who)
            except (NotAllowed, StoreUnavailable, TimeoutError) as error:
                raise ValueError(str(error) or "the store does not answer in time") from None

        yield Asked(ask_store, is_running=False)
    finally:
        await store.close()


async def _runs(path: Path) -> bool:
    try:
        await ask_running(path, "stats", {})
    except NotRunning:
        return False
    except Refused:
        return True
    return True
