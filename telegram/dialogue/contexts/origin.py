"""Where an update comes from: its ids, its chat, its user and its sender."""

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Any, Final, Generic

from typing_extensions import TypeVar as DefaultTypeVar

from engine import Delivery
from telegram.botapi.routing import FAKE_USERS
from telegram.botapi.shortcuts import part
from telegram.botapi.types import User

E_co = DefaultTypeVar("E_co", covariant=True, default=Any)

_SPEAKING_CHATS: Final = ("sender_chat", "actor_chat", "voter_chat")  # of messages, reactions, poll answers


class Origin(Generic[E_co]):
    """The base of Context: what is known about the update."""

    __slots__ = ()

    event: E_co
    _delivery: Delivery

    @property
    def update_id(self) -> int:
        """Telegram's id of this update, which orders the lane."""
        return self._delivery.envelope.id

    @property
    def idempotency_key(self) -> str:
        """A unique text for this update, the same at each attempt: for writes to a database of your own."""
        envelope = self._delivery.envelope
        return f"{envelope.id}-{blake2b(envelope.body, digest_size=8).hexdigest()}"

    @property
    def turn(self) -> str:
        """An identifier of this update in six characters, the same at each attempt: for a flow's timers and buttons."""
        return urlsafe_b64encode(blake2b(self.idempotency_key.encode(), digest_size=6).digest())[:6].decode()

    @property
    def key(self) -> str:
        """The key of this update's lane, e.g. "chat:42"."""
        return self._delivery.envelope.key

    @property
    def attempt(self) -> int:
        """Attempt number, starting at 1."""
        return self._delivery.attempt

    @property
    def source(self) -> Any:
        """The message, or the message with the pressed button, else the event."""
        return self.event

    @property
    def chat_id(self) -> int | None:
        """The chat that the update belongs to; None for inline queries, polls and the like."""
        return _id(self.source, "chat")

    @property
    def user(self) -> User | None:
        """The user who wrote the message or pressed the button (field `from`); None if there is none."""
        return getattr(self.event, "from_", None)

    @property
    def user_id(self) -> int | None:
        """The id of the user who caused the update, of any kind; None if there is none.

        None also for the accounts that stand for a chat and are shared by many: anonymous admins, messages on behalf of a
        chat, automatic forwards (Telegram Bot API, Message: from and sender_chat). `sender_id` distinguishes those.
        """
        found = self.user.id if self.user is not None else _id(self.event, "from")
        found = _id(self.event, "user") if found is None else found
        return None if found in FAKE_USERS else found

    @property
    def sender_id(self) -> int | None:
        """The sender's id: the chat on whose behalf the update was sent, else the user; None if there is none.

        Of a message its sender_chat (an anonymous admin: the group; a post: the channel), of a reaction its actor_chat, of
        a poll answer its voter_chat. A button press has the admin's own id, never the group's.
        """
        for name in _SPEAKING_CHATS:
            if (chat := _id(self.event, name)) is not None:
                return chat
        return self.user_id


def _id(item: Any, name: str) -> int | None:
    """Return `item[name].id` if it is an int, else None."""
    found = part(part(item, name), "id")
    return found if isinstance(found, int) else None
