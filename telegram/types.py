"""Telegram's objects, as far as handlers touch them by hand; what is not modelled is kept as it came.

An unknown field, kind of origin or kind of keyboard is accepted: the Bot API grows every month. A missing required field
of a modelled type is not: a handler may rely on what it reads.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from telegram.errors import Unreadable, one_line

KINDS: Final = (
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "guest_message",
    "message_reaction",
    "message_reaction_count",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
    "managed_bot",
    "subscription",
    "stopped_message_generation",
)
"""Every kind of update of Bot API 10.3."""

_RANKS = {kind: rank for rank, kind in enumerate(KINDS)}


class TelegramObject(BaseModel):
    """Frozen; keeps unknown fields; builds its validator at the first use, which is cheaper than all at import."""

    model_config = ConfigDict(
        frozen=True, extra="allow", defer_build=True, validate_by_name=True, validate_by_alias=True
    )


class User(TelegramObject):
    """A user or bot."""

    id: int
    is_bot: bool
    first_name: str
    last_name: str | None = None
    username: str | None = None
    language_code: str | None = None


class Chat(TelegramObject):
    """A private chat (its id is the user's), group, supergroup or channel."""

    id: int
    type: str
    title: str | None = None
    username: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    is_forum: bool | None = None


class MessageEntity(TelegramObject):
    """Offset and length count UTF-16 code units (Telegram Bot API, MessageEntity)."""

    type: str
    offset: int
    length: int
    url: str | None = None
    user: User | None = None


class InlineKeyboardButton(TelegramObject):
    """`callback_data` takes 1 to 64 bytes, not characters (Telegram Bot API)."""

    text: str
    url: str | None = None
    callback_data: str | None = None


class InlineKeyboardMarkup(TelegramObject):
    """Rows of buttons under a message."""

    inline_keyboard: list[list[InlineKeyboardButton]]


class MessageOriginUser(TelegramObject):
    """Forwarded from a user."""

    type: Literal["user"]
    date: int
    sender_user: User


class MessageOriginHiddenUser(TelegramObject):
    """Forwarded from a user who hides their account: only a name."""

    type: Literal["hidden_user"]
    date: int
    sender_user_name: str


class MessageOriginChat(TelegramObject):
    """Forwarded from a chat that spoke for itself."""

    type: Literal["chat"]
    date: int
    sender_chat: Chat


class MessageOriginChannel(TelegramObject):
    """Forwarded from a channel post."""

    type: Literal["channel"]
    date: int
    chat: Chat
    message_id: int


class MessageOriginUnknown(TelegramObject):
    """An origin that Telegram added later."""

    type: str


def _origin(value: Any) -> str:
    found = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return found if found in {"user", "hidden_user", "chat", "channel"} else "unknown"


MessageOrigin = Annotated[
    Annotated[MessageOriginUser, Tag("user")]
    | Annotated[MessageOriginHiddenUser, Tag("hidden_user")]
    | Annotated[MessageOriginChat, Tag("chat")]
    | Annotated[MessageOriginChannel, Tag("channel")]
    | Annotated[MessageOriginUnknown, Tag("unknown")],
    Discriminator(_origin),
]


class Message(TelegramObject):
    """A message; `date` is never 0."""

    message_id: int
    date: int
    chat: Chat
    from_: User | None = Field(default=None, alias="from")
    sender_chat: Chat | None = None
    message_thread_id: int | None = None
    is_topic_message: bool | None = None
    business_connection_id: str | None = None
    edit_date: int | None = None
    forward_origin: MessageOrigin | None = None
    reply_to_message: Message | None = None
    text: str | None = None
    entities: list[MessageEntity] | None = None
    caption: str | None = None
    caption_entities: list[MessageEntity] | None = None
    reply_markup: InlineKeyboardMarkup | None = None


class InaccessibleMessage(TelegramObject):
    """A message that was deleted or is too old for the bot: its date is always 0."""

    chat: Chat
    message_id: int
    date: Literal[0]


def _accessibility(value: Any) -> str:
    date = value.get("date") if isinstance(value, dict) else getattr(value, "date", None)
    return "inaccessible" if date == 0 else "accessible"


MaybeInaccessibleMessage = Annotated[
    Annotated[Message, Tag("accessible")] | Annotated[InaccessibleMessage, Tag("inaccessible")],
    Discriminator(_accessibility),
]


class CallbackQuery(TelegramObject):
    """A press of an inline button; without `message` the button was sent in inline mode."""

    id: str
    from_: User = Field(alias="from")
    chat_instance: str
    message: MaybeInaccessibleMessage | None = None
    inline_message_id: str | None = None
    data: str | None = None


class Update(TelegramObject):
    """One update; a kind without a model here is kept as its plain dict."""

    update_id: int
    message: Message | None = None
    edited_message: Message | None = None
    channel_post: Message | None = None
    edited_channel_post: Message | None = None
    business_message: Message | None = None
    edited_business_message: Message | None = None
    guest_message: Message | None = None
    callback_query: CallbackQuery | None = None

    @cached_property
    def kind(self) -> str | None:
        """The name of what this update carries, known to us or not; None when it carries nothing."""
        given = {**self.__dict__, **(self.__pydantic_extra__ or {})}
        found = [name for name, value in given.items() if value is not None and name != "update_id"]
        return min(found, key=lambda name: (_RANKS.get(name, len(KINDS)), name), default=None)


def decode(body: bytes) -> Update:
    """Read one update strictly; raises Unreadable, also for a kind that this version does not know."""
    try:
        update = Update.model_validate_json(body)
    except ValidationError as error:
        reason = _reason(body, error)
    else:
        kind = update.kind
        if kind is None or kind in _RANKS:
            return update
        reason = one_line(f"unknown kind of update: {kind[:64]}")
    # Raised out here: as a context, pydantic's error would carry the user's words along.
    raise Unreadable(reason)


def _reason(body: bytes, error: ValidationError) -> str:
    """Say what is wrong by field names only: the values belong to users."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] != "json_invalid":
        return one_line(f"{'.'.join(map(str, first['loc'])) or 'update'}: {first['type']}")
    try:
        body.decode()
    except UnicodeDecodeError:
        return "invalid UTF-8"
    return "lone surrogate" if "hex escape" in first["msg"] else "broken JSON"
