"""A page to chat in with a running bot, and the server behind it."""

from telegram.sandbox.server import Sandbox

__all__ = ["Sandbox"]
