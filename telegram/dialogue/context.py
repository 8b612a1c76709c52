"""What a handler sees of one update, and what it wants to happen: nothing is sent before the commit."""

import json
import re
from typing import Any, Final

from engine import KEEP, Call, Delivery, Effects, Reject
from telegram.calls import encode_call, encode_json
from telegram.objects import TelegramObject
from telegram.types import CallbackQuery, InaccessibleMessage, Message, Update, User

_MESSAGE_KINDS: Final = frozenset((
    "message", "edited_message", "channel_post", "edited_channel_post",
    "business_message", "edited_business_message", "guest_message",
))  # fmt: skip

_COMMAND: Final = re.compile(r"/(\w+)(?:@(\w+))?(?:\s+(.*))?", re.DOTALL)


class Context:
    """One update with its conversation state.

    `reply`, `answer`, `edit` and `call` only collect calls. They go out in this order once the handler has returned
    and its update is committed; if it raises, none of them does.
    """

    __slots__ = ("_calls", "_command", "_data", "_delivery", "event", "kind", "message", "update", "username")

    def __init__(self, update: Update, delivery: Delivery, *, username: str | None = None) -> None:
        self.update = update
        self.kind = kind = update.kind
        """Telegram's name for what the update holds: "message", "callback_query", ..."""
        self.event: Any = getattr(update, kind or "", None)
        """What stands in the update under its kind: a Message, a CallbackQuery, or a dict of what has no type here."""
        self.message: Message | InaccessibleMessage | None = None
        """The message of any kind of message update, or the one with the pressed button."""
        if kind in _MESSAGE_KINDS:
            self.message = self.event
        elif isinstance(self.event, CallbackQuery):
            self.message = self.event.message
        self.username = username
        """The bot's own username without the "@"; None if it is not known."""
        self._delivery = delivery
        self._data: dict[str, Any] | None = None  # None: not loaded, so it cannot have changed
        self._command: tuple[str | None, str] | None = None
        self._calls: list[Call] | None = []  # None: the effects are taken

    # ---- what came

    @property
    def update_id(self) -> int:
        """Telegram's number of this update; it orders the lane."""
        return self._delivery.envelope.id

    @property
    def key(self) -> str:
        """The lane of this update: "chat:42", say."""
        return self._delivery.envelope.key

    @property
    def attempt(self) -> int:
        """The how-manieth time this update is handled, from 1."""
        return self._delivery.attempt

    @property
    def chat_id(self) -> int | None:
        """The chat that the update belongs to; None for inline queries, polls and the like."""
        if self.message is not None:
            return self.message.chat.id
        return _id(self.event, "chat")

    @property
    def user(self) -> User | None:
        """Who wrote the message or pressed the button; None if no user did, and for kinds without a type here."""
        return getattr(self.event, "from_", None)

    @property
    def user_id(self) -> int | None:
        """The id of who caused the update, of any kind; None if no user did."""
        if self.user is not None:
            return self.user.id
        found = _id(self.event, "from")
        return _id(self.event, "user") if found is None else found

    @property
    def text(self) -> str:
        """The text of a message update, else empty; also for a pressed button, whose text is the bot's own."""
        if isinstance(self.event, Message):
            return self.event.text or ""
        return ""

    @property
    def command(self) -> str | None:
        """`start` of "/start@bot args", in lower case. None without a command, or with one for another bot."""
        return self._parsed()[0]

    @property
    def args(self) -> str:
        """What follows the command; empty if nothing does."""
        return self._parsed()[1]

    @property
    def button(self) -> str | None:
        """The callback data of the pressed button."""
        return self.event.data if self.kind == "callback_query" else None

    def _parsed(self) -> tuple[str | None, str]:
        if self._command is None:
            self._command = _parse_command(self.text, self.username)
        return self._command

    # ---- the conversation state

    @property
    def data(self) -> dict[str, Any]:
        """The conversation state, to be changed in place: plain JSON values under string keys.

        Saved with the commit of this update; an empty one is deleted. Rejects the update if it is not readable.
        """
        if self._data is None:
            self._data = _load(self._delivery.state)
        return self._data

    # ---- what shall happen

    def reply(self, text: str, /, **params: Any) -> None:
        """Send `text` to the chat of the update, into its topic or business connection (sendMessage)."""
        if self.chat_id is None:
            raise ValueError(f"reply() needs a chat, and {self.kind} has none")
        if self.kind == "guest_message":
            raise ValueError(
                "the bot is not in the chat of a guest_message: use call('answerGuestQuery', ...)"
            )
        self.call("sendMessage", **{"chat_id": self.chat_id, "text": text, **self._place(), **params})

    def answer(self, text: str | None = None, /, **params: Any) -> None:
        """End the waiting of the pressed button, with a short notice if there is a `text` (answerCallbackQuery)."""
        if self.kind != "callback_query":
            raise ValueError(f"answer() needs a pressed button, and this is {self.kind}")
        self.call("answerCallbackQuery", **{"callback_query_id": self.event.id, "text": text, **params})

    def edit(self, text: str, /, **params: Any) -> None:
        """Replace the text of the message with the pressed button (editMessageText)."""
        if self.kind != "callback_query":
            raise ValueError(f"edit() needs a pressed button, and this is {self.kind}")
        if self.message is None:
            target: dict[str, Any] = {"inline_message_id": self.event.inline_message_id}
        else:
            target = {
                "chat_id": self.chat_id,
                "message_id": self.message.message_id,
                "business_connection_id": _part(self.message, "business_connection_id"),
            }
        self.call("editMessageText", **{**target, "text": text, **params})

    def call(self, method: str, /, **params: Any) -> None:
        """Any method of the Bot API; params that are None are left out.

        Calls for one chat go out in order. ValueError or TypeError for what JSON or UTF-8 cannot hold. An InputFile
        waits as its path, and is read when it is sent; what is missing then is a dead letter.
        """
        if self._calls is None:
            raise RuntimeError(f"{method}: the handler has returned, this call would be lost")
        params = {name: value for name, value in params.items() if value is not None}
        chat_id = params.get("chat_id")
        own = chat_id is None or str(chat_id) == str(self.chat_id)
        key = self._delivery.envelope.key if own else f"chat:{chat_id}"
        self._calls.append(Call(key, encode_call(method, params)))

    def _place(self) -> dict[str, Any]:
        """Where in the chat an answer belongs."""
        place: dict[str, Any] = {}
        source = self.event if self.message is None else self.message
        if connection_id := _part(source, "business_connection_id"):
            place["business_connection_id"] = connection_id
        # Outside topics, message_thread_id names a chain of replies, and sendMessage does not take it.
        if _part(source, "is_topic_message"):
            place["message_thread_id"] = _part(source, "message_thread_id")
        if topic := _part(source, "direct_messages_topic"):
            place["direct_messages_topic_id"] = _part(topic, "topic_id")
        return place

    def effects(self) -> Effects:
        """What is to be committed. To be taken once, after the handler."""
        calls, self._calls = tuple(self._calls or ()), None
        if self._data is None:
            return Effects(calls)
        state = encode_json(self._data) if self._data else None
        return Effects(calls, KEEP if state == self._delivery.state else state)


def _part(item: Any, name: str) -> Any:
    """A field of a typed object, known to its type or not, or of the dict that stands for a kind without a type."""
    if isinstance(item, TelegramObject):  # getattr of a field that is not there would cost 2 us
        item = item.__dict__ if name in item.__dict__ else item.model_extra
    return item.get(name) if isinstance(item, dict) else None


def _id(item: Any, name: str) -> int | None:
    """`item[name].id`, if it is there and a number."""
    found = _part(_part(item, name), "id")
    return found if isinstance(found, int) else None


def _load(state: bytes | None) -> dict[str, Any]:
    if state is None:
        return {}
    try:
        data = json.loads(state)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Reject("the conversation state is not readable")
    return data


def _parse_command(text: str, username: str | None) -> tuple[str | None, str]:
    """The command in lower case and its args; no command if it names another bot than `username`."""
    found = _COMMAND.fullmatch(text)
    if found is None:
        return None, ""
    name, addressee, args = found.groups()
    if addressee and username and addressee.lower() != username.lower():
        return None, ""
    return name.lower(), (args or "").rstrip()
