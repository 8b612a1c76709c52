"""The commands for whole stores: `copy`, all that one has of a bot to another one, and `migrate-schema`."""

import sys
from contextlib import AsyncExitStack
from typing import Final

from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg

from engine import StoreError, StoreUnavailable
from engine.stores import bots_of, migrate_schema, open_moving
from engine.stores.copying import Copied, copy
from telegram.process.streams import tell

_DIGITS: Final = 16  # of the digest, that are printed


class Copy(BaseModel):
    """Move all work of the bot from one store to another one, as sqlite:FILE and postgres://...; the bot has to be stopped.

    FROM is left as it is, and marked: no bot starts on it any more. Without BOT_TOKEN: the only bot in FROM.
    """

    source: CliPositionalArg[str] = Field(
        alias="from", description="STORE_URL of the store that has the bot's work"
    )
    target: CliPositionalArg[str] = Field(
        alias="to", description="STORE_URL of the store to move it to, which has nothing of it"
    )
    again: bool = Field(default=False, description="copy FROM although it was moved before: as it was then")


class MigrateSchema(BaseModel):
    """Make or migrate the tables of STORE_URL=postgres://..., with a role that may; the bot's role then needs no right to."""

    role: str | None = Field(default=None, alias="for", description="the bot's role, which may then use them")


async def migrate(url: str, command: MigrateSchema) -> None:
    """Make or migrate the tables, and print what they are. StoreError says in one line what is wrong."""
    try:
        found = await migrate_schema(url, command.role)
    except StoreUnavailable as error:
        raise StoreError(str(error)) from None
    sys.stdout.write(f"{found}{f', for the role {command.role}' if command.role else ''}\n")


async def copy_bot(command: Copy, bot: str | None) -> None:
    """Copy, and print what was copied. `bot` None: the only one there is. StoreError says in one line what is wrong."""
    if command.source == command.target:
        raise StoreError("FROM and TO are the same store")
    try:
        bot = bot or await _only_bot(command.source)
        async with AsyncExitStack() as stack:
            source = await open_moving(command.source, bot, is_source=True, again=command.again)
            stack.push_async_callback(source.close)
            target = await open_moving(command.target, bot, is_source=False)
            stack.push_async_callback(target.close)
            copied = await copy(source, target, _report)
        _print(bot, source.name, target.name, copied)
    except StoreUnavailable as error:
        raise StoreError(str(error)) from None


async def _only_bot(url: str) -> str:
    bots = await bots_of(url)
    if len(bots) != 1:
        found = f"bots {', '.join(bots)}" if bots else "no bot"
        raise StoreError(f"FROM has {found}: set BOT_TOKEN to the token of the one to copy")
    return bots[0]


def _report(kind: str, count: int, total: int) -> None:
    if total:
        tell(f"{kind}: {count} of {total}", sys.stderr)


def _print(bot: str, source: str, target: str, copied: Copied) -> None:
    lines = [f"{kind:8} {tally.count:>10}  {tally.digest[:_DIGITS]}" for kind, tally in copied.kinds.items()]
    ids = ", ".join(f"{kind} {mark}" for kind, mark in copied.marks.items())
    how = "was copied before" if copied.was_there else "is copied"
    lines.append(f"bot {bot} {how}, and equal in both; ids in use: {ids}")
    if copied.others:
        lines.append(f"not copied: your own tables {', '.join(copied.others)}")
    lines.append(f"{source} is marked as moved: no bot starts on it any more. Set STORE_URL to {target}")
    sys.stdout.write("\n".join(lines) + "\n")
