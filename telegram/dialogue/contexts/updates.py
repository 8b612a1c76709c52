"""The context types by kind of update.

Context             any update (telegram/dialogue/contexts/context.py)
  ChatContext       an update of a chat: `reply`, `typing`, `progress`
    MessageContext    a message of any kind: `message`, `text`, `command`, `args`
    CallbackContext   a pressed button: `button`, `answer`, `edit`
    TimerContext      a timer that came due: `timer`, `payload`

The contexts of queries, payments and other kinds with answers of their own are in queries.py.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Unpack

import structlog

from engine import Delivery
from telegram.botapi.collected import Presses, Replies
from telegram.botapi.collecting import Collected
from telegram.botapi.constants import ChatAction, ChatActionStr
from telegram.botapi.errors import Refused, TelegramError
from telegram.botapi.late import outcome_of_refusal
from telegram.botapi.parameters import check_call
from telegram.botapi.routing import FAKE_USERS
from telegram.botapi.shortcuts import part, place_of
from telegram.botapi.types import (
    CallbackQuery,
    InaccessibleMessage,
    InputMedia,
    Message,
    ReplyParameters,
    Update,
)
from telegram.dialogue.buttons.marks import read_mark
from telegram.dialogue.contexts.commands import is_command, parse_command, parse_prefixed
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.editing import EditParams, edit_of
from telegram.dialogue.contexts.long import Progress, kept_alive
from telegram.dialogue.contexts.origin import E_co
from telegram.dialogue.contexts.pressable import check_short
from telegram.dialogue.contexts.streaming import Stream, forget, made
from telegram.dialogue.contexts.tools import Tools
from telegram.dialogue.state.timers import Fired

if TYPE_CHECKING:
    from telegram.botapi.collected import AnswerParams, SendMessageParams, TextParams

log = structlog.get_logger(__name__)

_EDITED: Final = Collected("edit", "editMessageText")

ANSWER_NOW_MAX_S: Final = 5.0
"""Maximum time that `answer_now` waits for Telegram, in seconds; after that the press is answered after the commit."""


class ChatContext(Replies, Context[E_co]):
    """An update that can be replied to: in its chat, or in the private chat with its user.

    `reply`, `reply_photo`, ... send to the chat of the update, in its topic or business connection; for a join request, or
    an update that has only a user, to the private chat. ValueError if there is neither. `quote=True`: as a reply to the message.
    """

    __slots__ = ()

    def typing(self, action: ChatActionStr = ChatAction.TYPING, /) -> AbstractAsyncContextManager[None]:
        """`async with ctx.typing("upload_document"):` shows a chat action while the block runs (sendChatAction).

        It never raises and never delays the handler.
        """
        here = self._place("typing")
        params = {name: value for name, value in here.items() if name != "direct_messages_topic_id"}
        return kept_alive(self._tools.client, {**params, "action": action})

    async def progress(self, text: str, /, **params: "Unpack[SendMessageParams]") -> Progress:
        """Send `text` at once, as a message that shows the handler's progress; `params` for sendMessage and editMessageText.

        Outside the commit: a handler that runs again after a kill sends another one. Errors of Telegram are not raised.
        """
        given = {**self._place("progress"), "text": text, **params}
        check_call("sendMessage", given)
        check_short("a button of progress()", params.get("reply_markup"))
        stated: dict[str, Any] = {**params}
        if (defaults := self._tools.defaults) is not None:
            stated |= defaults.added("sendMessage", given)
        name = f"{self.idempotency_key}/{len(self.shows)}"
        known = self._tools.shown.get(name)
        shows = Progress(self._tools.client, self._place("progress"), text, stated, self.call, known)
        self.shows = (*self.shows, shows)
        await shows.begin()
        self._tools.remember(name, shows.message_id)
        return shows

    def stream(
        self, *, quote: bool = False, can_stop: bool = False, **params: "Unpack[TextParams]"
    ) -> Stream:
        """`async with ctx.stream() as out:` an answer that grows by `out.write(part)`; its final text is sent with the commit.

        See telegram/dialogue/contexts/streaming.py. `quote=True`: as a reply to the message. `params` for sendMessage: of the last message if the text needs several.
        With `can_stop` a draft has a button that stops it; the bot gets an update, for `stop=kind("stopped_message_generation")`.
        """
        if quote:
            params.setdefault("reply_parameters", ReplyParameters(message_id=self._quoted("stream")))
        place, number = self._place("stream"), len(self.shows)
        found = made(
            self._tools, self.idempotency_key, number, place, {**params}, self.call, can_stop=can_stop
        )
        self.shows = (*self.shows, found)
        return found

    def forget_streams(self) -> None:
        """Collect the deletion of the growing messages of a handler whose update is given up."""
        forget(self._tools, self.idempotency_key, self.speaks_in() or {}, self.call)

    def _place(self, what: str) -> dict[str, Any]:
        """Return the params for the chat, as `speaks_in`; ValueError if there is none. `what` is the caller's name."""
        if self.kind == "guest_message":
            raise ValueError(
                "the bot is not in the chat of a guest_message: use answer(result), which calls answerGuestQuery"
            )
        here = self.speaks_in()
        if here is None:
            raise ValueError(f"{what}() needs a chat, and this {self.kind} has none")
        return here

    def _quoted(self, what: str) -> int:
        """Return the id of the message that `quote=True` replies to."""
        found = part(self.source, "message_id")
        if isinstance(found, int):
            return found
        raise ValueError(f"{what}(quote=True) needs a message, and this {self.kind} has none")


class MessageContext(ChatContext[Message]):
    """A message of any kind: new, edited, of a channel, of a business account."""

    __slots__ = ("album", "together")

    album: "tuple[MessageContext, ...]"
    """All messages of the album, this one first; set only if the router has album handlers (albums.py)."""

    together: tuple[Message, ...]
    """The messages that are handed over together, this one first; set only if there are several."""

    @property
    def message(self) -> Message:
        """The message."""
        return self.event

    @property
    def messages(self) -> list[Message]:
        """All messages that are handed over together (`on_new`, a burst), oldest first; mostly only this one.

        Of a message that was edited meanwhile the newest version, if the handler takes edited messages, too.
        """
        return [*getattr(self, "together", (self.event,))]

    @property
    def texts(self) -> list[str]:
        """The texts, or captions, of `messages`; those without either are left out."""
        return [found for each in self.messages if (found := each.text or each.caption)]

    @property
    def chat_id(self) -> int:
        """The id of the message's chat."""
        return self.event.chat.id

    @property
    def text(self) -> str:
        """The text; empty if the message has none (a caption is not a text)."""
        return self.event.text or ""

    @property
    def caption(self) -> str:
        """The caption of a photo, a video, a document, ...; empty if there is none."""
        return self.event.caption or ""

    @property
    def is_command(self) -> bool:
        """Whether the text or the caption begins with a command, for any bot."""
        event = self.event
        words, entities = (
            (event.text, event.entities) if event.text else (event.caption or "", event.caption_entities)
        )
        return words[:1] == "/" and is_command(words, entities)

    def _parsed(self) -> tuple[str | None, str]:
        if self._command is None:
            words = self.event.text or self.event.caption or ""
            is_one = words[:1] == "/" and self.is_command
            self._command = parse_command(words, self._tools.username) if is_one else (None, "")
        return self._command

    def split_command(self, prefixes: str) -> tuple[str | None, str]:
        """Return the command and its arguments of a text that begins with another prefix than "/", as `command`, `args`."""
        event, username = self.event, self._tools.username
        if event.text:
            return parse_prefixed(event.text, event.entities, prefixes, username)
        return parse_prefixed(event.caption or "", event.caption_entities, prefixes, username)

    def note_args(self, args: str) -> None:
        """Set `args` to those of a command with a prefix of its own, which the update's handler was found by."""
        self._command = None, args

    def place(self) -> dict[str, Any]:
        """Return the params for the topic or business connection to which an answer belongs; empty for most messages."""
        has = self.event.__dict__
        if has["business_connection_id"] or has["is_topic_message"] or has["direct_messages_topic"]:
            return place_of(self.event)
        return {}


class CallbackContext(Presses, ChatContext[CallbackQuery]):
    """A pressed button. If the handler does not answer it, it is answered without a text after the commit.

    A press is handled in order with the messages of its chat. A slow handler should answer first: `answer_now`.
    """

    __slots__ = ("is_refused", "pressed")

    def __init__(self, update: Update, event: CallbackQuery, delivery: Delivery, tools: Tools) -> None:
        mark = None
        if event.data is not None and event.data[:1] == "~":
            mark, data = read_mark(event.data)
            event = event.model_copy(update={"data": data})
        super().__init__(update, event, delivery, tools)
        self.pressed = mark
        """The mark of the button, if a flow has sent it (telegram/dialogue/buttons/marks.py)."""
        self.is_refused = False
        """Whether a flow has a step for the button, but did not offer it in its current state."""

    @property
    def message(self) -> Message | InaccessibleMessage | None:
        """The message with the button; inaccessible if it is too old, None for a message sent via the bot (inline mode)."""
        return self.event.message

    @property
    def source(self) -> Any:
        """The message with the button, if the update has it, else the query."""
        return self.event if self.event.message is None else self.event.message

    @property
    def button(self) -> str | None:
        """The callback data of the button, without a flow's mark."""
        return self.event.data

    async def answer_now(self, text: str | None = None, /, **params: "Unpack[AnswerParams]") -> None:
        """Answer at once, before the handler continues: for a handler that takes longer than people wait.

        Outside the commit. The press is then not answered again at the end, or when the handler runs again (except after a
        kill; Telegram shows only the first answer). It does not raise if the answer cannot be sent, and takes at most
        ANSWER_NOW_MAX_S.
        """
        call = {"callback_query_id": self.event.id, "text": text, **params}
        check_call("answerCallbackQuery", call)
        client = self._tools.client
        if client is None or self.is_late or self.is_answered:
            return
        self._note_call()
        try:
            async with asyncio.timeout(ANSWER_NOW_MAX_S):
                await client.call("answerCallbackQuery", **call)
        except (TelegramError, TimeoutError) as error:
            if not isinstance(error, Refused) or outcome_of_refusal(error) != "done":
                log.warning("a button was not answered at once", id=self.update_id, reason=str(error))
                return
        self._tools.note_answered(self.event.id)

    @property
    def is_answered(self) -> bool:
        """Whether the press was answered by `answer_now`."""
        return self.event.id in self._tools.answered

    def edit(self, text: str | InputMedia, /, **params: "Unpack[EditParams]") -> None:
        """Replace the text of the message with the button, or its caption, if it is a photo, a video, ...; or its media.

        editMessageText, editMessageCaption or editMessageMedia. Of a message that is not accessible, or that was sent via the
        bot, the kind is not known, and it is taken for a text: use `edit_caption`, `edit_media`.
        """
        self.collect(*edit_of(self.event.message, text, {**self._itself("edit"), **params}))
        return _EDITED  # type: ignore[return-value]  # explains `await ctx.edit(...)`

    def _query(self, _what: str) -> dict[str, Any]:
        return {"callback_query_id": self.event.id}

    def _itself(self, _what: str) -> dict[str, Any]:
        message = self.event.message
        if message is None:
            return {"inline_message_id": self.event.inline_message_id}
        found = {"chat_id": self.chat_id, "message_id": message.message_id}
        connection = part(message, "business_connection_id")
        return found if connection is None else {**found, "business_connection_id": connection}


class TimerContext(ChatContext[Fired]):
    """A timer that came due: `reply` and the others refer to the chat in which, or for which, it was set."""

    __slots__ = ()

    def __init__(self, fired: Fired, delivery: Delivery, tools: Tools) -> None:
        super().__init__(Update(update_id=delivery.envelope.id), fired, delivery, tools)
        self.kind = "timer"

    @property
    def timer(self) -> str:
        """The timer's name."""
        return self.event.name

    @property
    def timer_key(self) -> str | None:
        """The `key` given to `set_timer`; None if there was none."""
        return self.event.key

    @property
    def payload(self) -> dict[str, Any]:
        """The `payload` given to `set_timer`."""
        return self.event.payload

    @property
    def chat_id(self) -> int | None:
        """The chat in which it was set, or for which."""
        return self.event.chat_id

    @property
    def user_id(self) -> int | None:
        """The user whose update set it; None if it was sent on behalf of a chat."""
        sender = self.event.user_id
        return None if sender is None or sender < 0 or sender in FAKE_USERS else sender

    @property
    def sender_id(self) -> int | None:
        """The sender of the update that set it (Context.sender_id)."""
        return self.event.user_id

    def place(self) -> dict[str, Any]:
        """Return the params for the topic or business connection in which it was set."""
        return self.event.place


MESSAGE_KINDS: Final = frozenset((
    "message", "edited_message", "channel_post", "edited_channel_post",
    "business_message", "edited_business_message", "guest_message",
))  # fmt: skip
