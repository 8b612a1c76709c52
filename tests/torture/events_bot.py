"""What the bot of the events campaign runs: it posts numbered events, some of them again, and answers each with its count."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from telegram.dialogue import EventContext, Post, Router

POSTS: Final = 1_000
CHATS: Final = range(1001, 1009)
AGAIN: Final = 5
"""Every fifth event is posted twice, and after each start the last five are posted again."""

_PAUSE_S: Final = 0.005

router = Router()


@router.event("numbered")
async def numbered(ctx: EventContext) -> None:
    """Answer with the count of this chat and the event's number."""
    ctx.data["count"] = ctx.data.get("count", 0) + 1
    await asyncio.sleep(_PAUSE_S)
    ctx.reply(f"{ctx.data['count']} {ctx.payload['number']}")


@router.resource
async def source(post: Post) -> AsyncIterator[None]:
    """Post the events in the order of their numbers; a file has the numbers whose post has returned."""
    posting = asyncio.create_task(_post_all(post, Path(os.environ["EVENTS_FILE"])))
    yield
    posting.cancel()
    await asyncio.wait({posting})


async def _post_all(post: Post, file: Path) -> None:
    known = len(file.read_text().split()) if file.exists() else 0
    for number in range(max(0, known - AGAIN), POSTS):
        for _ in range(2 if number % AGAIN == 0 else 1):
            await post(CHATS[number % len(CHATS)], "numbered", {"number": number}, id=f"event-{number}")
        if number >= known:
            with file.open("a") as lines:
                lines.write(f"{number}\n")
        await asyncio.sleep(_PAUSE_S)
