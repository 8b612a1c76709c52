"""The world of a test: what the bot shows to whom, noted as it happens."""

from collections import defaultdict
from typing import Any

from telegram.fake.queue import UpdateQueue
from telegram.fake.world import World

Json = dict[str, Any]


class Scene(World):
    """A World that notes what is on people's screens."""

    def __init__(self, username: str, clock: Any) -> None:
        bot = {"id": 4_200_000_042, "is_bot": True, "first_name": "Bot", "username": username}
        super().__init__(bot, UpdateQueue(clock=clock), clock=clock)
        self.fresh: dict[int, list[int]] = defaultdict(list)
        """By chat: the messages sent or edited since somebody wrote there, the latest last."""
        self.toasts: dict[int, str] = {}
        """By user: the answer to the latest pressed button."""

    def emit(self, kind: str, **fields: Any) -> None:
        """Note it, and tell the listeners."""
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
        """The message that was sent or edited last since somebody wrote there, if it was not deleted."""
        kept = {message["message_id"]: message for message in self.messages(chat_id)}
        return next((kept[id_] for id_ in reversed(self.fresh[chat_id]) if id_ in kept), None)
