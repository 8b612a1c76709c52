"""Photos of customers, to show what they would like: saved on the disk, one by one or as an album."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from telegram.botapi.types import Message, PhotoSize
from telegram.dialogue import MessageContext, Router, photo

FOLDER: Final = Path("out/salon")

router = Router()


@router.resource
async def folder() -> AsyncIterator[Path]:
    """The folder of the photos."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    yield FOLDER


async def save(ctx: MessageContext, sizes: list[PhotoSize]) -> None:
    """Save the largest size. Done twice after a crash, it writes the same file."""
    largest = max(sizes, key=lambda each: each.width * each.height)
    await ctx.client.download(
        largest.file_id,
        ctx.use(folder) / f"{ctx.chat_id}-{largest.file_unique_id}.jpg",
        limit_bytes=20_000_000,
    )


@router.album(photo)
async def album(ctx: MessageContext, messages: list[Message]) -> None:
    """Save all photos of an album."""
    photos = [each.photo for each in messages if each.photo]
    for sizes in photos:
        await save(ctx, sizes)
    ctx.reply(ctx.t("We have your {n} picture.", "We have your {n} pictures.", n=len(photos)))


@router.message(photo)
async def one(ctx: MessageContext, sizes: list[PhotoSize]) -> None:
    """Save a photo."""
    await save(ctx, sizes)
    ctx.reply(ctx.t("We have your {n} picture.", "We have your {n} pictures.", n=1))
