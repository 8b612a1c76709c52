"""A kit for unit tests of handlers, one line per turn: virtual time, no network, no `await`.

>>> from telegram.dialogue import MessageContext, Router, TimerContext, command
>>> router = Router()
>>> @router.message(command("tea"))
... async def tea(ctx: MessageContext) -> None:
...     ctx.reply("Three minutes.")
...     ctx.set_timer("tea", after=180)
>>> @router.timer("tea")
... async def ready(ctx: TimerContext) -> None:
...     ctx.reply("Your tea is ready.")

>>> with Conversations(router) as bot:
...     alice = bot.chat("Alice")
...     alice.says("/tea")
...     assert alice.sees("Three minutes")
...     bot.passes(minutes=3)
...     assert alice.sees("ready")
"""

from telegram.testing.chats import Button, Chat, Group, Seen
from telegram.testing.client import Sent
from telegram.testing.conversations import Conversations

__all__ = ["Button", "Chat", "Conversations", "Group", "Seen", "Sent"]
