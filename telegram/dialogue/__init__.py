"""What the author of handlers needs: a Router, filters, the Context of one update, and wishes to raise."""

from engine.errors import Park, Reject, Retry
from telegram.dialogue.context import Context
from telegram.dialogue.filters import command, data, data_prefix, kind, text
from telegram.dialogue.inbox import InboxHandler
from telegram.dialogue.loading import load_router
from telegram.dialogue.router import Handler, Router

__all__ = [
    "Context",
    "Handler",
    "InboxHandler",
    "Park",
    "Reject",
    "Retry",
    "Router",
    "command",
    "data",
    "data_prefix",
    "kind",
    "load_router",
    "text",
]
