"""The state of Telegram's side: users, chats, messages, files, and the bot's updates.

- world: World, with administration and membership on top of talk (what users do) and chat_state (chats and the bot's state)
- people: records of users and chats; members: status and rights; messages: messages of the bot, as stored and as sent
- files, attachments: uploaded files, and their records in messages
- queue: the update queue of getUpdates; events: what listeners receive; flood: rate limits
"""

from .world import World

__all__ = ["World"]
