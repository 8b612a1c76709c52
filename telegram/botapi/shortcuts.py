"""Methods of the generated types: an update's kind, and shortcuts for calls about a message or a button press.

`message.reply("hi")` collects a call in the running handler's context, as `ctx.reply` does: it is sent after the commit. The
shortcuts themselves are generated (telegram/botapi/collected.py); here is what they fill in.
"""

from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Protocol

from telegram.botapi.collected import MessageCalls, QueryCalls
from telegram.botapi.objects import TelegramObject


class Collector(Protocol):
    """Collects the calls of a handler: a Context."""

    def collect(self, method: str, params: dict[str, Any], *, name: str | None = None) -> None:
        """Collect a call of any method; `name` is given to the message that it sends."""


current: Final[ContextVar[Collector | None]] = ContextVar("current", default=None)
"""The context of the running handler."""


class _Collecting:
    """An object whose shortcuts collect in the context of the running handler."""

    def _collected(self, method: str, params: dict[str, Any], *, name: str | None = None) -> None:
        collector = current.get()
        if collector is None:
            raise RuntimeError(f"{method}: no handler is running; use the client's own methods")
        collector.collect(method, params, name=name)


def part(item: Any, name: str) -> Any:
    """Return a field of a typed object, also an unknown one, or of the dict of an unknown kind; None if there is none."""
    if isinstance(item, TelegramObject):  # getattr of a missing field would take 2 us
        item = item.__dict__ if name in item.__dict__ else item.model_extra
    return item.get(name) if isinstance(item, dict) else None


def place_of(source: Any) -> dict[str, Any]:
    """Return the params that send an answer to the topic and business connection of `source`."""
    place: dict[str, Any] = {}
    if connection_id := part(source, "business_connection_id"):
        place["business_connection_id"] = connection_id
    # Outside topics, message_thread_id is a reply thread, which sendMessage does not accept.
    if part(source, "is_topic_message"):
        place["message_thread_id"] = part(source, "message_thread_id")
    if topic := part(source, "direct_messages_topic"):
        place["direct_messages_topic_id"] = part(topic, "topic_id")
    return place


def outlives_its_message(reply: Any) -> Any:
    """Return ReplyParameters with which a message is sent even if the one that it replies to was deleted.

    Unchanged if the author set that, or for a reply in another chat, where Telegram does not support it (Telegram Bot
    API, ReplyParameters: allow_sending_without_reply).
    """
    lenient = {"allow_sending_without_reply": True}
    if part(reply, "chat_id") is not None or part(reply, "allow_sending_without_reply") is not None:
        return reply
    if isinstance(reply, TelegramObject):
        return reply.model_copy(update=lenient)
    return {**reply, **lenient} if isinstance(reply, dict) else reply


class UpdateBase(TelegramObject):
    """The base of Update: its kind, and its lost parts."""

    @cached_property
    def kind(self) -> str | None:
        """The kind: the name of the one field that is set, known or not; None if there is none."""
        fields = self.__dict__
        for name in self.__pydantic_fields__:
            if fields[name] is not None and name != "update_id":
                return name
        return min(
            (name for name, value in (self.model_extra or {}).items() if value is not None), default=None
        )

    @cached_property
    def lost(self) -> tuple[str, ...]:
        """The paths of invalid parts that were removed (telegram/botapi/decoding.py)."""
        return ()


class MessageBase(MessageCalls, _Collecting, TelegramObject):
    """The base of Message: shortcuts to answer, edit and delete it."""

    message_id: int
    chat: Any

    @property
    def sent_at(self) -> datetime:
        """When it was sent, in UTC (the field `date`)."""
        return datetime.fromtimestamp(self.__dict__["date"], UTC)

    @property
    def edited_at(self) -> datetime | None:
        """When it was last edited, in UTC (the field `edit_date`); None if it never was."""
        at = self.__dict__["edit_date"]
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def _place(self, _name: str) -> dict[str, Any]:
        return {"chat_id": self.chat.id, **place_of(self)}

    def _itself(self, _name: str) -> dict[str, Any]:
        given = {"chat_id": self.chat.id, "message_id": self.message_id}
        connection = self.__dict__.get("business_connection_id")
        return given if connection is None else {**given, "business_connection_id": connection}

    def _from_here(self, _name: str) -> dict[str, Any]:
        return {"from_chat_id": self.chat.id, "message_id": self.message_id}

    def _quoted(self, _name: str) -> int:
        return self.message_id


class CallbackQueryBase(QueryCalls, _Collecting, TelegramObject):
    """The base of CallbackQuery: a shortcut to answer it."""

    id: str

    def _query(self, _name: str) -> dict[str, Any]:
        return {"callback_query_id": self.id}
