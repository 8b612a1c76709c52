"""The command line's commands for the data of one user or chat: `export` writes it as JSON, `erase` deletes it."""

import base64
import json
import sys
from typing import Any, Final

from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg

from engine.stores.records import Owner, Record, Records
from telegram.botapi.routing import JOIN_REQUEST, POSTS, TOPIC_MARK

_ID_MAX: Final = 2**63 - 1
_OF_ONE: Final = ("chat:", "user:", "payment:", "inline_query:", "guest:", POSTS)
"""Prefixes of keys that end with the id of one user or chat (telegram/botapi/routing.py)."""

_USER_SCOPE: Final = "~user:"
_MEANING: Final = "of a user or a chat; a group's is negative"


class Export(BaseModel):
    """Write all that the store has about a user or a chat, as JSON. The bot has to be stopped."""

    id: CliPositionalArg[int] = Field(ge=-_ID_MAX, le=_ID_MAX, description=_MEANING)


class Erase(BaseModel):
    """Delete all that the store has about a user or a chat. The bot has to be stopped."""

    id: CliPositionalArg[int] = Field(ge=-_ID_MAX, le=_ID_MAX, description=_MEANING)
    yes: bool = Field(default=False, description="do it; without it, the number of records is shown")


def owner_of(id_: int) -> Owner:
    """Return whose records are those of a user or a chat.

    These are its lanes with all that is in them, and the user's own conversations, timers and messages in the lanes of groups.
    """
    text = str(id_)

    def owns(key: str, scope: str) -> bool:
        if key.startswith(_OF_ONE):
            mine = key.partition(":")[2] == text
        elif key.startswith(JOIN_REQUEST):
            mine = text in key.split(":")[1:]
        else:
            mine = key.startswith("business:") and key.rpartition(":")[2] == text
        return mine or scope.removeprefix(_USER_SCOPE).partition(TOPIC_MARK)[0] == text

    return Owner(text, owns)


async def export(records: Records, command: Export) -> int:
    """Print the records as one JSON document; return the exit code."""
    found = await records.of(owner_of(command.id))
    document = {"id": command.id, "records": [_shown(each) for each in found]}
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    return 0


async def erase(records: Records, command: Erase) -> bool:
    """Delete the records, and print how many; without `yes` only print it, and return False."""
    owner = owner_of(command.id)
    if not command.yes:
        count = len(await records.of(owner))
        sys.stderr.write(f"{command.id} has {count} records; nothing is erased without --yes\n")
        return False
    sys.stdout.write(f"{await records.erase(owner)} records erased\n")
    return True


def _shown(record: Record) -> dict[str, Any]:
    return {"table": record.table, **{name: _value(value) for name, value in record.row.items()}}


def _value(value: Any) -> Any:
    """Return bytes as the JSON that they are, else as text, else as base64."""
    if not isinstance(value, bytes | memoryview):
        return value
    data = bytes(value)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
    try:
        return json.loads(text)
    except ValueError:
        return text
