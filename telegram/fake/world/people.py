"""Users and chats, of a few hundred bytes each while idle."""

from dataclasses import dataclass, field
from typing import Literal

from telegram.fake.protocol.answers import Json

ChatKind = Literal["private", "group", "supergroup", "channel"]


class Person:
    """A user with a Telegram account."""

    __slots__ = ("blocked", "deactivated", "first_name", "id", "language_code")

    def __init__(self, user_id: int, first_name: str) -> None:
        self.id = user_id
        self.first_name = first_name
        self.blocked = False  # has blocked the bot
        self.deactivated = False  # the account is deleted
        self.language_code = ""  # of the user's app; empty: not known

    def user(self) -> Json:
        """Return the `User`."""
        found = {"id": self.id, "is_bot": False, "first_name": self.first_name}
        return {**found, "language_code": self.language_code} if self.language_code else found


@dataclass(slots=True, eq=False)
class About:
    """Data that most chats do not have."""

    username: str = ""
    is_forum: bool = False
    full: Json = field(default_factory=dict)
    """Fields of ChatFullInfo that were set: description, permissions, photo, invite_link, ..."""
    statuses: dict[int, Json] = field(default_factory=dict)
    """By user: a ChatMember without its user, unless it is just "member" or "left"."""
    pinned: list[int] = field(default_factory=list)
    topics: dict[int, Json] = field(default_factory=dict)
    """Forum topics by message_thread_id; in a "closed" one only administrators may write."""
    links: dict[str, Json] = field(default_factory=dict)
    join_requests: set[int] = field(default_factory=set)
    migrated_to: int = 0
    deleted: bool = False


class Chat:
    """A private chat (`members` is None, the id is the user's), group, supergroup or channel, with its latest messages."""

    __slots__ = (
        "_about",
        "_messages",
        "_unknown_through",
        "id",
        "kind",
        "last_message_id",
        "members",
        "title",
    )

    def __init__(
        self, chat_id: int, title: str, members: set[int] | None = None, kind: ChatKind = "supergroup"
    ) -> None:
        self.id = chat_id
        self.title = title
        self.members = members
        self.kind: ChatKind = "private" if members is None else kind
        self.last_message_id = 0
        self._messages: dict[int, Json] | None = None
        self._unknown_through = 0  # messages up to this id are no longer stored, but may exist
        self._about: About | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the chat has no `About` data."""
        return self._about is None

    @property
    def about(self) -> About:
        """Data that most chats do not have; created at the first access."""
        if self._about is None:
            self._about = About()
        return self._about

    def chat(self) -> Json:
        """Return the `Chat`."""
        if self.members is None:
            return {"id": self.id, "type": "private", "first_name": self.title}
        chat: Json = {"id": self.id, "type": self.kind, "title": self.title}
        if self._about is not None:
            if self._about.username:
                chat["username"] = self._about.username
            if self._about.is_forum:
                chat["is_forum"] = True
        return chat

    def state(self) -> Json:
        """Return the state for `restored`, as JSON; of `about` only username, is_forum and statuses."""
        about = self._about or About()
        return {
            "id": self.id,
            "title": self.title,
            "members": None if self.members is None else sorted(self.members),
            "kind": self.kind,
            "last_message_id": self.last_message_id,
            "messages": self.messages(),
            "username": about.username,
            "is_forum": about.is_forum,
            "statuses": list(about.statuses.items()),
        }

    @classmethod
    def restored(cls, state: Json) -> "Chat":
        """Return a chat with the given state."""
        members = state["members"]
        chat = cls(state["id"], state["title"], None if members is None else set(members), state["kind"])
        if state["username"] or state["is_forum"] or state["statuses"]:
            chat.about.username, chat.about.is_forum = state["username"], state["is_forum"]
            chat.about.statuses = dict(state["statuses"])
        for message in state["messages"]:
            chat.keep(message, len(state["messages"]))
        chat.last_message_id = state["last_message_id"]
        return chat

    def take_message_id(self) -> int:
        """Return the next message id; each chat has its own sequence, as supergroups have."""
        self.last_message_id += 1
        return self.last_message_id

    def keep(self, message: Json, history: int) -> None:
        """Store a message or its new version; above `history` messages the oldest is dropped."""
        message_id: int = message["message_id"]
        self.last_message_id = max(self.last_message_id, message_id)
        if not history:
            self._unknown_through = self.last_message_id
            return
        if self._messages is None:
            self._messages = {}
        self._messages[message_id] = message
        if len(self._messages) > history:
            oldest = next(iter(self._messages))
            del self._messages[oldest]
            self._unknown_through = max(self._unknown_through, oldest)

    def find(self, message_id: int) -> Json | None:
        """Return the stored message, or None."""
        return self._messages.get(message_id) if self._messages else None

    def is_missing(self, message_id: int) -> bool:
        """Whether the message does not exist (yet, or was deleted). One that is no longer stored may still exist."""
        if 0 < message_id <= self._unknown_through:
            return False
        return self.find(message_id) is None

    def forget(self, message_id: int) -> bool:
        """Delete a stored message; return False if there is none."""
        return self._messages is not None and self._messages.pop(message_id, None) is not None

    def messages(self) -> list[Json]:
        """Return the stored messages, oldest first."""
        return list(self._messages.values()) if self._messages else []
