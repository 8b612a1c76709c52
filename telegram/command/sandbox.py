"""What the sandbox has around a bot: a server in the place of Telegram, and the page to chat in. Loaded late: a bot at Telegram needs neither."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from engine.store import FullStore
from telegram.command.settings import Settings
from telegram.process.streams import tell
from telegram.service.bot import Bot

if TYPE_CHECKING:
    from telegram.fake import FakeServer
    from telegram.sandbox.lanes import LaneBoard


def fake_server(token: str) -> "FakeServer":
    """Return the server in the place of Telegram."""
    from telegram.fake import FakeServer  # late: a bot at Telegram does not need it

    return FakeServer(token=token, strict=True)


def lane_board(fake: "FakeServer", store: FullStore) -> "LaneBoard":
    """Return the board of the lanes; it observes the bot."""
    from telegram.sandbox.lanes import LaneBoard

    return LaneBoard(fake, store)


async def open_page(
    settings: Settings,
    stack: AsyncExitStack,
    fake: "FakeServer",
    bot: Bot,
    store: FullStore,
    lanes: "LaneBoard",
    commands: Sequence[str],
) -> None:
    """Start the sandbox's page, and print where it is."""
    from telegram.sandbox.server import Sandbox

    scheme, _, file = settings.effective_store_url.partition(":")
    chats_file = Path(f"{file}-chats") if scheme == "sqlite" else None
    sandbox = await stack.enter_async_context(
        Sandbox(fake, bot, store, lanes, port=settings.sandbox_port, commands=commands, chats_file=chats_file)
    )
    if settings.sandbox is None:
        tell("\n  BOT_TOKEN is not set: this is the sandbox, no bot at Telegram.")
    tell(f"\n  Chat with your bot here:  {sandbox.url}\n  Stop with Ctrl+C.\n")
