"""Calls to the Bot API: TgClient, the HTTP below it, uploads and downloads, and what refusals tell about chats."""

from telegram.client.client import TgClient

__all__ = ["TgClient"]
