"""Reads the conversations of an update that are not its delivery's own, before it is handled.

Another lane may change them meanwhile: the commit compares them (StateChanged), and the update is then handled again.
"""

from collections.abc import Awaitable
from typing import Final, TypeVar

from engine import Delivery, LeaseLost, Park, Reject, StoreUnavailable, Work
from telegram.botapi.routing import JOIN_REQUEST, chat_beside, scope_without_topic
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.updates import TimerContext
from telegram.dialogue.flows.awaiting import WAITS, awaits, place_of_waits, places_of
from telegram.dialogue.router.table import Table
from telegram.dialogue.routes.events import SEEN, EventContext
from telegram.dialogue.routes.route import EVENT, TIMER
from telegram.dialogue.state.conversation import DATA, Conversation, Where
from telegram.dialogue.state.scopes import CHAT, OWN, TOPIC, place_of_scope

T = TypeVar("T")

BESIDE: Final = frozenset(("pre_checkout_query", "shipping_query", "inline_query"))
"""Kinds with urgent lanes (telegram/botapi/routing.py), which share the private chat's conversation."""

ELSEWHERE: Final = BESIDE | {TIMER, EVENT, "chat_join_request", "poll_answer"}
"""Kinds whose conversation may be in another lane."""

_SHARED: Final = {CHAT: "~chat", TOPIC: "~topic:"}
"""State scopes of flows of a private chat that are shared by its users."""

_ASK_AGAIN_S: Final = 1.0
"""Delay after which an update is handled again if the store was unavailable."""


def may_lend(ctx: Context, table: Table, delivery: Delivery) -> bool:
    """Return whether there may be something for `lend` to read."""
    if table.looks_elsewhere or ctx.kind in ELSEWHERE:
        return True
    return delivery.state is None and _before_topics(delivery) is not None


def _before_topics(delivery: Delivery) -> str | None:
    """Return the scope that older versions used for a forum's conversation, without the topic, if the current one is empty.

    The conversation continues in the topic in which it first changes something.
    """
    return scope_without_topic(delivery.envelope.scope) if delivery.state is None else None


async def lend(ctx: Context, table: Table, delivery: Delivery, work: Work) -> None:
    """Read the conversations that the router's flows use, and those in other lanes, and add them to the context."""
    if work.store is None:
        return
    if (before := _before_topics(delivery)) is not None:
        was = await asked(work.state_of(delivery.envelope.key, before))
        if was is not None:
            ctx.memory.inherit(before, was)
    if (key := ctx.key).startswith(JOIN_REQUEST):
        group = chat_beside(key), delivery.envelope.scope
        was = await asked(work.state_of(*group))
        for name in (OWN, DATA):
            ctx.memory.lend(name, group, was)
    if isinstance(ctx, EventContext) and ctx.event_id is not None:
        ctx.memory.lend(SEEN, (ctx.key, SEEN), await asked(work.state_of(ctx.key, SEEN)))
    home = await _place_that_waits(ctx, table, work)
    if home is None and ctx.kind in ELSEWHERE:
        home = _home_of(ctx, table)
    if home is not None:
        was = await asked(work.state_of(*home[:2]))
        for name in (OWN, DATA) if home[2] else (OWN,):
            ctx.memory.lend(name, home[:2], was)
    if (
        table.awaited
        and (person := ctx.user_id) is not None
        and _is_in_a_group(ctx.memory.place(OWN), person)
    ):
        where = place_of_waits(person)
        ctx.memory.lend(WAITS, where, await asked(work.state_of(*where)))
    for scope in table.scopes:
        place = place_of_scope(scope, ctx)
        if place is not None:
            was = await asked(work.state_of(place.key, place.scope))
            ctx.memory.lend(scope, (place.key, place.scope), was)
    for shared in table.shared:
        if (at := shared.where(ctx)) is not None:
            shared.lend(ctx, at, await asked(work.state_of(*at)))


async def _place_that_waits(ctx: Context, table: Table, work: Work) -> tuple[str, str, bool] | None:
    """Return the conversation in a group whose flow waits for this update without a chat, as `_home_of`; None if none does.

    None also if a flow of the private chat waits for it, which has priority. Sets `ctx.home` to the flow's chat.
    """
    person = ctx.user_id
    if (
        ctx.kind not in table.awaited
        or person is None
        or ctx.chat_id is not None
        or _goes_on_in_its_lane(ctx)
    ):
        return None
    key, own = _private(person)
    for lies in (own, *(each for name, each in _SHARED.items() if name in table.scopes)):
        if await _waits(ctx, table, (key, lies), work):
            return None
    noted = _read(await asked(work.state_of(*place_of_waits(person))))
    for place in places_of({} if noted is None else noted.data):
        if await _waits(ctx, table, (place["key"], place["lies"]), work):
            ctx.home = place["home"]
            return place["key"], place["scope"], ctx.kind in BESIDE
    return None


async def _waits(ctx: Context, table: Table, where: Where, work: Work) -> bool:
    found = _read(await asked(work.state_of(*where)))
    return found is not None and awaits(table.flows, found.flow, ctx.kind)


def _read(state: bytes | None) -> Conversation | None:
    try:
        return Conversation(state)
    except Reject:
        return None  # reported when it is used


def _is_in_a_group(place: Where, person: int) -> bool:
    return place[0].startswith("chat:") and place != _private(person)


def _private(person: int) -> Where:
    return f"chat:{person}", str(person)


def _home_of(ctx: Context, table: Table) -> tuple[str, str, bool] | None:
    """Return the conversation of an update that is in another lane: key, scope, and whether `data` is there, too; or None.

    A payment or an inline query: the private chat's (None if it is in that lane already, in a file of an older version). A
    join request: the private chat's for flows, the group's for `data`. A poll answer: the private chat's, unless a flow
    runs in the poll's lane, as in older versions. An event's is in its lane.
    """
    if isinstance(ctx, TimerContext):
        return ctx.event.home
    if isinstance(ctx, EventContext):
        return None
    person = ctx.user_id
    if person is not None and ctx.kind in BESIDE:
        home = _private(person)
        return None if ctx.memory.place(OWN) == home else (*home, True)
    if person is None or not table.has_own_flows:
        return None
    if ctx.kind == "chat_join_request":
        return f"chat:{ctx.event.user_chat_id}", str(person), False
    return None if _goes_on_in_its_lane(ctx) else (*_private(person), False)


def _goes_on_in_its_lane(ctx: Context) -> bool:
    """Return whether a poll answer finds a flow in the poll's own lane, as in files of older versions."""
    return ctx.kind == "poll_answer" and ctx.memory.of(DATA).flow is not None


async def asked(question: Awaitable[T]) -> T:
    """Await a read of the store; Park if it is unavailable or the lease is lost, since the handler has not failed."""
    try:
        return await question
    except (StoreUnavailable, LeaseLost) as error:
        raise Park(f"{type(error).__name__}: {error}", delay_s=_ASK_AGAIN_S) from None
