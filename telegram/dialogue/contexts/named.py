"""A message by the name that it was given when it was sent: `ctx.reply("Choose", name="menu")`, `ctx.named("menu").edit(...)`.

The calls about it are collected as all others, with the name in the place of the message's id. The sender learns the id when
it sends the message, keeps it with the commit of that call, and fills it in when it sends the others
(telegram/service/names.py). All of them are in one lane of the outbox, so they are sent in the order in which they were
collected, and the id is known, or the message was not sent.
"""

from typing import TYPE_CHECKING, Any, Final, Unpack

from telegram.botapi.collected import NamedCalls
from telegram.botapi.collecting import Collected, Quotable, WrongCall
from telegram.botapi.named import NamedId, message_name
from telegram.botapi.types import InputMedia
from telegram.dialogue.contexts.editing import EditParams, edit_of

if TYPE_CHECKING:
    from telegram.dialogue.contexts.context import Context

_EDITED: Final = Collected("edit", "editMessageText")


class NamedMessage(NamedCalls, Quotable):
    """The last message of a chat that was sent with this name; returned by `ctx.named`."""

    __slots__ = ("_ctx", "_place", "name")

    def __init__(self, ctx: "Context[Any]", name: str, chat_id: int | str | None) -> None:
        """TypeError or ValueError for a name that no message has, ValueError if the update has no chat and none is given."""
        self.name = message_name(name)
        self._ctx = ctx
        here = ctx.speaks_in()
        if chat_id is None and here is None:
            raise ValueError(f"named() needs a chat, and this {ctx.kind} has none: give chat_id=")
        is_here = here is not None and (chat_id is None or str(chat_id) == str(here["chat_id"]))
        self._place: dict[str, Any] = here if is_here and here is not None else {"chat_id": chat_id}

    def __repr__(self) -> str:
        return f"<the message {self.name!r} of the chat {self._place['chat_id']}>"

    def edit(self, text: str | InputMedia, /, **params: "Unpack[EditParams]") -> None:
        """Replace its text, or its caption, if it is a photo, a video, ...; or its media."""
        self._collected(*edit_of(None, text, {**self._itself("edit"), **params}))
        return _EDITED  # type: ignore[return-value]  # explains `await`

    def _collected(self, method: str, params: dict[str, Any]) -> None:
        self._ctx.collect(method, params)

    def _itself(self, _name: str) -> dict[str, Any]:
        place = self._place
        found = {"chat_id": place["chat_id"], "message_id": NamedId(self.name)}
        connection = place.get("business_connection_id")
        return found if connection is None else {**found, "business_connection_id": connection}

    def _quoted(self, name: str) -> int:
        here = self._ctx.speaks_in()
        if here is None or here["chat_id"] != self._place["chat_id"]:
            raise WrongCall(f"{name}(): quote is a message of this chat, not of {self._place['chat_id']}")
        return NamedId(self.name)
