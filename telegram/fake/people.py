"""Who the bot can meet: persons and chats, kept small (an idle one costs a few hundred bytes)."""

from .answers import Json


class Person:
    """Somebody with a Telegram account."""

    __slots__ = ("blocked", "first_name", "id")

    def __init__(self, user_id: int, first_name: str) -> None:
        self.id = user_id
        self.first_name = first_name
        self.blocked = False  # has blocked the bot

    def user(self) -> Json:
        """Telegram's `User`."""
        return {"id": self.id, "is_bot": False, "first_name": self.first_name}


class Chat:
    """A private chat (`members` is None, its id is the person's) or a supergroup, with its latest messages."""

    __slots__ = ("_messages", "id", "last_message_id", "members", "title")

    def __init__(self, chat_id: int, title: str, members: set[int] | None = None) -> None:
        self.id = chat_id
        self.title = title
        self.members = members
        self.last_message_id = 0
        self._messages: dict[int, Json] | None = None

    def chat(self) -> Json:
        """Telegram's `Chat`."""
        if self.members is None:
            return {"id": self.id, "type": "private", "first_name": self.title}
        return {"id": self.id, "type": "supergroup", "title": self.title}

    def take_message_id(self) -> int:
        """The next message id: each chat counts its own, as supergroups do."""
        self.last_message_id += 1
        return self.last_message_id

    def keep(self, message: Json, history: int) -> None:
        """Remember `message` in place of an older version; beyond `history` messages the oldest goes."""
        if not history:
            return
        if self._messages is None:
            self._messages = {}
        self._messages[message["message_id"]] = message
        if len(self._messages) > history:
            del self._messages[next(iter(self._messages))]

    def find(self, message_id: int) -> Json | None:
        """The remembered message, or None."""
        return self._messages.get(message_id) if self._messages else None

    def is_gone(self, message_id: int) -> bool:
        """Whether there is no such message: not yet, or deleted. One too old to be remembered may still exist."""
        if not 0 < message_id <= self.last_message_id:
            return True
        known = self._messages or {}
        return message_id not in known and message_id > min(known, default=message_id)

    def forget(self, message_id: int) -> bool:
        """Delete a remembered message; false when there is none."""
        return self._messages is not None and self._messages.pop(message_id, None) is not None

    def messages(self) -> list[Json]:
        """What is remembered, oldest first."""
        return list(self._messages.values()) if self._messages else []
