"""The scopes of flows: the user's conversation in this chat, the chat's, a topic's, or the user's in all chats.

The first one comes with the delivery. The others have states of their own in the store, which are read before the update
is handled; the commit succeeds only if they are unchanged.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

from telegram.dialogue.state.conversation import DATA, OWN_SCOPE, Scope

if TYPE_CHECKING:
    from telegram.dialogue.contexts.context import Context

OWN: Final[Scope] = OWN_SCOPE
CHAT: Final[Scope] = "chat"
TOPIC: Final[Scope] = "topic"
USER: Final[Scope] = "user"


class Place(NamedTuple):
    """Key and scope of a conversation in the store, and the scope of its timers in the update's lane."""

    key: str
    scope: str
    timers: str


def place_of_scope(scope: str, ctx: "Context") -> Place | None:
    """Return the conversation of this update in `scope`; None if it has none (USER without a sender)."""
    if scope in {CHAT, TOPIC}:
        elsewhere = ctx.memory.where(DATA)  # for a timer for another chat, or a payment
        if elsewhere is None and ctx.home is not None:
            elsewhere = ctx.memory.where(OWN_SCOPE)  # for a flow that has waited for it in a group
        key = ctx.key if elsewhere is None else elsewhere[0]
        if scope == CHAT:
            return Place(key, "~chat", "~chat")
        topic = (ctx.home or ctx.place()).get("message_thread_id", "")
        return Place(key, f"~topic:{topic}", f"~topic:{topic}")
    sender = ctx.sender_id
    if sender is None:
        return None
    return Place(f"user:{sender}", "~user", f"~user:{sender}")


def shared_timers(scope: Scope, ctx: "Context", chat_id: int | None) -> str | None:
    """Return the lane scope of a timer that all users of `scope` may remove; None: the update's own.

    ValueError for a timer of another chat, and for a scope that has no timers in this update's lane.
    """
    if scope == OWN:
        return None
    place = place_of_scope(scope, ctx) if scope in {CHAT, TOPIC} else None
    if place is None or place.key != ctx.key or chat_id not in {None, ctx.chat_id}:
        raise ValueError(
            f"a timer of scope {scope!r} belongs to the chat or the topic that the update came from"
        )
    return place.timers
