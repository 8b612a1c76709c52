"""The command `post`: stores an event for a bot that does not run, as `Bot.post` does for one that runs."""

import json
import re
import sys
from typing import Any

from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg

from engine import Inbox, StoreUnavailable, TooManyTimers
from engine.store import FullStore
from engine.stores.memory import MemoryStore
from telegram.dialogue import Router
from telegram.dialogue.router.table import Table
from telegram.dialogue.routes.events import check_event, posted
from telegram.settings.program import PROGRAM

EXIT_NOT_STORED = 1


class PostEvent(BaseModel):
    """Post an event for @router.event(EVENT) to the lane of a chat, while the bot is stopped: durable, once per id.

    The bot handles it at its next start. A bot that runs owns its store: there, post from a resource (docs/events.md).
    """

    chat: CliPositionalArg[str] = Field(description="the id of the chat, like 42 or -1001234567890")
    event: CliPositionalArg[str] = Field(description="its name, as of @router.event")
    payload: CliPositionalArg[str] = Field(default="{}", description="a JSON object, at most 64 KiB")
    id: str | None = Field(
        default=None,
        description="a second event of this name and id has no effect in the chat: for 48 hours, among its last 1,000",
    )
    user_id: int | None = Field(
        default=None, description="whose data and flows it has; default: in a private chat its user's"
    )
    topic: int | None = Field(
        default=None, description="in a forum the message_thread_id, 0 for the general topic"
    )


async def post_event(store: FullStore, router: Router, command: PostEvent) -> int:
    """Store the event and print that; return the exit code. ValueError, one line, for what is wrong in the command."""
    if isinstance(store, MemoryStore):
        raise ValueError("STORE_URL is memory:, which would forget the event")  # noqa: TRY004 - a setting
    try:
        check_event(command.event, Table(router).events)
        post = posted(
            _chat(command.chat),
            command.event,
            _payload(command.payload),
            command.id,
            command.user_id,
            command.topic,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"post: {error}") from None
    try:
        await Inbox(store).post((post,))
    except (StoreUnavailable, TooManyTimers) as error:
        sys.stderr.write(f"{PROGRAM}: post: not stored, post it again later: {error}\n")
        return EXIT_NOT_STORED
    sys.stdout.write("posted; the bot handles it at its next start\n")
    return 0


def _chat(text: str) -> int:
    if re.fullmatch(r"-?[0-9]{1,19}", text) is None:
        raise ValueError(f"CHAT is the id of a chat, like 42 or -100500, not {text!r:.60}")
    return int(text)


def _payload(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"PAYLOAD is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"""PAYLOAD is a JSON object, like '{{"sum": 5}}', not {text!r:.60}""")  # noqa: TRY004
    return found
