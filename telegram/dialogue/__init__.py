"""What the author of handlers needs: a Router, filters, and the Context of one update."""

from telegram.dialogue.context import Context
from telegram.dialogue.filters import command, data, data_prefix, kind, text
from telegram.dialogue.inbox import InboxHandler
from telegram.dialogue.loading import load_router
from telegram.dialogue.router import Handler, Router

__all__ = [
    "Context",
    "Handler",
    "InboxHandler",
    "Router",
    "command",
    "data",
    "data_prefix",
    "kind",
    "load_router",
    "text",
]
