"""What the bot of the poison campaign runs: every text is answered with evidence; what names a poison strikes."""

import resource
from pathlib import Path
from typing import Final

from telegram.dialogue import MessageContext, Router, text
from telegram.load.bot.counting import count
from tests.torture.poisons import POISONS

_SPARE: Final = 512 << 20
"""Bytes of address space that the process may have beside what it has now: enough for the bot, and soon exceeded."""


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _SPARE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


_limit_memory()
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

router = Router()


@router.message(text)
async def handle(ctx: MessageContext) -> None:
    """Answer with evidence; a poison strikes before or after."""
    poison = POISONS.get(ctx.text)
    if poison and not poison.is_late:
        await poison.strike()
    await count(ctx)
    if poison and poison.is_late:
        await poison.strike()
