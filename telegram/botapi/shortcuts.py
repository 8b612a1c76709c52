"""What the generated types have beside their fields: what kind an update is, and calls that a message invites.

`message.reply("hi")` collects a call in the running handler's context, as `ctx.reply` does: it goes out with the commit.
"""

from contextvars import ContextVar
from functools import cached_property
from typing import Any, Final, Protocol

from telegram.botapi.objects import TelegramObject


class Collector(Protocol):
    """What takes the calls of a handler: a Context."""

    def call(self, method: str, /, **params: Any) -> None:
        """Collect a call of any method."""


current: Final[ContextVar[Collector | None]] = ContextVar("current", default=None)
"""The context of the running handler."""


def _collect(method: str, **params: Any) -> None:
    collector = current.get()
    if collector is None:
        raise RuntimeError(f"{method}: no handler is running; use the client's own methods")
    collector.call(method, **params)


def part(item: Any, name: str) -> Any:
    """A field of a typed object, known to its type or not, or of the dict that stands for a kind without a type."""
    if isinstance(item, TelegramObject):  # getattr of a field that is not there would cost 2 us
        item = item.__dict__ if name in item.__dict__ else item.model_extra
    return item.get(name) if isinstance(item, dict) else None


def place_of(source: Any) -> dict[str, Any]:
    """Where in its chat an answer to `source` belongs: the params for its topic and its business connection."""
    place: dict[str, Any] = {}
    if connection_id := part(source, "business_connection_id"):
        place["business_connection_id"] = connection_id
    # Outside topics, message_thread_id names a chain of replies, and sendMessage does not take it.
    if part(source, "is_topic_message"):
        place["message_thread_id"] = part(source, "message_thread_id")
    if topic := part(source, "direct_messages_topic"):
        place["direct_messages_topic_id"] = part(topic, "topic_id")
    return place


def outlives_its_message(reply: Any) -> Any:
    """Return ReplyParameters with which a message is sent also if the one that it replies to is gone by then.

    Unless the author says otherwise. Not possible for a reply in another chat (Telegram Bot API, ReplyParameters:
    allow_sending_without_reply).
    """
    lenient = {"allow_sending_without_reply": True}
    if part(reply, "chat_id") is not None or part(reply, "allow_sending_without_reply") is not None:
        return reply
    if isinstance(reply, TelegramObject):
        return reply.model_copy(update=lenient)
    return {**reply, **lenient} if isinstance(reply, dict) else reply


class UpdateBase(TelegramObject):
    """An update knows which kind it is, and what could not be read of it."""

    @cached_property
    def kind(self) -> str | None:
        """The name of what this update carries, known to us or not; None when it carries nothing."""
        fields = self.__dict__
        for name in self.__pydantic_fields__:
            if fields[name] is not None and name != "update_id":
                return name
        return min(
            (name for name, value in (self.model_extra or {}).items() if value is not None), default=None
        )

    @cached_property
    def lost(self) -> tuple[str, ...]:
        """The paths of what was broken and is missing here (telegram/botapi/decoding.py)."""
        return ()


class MessageBase(TelegramObject):
    """A message can be answered, changed and deleted."""

    message_id: int
    chat: Any

    def answer(self, text: str, **params: Any) -> None:
        """Send a text to the message's chat, into its topic or business connection (sendMessage)."""
        _collect("sendMessage", **{"chat_id": self.chat.id, "text": text, **place_of(self), **params})

    def reply(self, text: str, **params: Any) -> None:
        """Answer, and quote the message."""
        self.answer(text, **{"reply_parameters": {"message_id": self.message_id}, **params})

    def edit_text(self, text: str, **params: Any) -> None:
        """Replace the text of one of the bot's own messages (editMessageText)."""
        _collect("editMessageText", **{**self._itself(), "text": text, **params})

    def edit_reply_markup(self, reply_markup: Any = None, **params: Any) -> None:
        """Replace the buttons of one of the bot's own messages; None takes them away (editMessageReplyMarkup)."""
        _collect("editMessageReplyMarkup", **{**self._itself(), "reply_markup": reply_markup, **params})

    def delete(self) -> None:
        """Delete the message: possible for 48 hours, with the right to (deleteMessage)."""
        _collect("deleteMessage", chat_id=self.chat.id, message_id=self.message_id)

    def _itself(self) -> dict[str, Any]:
        connection = self.__dict__.get("business_connection_id")
        return {"chat_id": self.chat.id, "message_id": self.message_id, "business_connection_id": connection}


class CallbackQueryBase(TelegramObject):
    """A pressed button can be answered."""

    id: str

    def answer(self, text: str | None = None, **params: Any) -> None:
        """End the waiting of the button, with a short notice if there is a `text` (answerCallbackQuery)."""
        _collect("answerCallbackQuery", **{"callback_query_id": self.id, "text": text, **params})
