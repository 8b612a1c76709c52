"""The state of Telegram's side: users, chats, messages, files, and the bot's updates.

- chat_state: users, chats and the bot's settings; messaging: what users send and press; world: World, with members, votes, reactions
- people: records of users and chats; members: status and rights; messages: messages of the bot, as stored and as sent
- files, attachments: uploaded files, and their records in messages
- queue: the update queue; webhook: which update a webhook delivers when; events: what listeners receive; flood: rate limits
"""

from .world import World

__all__ = ["World"]
