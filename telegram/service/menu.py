"""Sets the lists of commands that Telegram shows, where they differ from those of the router."""

import asyncio
from typing import Any, Final

import structlog

from telegram.botapi.errors import RetryAfter, TelegramError
from telegram.client import TgClient
from telegram.dialogue.contexts.commands import MenuLine
from telegram.dialogue.router.menus import Lists

log = structlog.get_logger(__name__)

_ATTEMPTS_MAX: Final = 3


async def publish(client: TgClient, lists: Lists) -> None:
    """Compare each list with Telegram's, and set or delete those that differ. It does not raise: an error is one warning.

    A scope without commands gets no list: one of an earlier program would hide the default list.
    """
    try:
        for (scope, language), lines in lists.items():
            where = {"scope": {"type": scope}, "language_code": language or None}
            await _publish(client, where, [_command(line) for line in lines])
    except TelegramError as error:
        log.warning("the menu of commands could not be set", reason=str(error))
    except Exception:  # the bot works without a menu
        log.exception("the menu of commands could not be set")


async def _publish(client: TgClient, where: dict[str, Any], commands: list[dict[str, str]]) -> None:
    there = await _called(client, "getMyCommands", **where)
    if [(each.get("command"), each.get("description")) for each in there] == [
        (each["command"], each["description"]) for each in commands
    ]:
        return
    if commands:
        await _called(client, "setMyCommands", **where, commands=commands)
    else:
        await _called(client, "deleteMyCommands", **where)
    log.info("the menu of commands was set", commands=len(commands), **where)


async def _called(client: TgClient, method: str, **params: Any) -> Any:
    attempt = 1
    while True:
        try:
            return await client.call(method, **params)
        except RetryAfter as error:
            if attempt == _ATTEMPTS_MAX:
                raise
            await asyncio.sleep(error.retry_after_s)
        attempt += 1


def _command(line: MenuLine) -> dict[str, str]:
    return {"command": line.name, "description": line.help}
