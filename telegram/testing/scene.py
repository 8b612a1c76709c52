"""The world of a test: records what the bot shows to each user."""

from collections import defaultdict
from typing import Any

from telegram.fake.world import World
from telegram.fake.world.queue import UpdateQueue

Json = dict[str, Any]


class Scene(World):
    """A World that records what is on the users' screens."""

    def __init__(self, username: str, clock: Any) -> None:
        bot = {"id": 4_200_000_042, "is_bot": True, "first_name": "Bot", "username": username}
        super().__init__(bot, UpdateQueue(clock=clock), clock=clock)
        self.fresh: dict[int, list[int]] = defaultdict(list)
        """By chat: the messages that were sent or edited since a user last wrote there, the latest last."""
        self.toasts: dict[int, str] = {}
        """By user: the answer to the latest pressed button."""

    def emit(self, kind: str, **fields: Any) -> None:
        """Record an event, and notify the listeners."""
        if kind in {"message", "edit"}:
            fresh = self.fresh[fields["message"]["chat"]["id"]]
            message_id = fields["message"]["message_id"]
            if message_id in fresh:
                fresh.remove(message_id)
            fresh.append(message_id)
        elif kind == "answer":
            self.toasts[fields["user_id"]] = fields["text"]
        super().emit(kind, **fields)

    def latest(self, chat_id: int) -> Json | None:
        """Return the latest message that was sent or edited since a user last wrote there, unless it was deleted."""
        kept = {message["message_id"]: message for message in self.messages(chat_id)}
        return next((kept[id_] for id_ in reversed(self.fresh[chat_id]) if id_ in kept), None)
