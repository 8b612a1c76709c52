"""The contexts of the kinds that have answers of their own, and the context class of each kind of update.

InlineContext        an inline query: `answer`, `answer_page`
ChosenContext        a chosen inline result: `edit`
CheckoutContext      a payment to confirm: `approve`, `refuse`
ShippingContext      a payment's address: `approve` with the ways of delivery, `refuse`
JoinRequestContext   a request to join a chat: `approve`, `decline`
GuestContext         a message in a chat of which the bot is no member: `answer`

Each only collects calls, like all contexts; the limits are Telegram's (Telegram Bot API, answerInlineQuery, ...).
"""

from collections.abc import Sequence
from typing import Any, Final

from engine import Delivery
from telegram.botapi import types
from telegram.botapi.shortcuts import part
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.tools import Tools
from telegram.dialogue.contexts.updates import CallbackContext, ChatContext, MessageContext, TimerContext

RESULTS_MAX: Final = 50
"""Results of one answer (Telegram Bot API, answerInlineQuery: "No more than 50 results per query are allowed")."""

OFFSET_BYTES_MAX: Final = 64
"""Size of `next_offset` (Telegram Bot API, answerInlineQuery: "Offset length can't exceed 64 bytes")."""


class InlineContext(Context[types.InlineQuery]):
    """An inline query: what a user types after the bot's name, in any chat."""

    __slots__ = ()

    @property
    def query(self) -> str:
        """The text after the bot's name; empty if there is none yet."""
        return self.event.query

    @property
    def offset(self) -> int:
        """How many results the user has seen already, as `answer_page` counts them; 0 for an offset of another form."""
        found = self.event.offset
        return int(found) if found.isascii() and found.isdigit() and len(found) < 10 else 0

    def answer(
        self,
        results: Sequence[Any],
        /,
        *,
        next_offset: str | None = None,
        cache_time: int | None = None,
        is_personal: bool | None = None,
        button: types.InlineQueryResultsButton | None = None,
        **newer: Any,
    ) -> None:
        """Show these results (answerInlineQuery). Telegram asks again with `next_offset` when the user scrolls on.

        `results` are InlineQueryResult... objects or dicts, at most 50, each with an `id` of its own; else ValueError.
        Telegram shows the answer to other users, too, for `cache_time` (default 300) seconds, unless `is_personal`.
        """
        _check_results(results)
        if next_offset is not None and len(next_offset.encode()) > OFFSET_BYTES_MAX:
            raise ValueError(f"next_offset has at most {OFFSET_BYTES_MAX} bytes, not {next_offset!r}")
        params = {"cache_time": cache_time, "is_personal": is_personal, "button": button, **newer}
        known = {"inline_query_id": self.event.id, "results": list(results), "next_offset": next_offset}
        self.call("answerInlineQuery", **{**known, **params})

    def answer_page(self, results: Sequence[Any], /, *, per_page: int = RESULTS_MAX, **params: Any) -> None:
        """Show the part of all `results` that the user has scrolled to; further ones follow by themselves.

        `params` as for `answer`. `results` must be the same list, in the same order, for each page.
        """
        if not 1 <= per_page <= RESULTS_MAX:
            raise ValueError(f"per_page is a number from 1 to {RESULTS_MAX}, not {per_page}")
        first = self.offset
        behind = first + per_page
        following = str(behind) if behind < len(results) else ""  # empty: there are no more
        self.answer(results[first:behind], next_offset=following, **params)


class _RunningInlineContext(InlineContext, ChatContext[types.InlineQuery]):
    """The class of inline queries at run time: a flow that waits for one replies where it runs."""

    __slots__ = ()


def _check_results(results: Sequence[Any]) -> None:
    if len(results) > RESULTS_MAX:
        raise ValueError(
            f"an inline query is answered with at most {RESULTS_MAX} results, not {len(results)}: use answer_page()"
        )
    ids = [part(each, "id") for each in results]
    if repeated := next((each for at, each in enumerate(ids) if each in ids[:at]), None):
        raise ValueError(f"two results have the id {repeated!r}: Telegram refuses them all")


class ChosenContext(ChatContext[types.ChosenInlineResult]):
    """An inline result that a user has chosen and sent. Telegram reports them if /setinlinefeedback is on at @BotFather."""

    __slots__ = ()

    def edit(self, text: str, /, **params: Any) -> None:
        """Replace the text of the sent message (editMessageText). ValueError if it has no inline keyboard.

        Only then Telegram sends its id (Telegram Bot API, ChosenInlineResult: inline_message_id).
        """
        if self.event.inline_message_id is None:
            raise ValueError("edit() needs a result with an inline keyboard: Telegram sends no id of others")
        self.call(
            "editMessageText", **{"inline_message_id": self.event.inline_message_id, "text": text, **params}
        )


class CheckoutContext(ChatContext[types.PreCheckoutQuery]):
    """A payment that waits for the bot's consent, for 10 s (Telegram Bot API, answerPreCheckoutQuery)."""

    __slots__ = ()

    def approve(self) -> None:
        """Let the user pay."""
        self.call("answerPreCheckoutQuery", pre_checkout_query_id=self.event.id, ok=True)

    def refuse(self, why: str, /) -> None:
        """Refuse the payment; the user sees `why`."""
        self.call(
            "answerPreCheckoutQuery",
            pre_checkout_query_id=self.event.id,
            ok=False,
            error_message=_reason(why),
        )


class ShippingContext(ChatContext[types.ShippingQuery]):
    """The address of a payment with a flexible price, which waits for the ways of delivery."""

    __slots__ = ()

    def approve(self, options: Sequence[types.ShippingOption | dict[str, Any]], /) -> None:
        """Offer these ways of delivery (at least one, else ValueError)."""
        if not options:
            raise ValueError("approve() needs a way of delivery; without one use refuse(why)")
        self.call(
            "answerShippingQuery", shipping_query_id=self.event.id, ok=True, shipping_options=list(options)
        )

    def refuse(self, why: str, /) -> None:
        """Refuse the address; the user sees `why`."""
        self.call(
            "answerShippingQuery", shipping_query_id=self.event.id, ok=False, error_message=_reason(why)
        )


def _reason(why: str) -> str:
    if not why.strip():
        raise ValueError("refuse() needs a text for the user")
    return why


class JoinRequestContext(ChatContext[types.ChatJoinRequest]):
    """A request to join a chat. `reply` writes to the user, for 5 minutes (Telegram Bot API, ChatJoinRequest)."""

    __slots__ = ()

    def approve(self) -> None:
        """Let the user join (answerChatJoinRequestQuery if Telegram waits for it, else approveChatJoinRequest)."""
        self._answer("approve")

    def decline(self) -> None:
        """Decline the request (answerChatJoinRequestQuery, or declineChatJoinRequest)."""
        self._answer("decline")

    def _answer(self, result: str) -> None:
        query, event = self.event.query_id, self.event
        if query is not None:
            self.call("answerChatJoinRequestQuery", chat_join_request_query_id=query, result=result)
        else:
            self.call(f"{result}ChatJoinRequest", chat_id=event.chat.id, user_id=event.from_.id)


class GuestContext(MessageContext):
    """A message that mentions the bot in a chat of which it is no member: one answer is possible, no reply."""

    __slots__ = ()

    def answer(self, result: Any, /) -> None:
        """Send `result`, an InlineQueryResult... object or dict, to that chat (answerGuestQuery)."""
        self.call("answerGuestQuery", guest_query_id=self.event.guest_query_id, result=result)


CONTEXTS: Final[dict[str | None, type[Any]]] = {
    "message": MessageContext,
    "edited_message": MessageContext,
    "channel_post": MessageContext,
    "edited_channel_post": MessageContext,
    "business_message": MessageContext,
    "edited_business_message": MessageContext,
    "guest_message": GuestContext,
    "callback_query": CallbackContext,
    "inline_query": _RunningInlineContext,
    "chosen_inline_result": ChosenContext,
    "pre_checkout_query": CheckoutContext,
    "shipping_query": ShippingContext,
    "chat_join_request": JoinRequestContext,
}
"""The context class of each kind; a ChatContext for the others, also for kinds that are not known here."""

_OTHERS: Final[dict[str, type[Any]]] = {"timer": TimerContext, "every": Context}


def contexts_for(kinds: frozenset[str] | None) -> list[type[Any]]:
    """Return the classes of the contexts that updates of these kinds may have; None: any kind."""
    if kinds is None:
        return [Context]
    return [_OTHERS.get(kind) or CONTEXTS.get(kind, ChatContext) for kind in sorted(kinds)]


def context_of(update: types.Update, delivery: Delivery, tools: Tools) -> Context:
    """Return the context of an update of any kind."""
    kind = update.kind
    found: Context = CONTEXTS.get(kind, ChatContext)(
        update, getattr(update, kind or "", None), delivery, tools
    )
    return found
