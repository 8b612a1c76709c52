"""The only way out to Telegram: TgClient, the HTTP below it, files both ways, and what is known of the chats out there."""

from telegram.client.client import TgClient

__all__ = ["TgClient"]
