"""The decorators of a router: `router.message(...)` and one for each other kind of update, with their types."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, Unpack, overload

from telegram.botapi import types
from telegram.dialogue.buttons.callback_data import CallbackData
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.queries import (
    CheckoutContext,
    ChosenContext,
    GuestContext,
    InlineContext,
    JoinRequestContext,
    ShippingContext,
)
from telegram.dialogue.contexts.updates import MESSAGE_KINDS, CallbackContext, ChatContext, MessageContext
from telegram.dialogue.filters.conditions import Extract, FilterOf
from telegram.dialogue.routes.route import Handler, HandlerOptions, parted

if TYPE_CHECKING:
    from telegram.dialogue.router.router import Router

C = TypeVar("C", bound=Context)
A = TypeVar("A")
B = TypeVar("B")
D = TypeVar("D", bound=CallbackData)

_None: TypeAlias = Awaitable[None]
Nothing: TypeAlias = Callable[[], _None]
Takes: TypeAlias = Callable[[Callable[[C], _None] | Nothing], Handler]
TakesOne: TypeAlias = Callable[
    [
        Callable[[C, A], _None]
        | Callable[[A, C], _None]
        | Callable[[C], _None]
        | Callable[[A], _None]
        | Nothing
    ],
    Handler,
]
TakesTwo: TypeAlias = Callable[
    [
        Callable[[C, A, B], _None]
        | Callable[[C, B, A], _None]
        | Callable[[A, C, B], _None]
        | Callable[[A, B, C], _None]
        | Callable[[B, C, A], _None]
        | Callable[[B, A, C], _None]
        | Callable[[C, A], _None]
        | Callable[[C, B], _None]
        | Callable[[A, C], _None]
        | Callable[[A, B], _None]
        | Callable[[B, C], _None]
        | Callable[[B, A], _None]
        | Callable[[C], _None]
        | Callable[[A], _None]
        | Callable[[B], _None]
        | Nothing
    ],
    Handler,
]
"""A handler may declare any of the available arguments, in any order (telegram/dialogue/contexts/signature.py)."""


class On(Generic[C]):
    """The type of `router.message` and the like: decorators for handlers of some kinds of update."""

    def __init__(self, router: "Router", kinds: frozenset[str] | None, context: type[C]) -> None:
        self._router = router
        self._kinds = kinds
        self._context = context

    @overload
    def __call__(
        self,
        first: Extract[A, C],
        second: Extract[B, C],
        /,
        *filters: FilterOf[C],
        **options: Unpack[HandlerOptions],
    ) -> TakesTwo[C, A, B]: ...
    @overload
    def __call__(
        self, first: Extract[A, C], /, *filters: FilterOf[C], **options: Unpack[HandlerOptions]
    ) -> TakesOne[C, A]: ...
    @overload
    def __call__(
        self, first: type[D], /, *filters: FilterOf[C], **options: Unpack[HandlerOptions]
    ) -> TakesOne[C, D]: ...
    @overload
    def __call__(self, *filters: FilterOf[C], **options: Unpack[HandlerOptions]) -> Takes[C]: ...

    def __call__(self, *filters: Any, **options: Unpack[HandlerOptions]) -> Any:
        """Decorate a handler of updates that pass all filters; its arguments are the context and the extracts' values.

        An update of the same conversation that passes `stop` stops the handler at once, even while it runs: its effects are
        discarded, and the stopping update is handled in its turn. `on_new` says what becomes of a new message for this handler
        that comes while it works (telegram/dialogue/routes/policies.py). `timeout_s` bounds the handler's run in seconds (default:
        the bot's setting). An update older than `stale_s` seconds when its turn comes is dropped, without other handlers
        being tried (telegram/dialogue/filters/limits.py).
        """
        asked, given = parted(filters, options)
        return self._router.add(self._kinds, asked, self._context, given)


class Decorators:
    """The decorators of a router: one for each kind of update, `any_message` for all messages, `update` for all kinds."""

    def __init__(self, router: "Router") -> None:
        def on(kind: str, context: type[C]) -> On[C]:
            return On(router, frozenset((kind,)), context)

        self.message = on("message", MessageContext)
        self.edited_message = on("edited_message", MessageContext)
        self.channel_post = on("channel_post", MessageContext)
        self.edited_channel_post = on("edited_channel_post", MessageContext)
        self.business_message = on("business_message", MessageContext)
        self.edited_business_message = on("edited_business_message", MessageContext)
        self.guest_message = on("guest_message", GuestContext)
        self.any_message = On(router, MESSAGE_KINDS, MessageContext)
        self.callback_query = on("callback_query", CallbackContext)
        self.inline_query = on("inline_query", InlineContext)
        self.chosen_inline_result = on("chosen_inline_result", ChosenContext)
        self.pre_checkout_query = on("pre_checkout_query", CheckoutContext)
        self.shipping_query = on("shipping_query", ShippingContext)
        self.purchased_paid_media = on("purchased_paid_media", ChatContext[types.PaidMediaPurchased])
        self.subscription = on("subscription", ChatContext[types.BotSubscriptionUpdated])
        self.poll = on("poll", Context[types.Poll])
        self.poll_answer = on("poll_answer", ChatContext[types.PollAnswer])
        self.my_chat_member = on("my_chat_member", ChatContext[types.ChatMemberUpdated])
        self.chat_member = on("chat_member", ChatContext[types.ChatMemberUpdated])
        self.chat_join_request = on("chat_join_request", JoinRequestContext)
        self.message_reaction = on("message_reaction", ChatContext[types.MessageReactionUpdated])
        self.message_reaction_count = on(
            "message_reaction_count", ChatContext[types.MessageReactionCountUpdated]
        )
        self.chat_boost = on("chat_boost", ChatContext[types.ChatBoostUpdated])
        self.removed_chat_boost = on("removed_chat_boost", ChatContext[types.ChatBoostRemoved])
        self.business_connection = on("business_connection", ChatContext[types.BusinessConnection])
        self.deleted_business_messages = on(
            "deleted_business_messages", ChatContext[types.BusinessMessagesDeleted]
        )
        self.managed_bot = on("managed_bot", ChatContext[types.ManagedBotUpdated])
        self.stopped_message_generation = on(
            "stopped_message_generation", ChatContext[types.MessageGenerationStopped]
        )
        self.update: On[Context] = On(router, None, Context)
