"""A local web page for chatting with a running bot, and its server."""

from telegram.sandbox.server import Sandbox

__all__ = ["Sandbox"]
