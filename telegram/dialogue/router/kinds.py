"""The kinds of update that the bot requests from Telegram (`allowed_updates` of getUpdates).

Telegram keeps the last list that it received, also from an earlier program with the same token, and its default omits
chat_member, message_reaction and message_reaction_count (Telegram Bot API, getUpdates). So the bot sends the whole list
with each getUpdates: the kinds of its handlers, and NEEDED.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import structlog

from telegram.botapi.nearest import nearest
from telegram.botapi.types import KINDS, VERSION
from telegram.dialogue.filters.conditions import Filter, kinds_of, label_of, walk
from telegram.dialogue.flows.plan import Plan
from telegram.dialogue.routes.events import OfEvent
from telegram.dialogue.routes.route import EVENT, EVERY, TIMER, Entry, OfTimer, Route

log = structlog.get_logger(__name__)

NEEDED: Final = frozenset(("message", "callback_query", "my_chat_member"))
"""Kinds that the bot itself uses: groups that become supergroups, buttons to answer, chats that block or remove it."""

STOPPING: Final = frozenset(("message", "callback_query"))
"""Kinds requested for a `stop=` filter that does not name its kinds: a command or a button."""

ADMIN_ONLY: Final = frozenset((
    "chat_member", "message_reaction", "message_reaction_count", "chat_join_request", "chat_boost", "removed_chat_boost",
))  # fmt: skip
"""Kinds that Telegram sends only for chats in which the bot is an administrator (Telegram Bot API, Update)."""

ALL: Final = "all"

_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,64})")


def asked_kinds(entries: Iterable[tuple[Entry, tuple[Filter, ...]]]) -> list[str]:
    """Return the kinds that these entries of a router handle, and NEEDED, in the order of KINDS; unknown ones last."""
    asked = set(NEEDED)
    for entry, above in entries:
        for route in routes_of(entry, set()):
            filters = above if not isinstance(route, Route) else (*above, *route.filters)
            asked |= _kinds(route.kinds, filters)
            if isinstance(route, Route) and route.options.stop is not None:
                asked |= kinds_of((route.options.stop,)) or STOPPING
    return [*(kind for kind in KINDS if kind in asked), *sorted(asked - {TIMER, EVENT, EVERY} - set(KINDS))]


def timers_of(entries: Iterable[tuple[Entry, tuple[Filter, ...]]]) -> frozenset[str] | None:
    """Return the names of the timers that these entries of a router handle; None if one may handle any timer."""
    return _names_of(entries, TIMER, OfTimer)


def events_of(entries: Iterable[tuple[Entry, tuple[Filter, ...]]]) -> frozenset[str] | None:
    """Return the names of the events that these entries of a router handle; None if one may handle any event."""
    return _names_of(entries, EVENT, OfEvent)


def _names_of(
    entries: Iterable[tuple[Entry, tuple[Filter, ...]]], kind: str, by: type[OfTimer | OfEvent]
) -> frozenset[str] | None:
    names = set()
    for entry, above in entries:
        for route in routes_of(entry, set()):
            filters = above if not isinstance(route, Route) else (*above, *route.filters)
            if kind not in (_any_or(route.kinds) & _any_or(kinds_of(filters))):
                continue
            named = [each.name for each in filters if isinstance(each, by)]
            if not named:
                return None
            names.update(named)
    return frozenset(names)


def commands_of(
    entries: Iterable[tuple[Entry, tuple[Filter, ...]]], *, all_states: bool = False
) -> list[str]:
    """Return the commands that these entries handle, without the slash, in order.

    Of a flow those that start it; with `all_states` also those of its states.
    """
    found: dict[str, None] = {}
    for entry, _ in entries:
        routes: Iterable[Entry] = [entry]
        if isinstance(entry, Plan):
            routes = routes_of(entry, set()) if all_states else [step.route for step in entry.entries]
        filters = [each for route in routes if isinstance(route, Route) for each in route.filters]
        for label in map(label_of, walk(filters, negated=False)):
            if label.startswith("/"):  # "/start or /hello", "/start <payload>"
                found.update(dict.fromkeys(_COMMAND.findall(label)))
    return list(found)


def _any_or(kinds: frozenset[str] | None) -> frozenset[str]:
    return frozenset((*KINDS, TIMER, EVENT, EVERY)) if kinds is None else kinds


def log_kinds(asked: Sequence[str], taken: Sequence[str]) -> None:
    """Log the requested kinds, and warnings about them; `taken` are the kinds that the bot's handlers handle."""
    log.info("asking Telegram for", allowed_updates=list(asked))
    if silent := sorted(set(taken) - set(asked)):
        log.warning("the setting of allowed_updates leaves out kinds that handlers take", kinds=silent)
    if newer := sorted(set(asked) - set(KINDS)):
        log.warning("kinds of update that are not known here", kinds=newer, bot_api=VERSION)
    if closed := sorted(ADMIN_ONLY & set(asked)):
        log.info("these come only from chats in which the bot is an administrator", kinds=closed)


def read_kinds(text: str) -> list[str]:
    """Parse "message, callback_query" or "all". ValueError, one line, with an unknown kind and the most similar one."""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == [ALL]:
        return list(KINDS)
    if not names:
        raise ValueError(f"name kinds of update, separated by commas, or {ALL}")
    for name in names:
        if name not in KINDS:
            raise ValueError(f"there is no kind of update {name!r}{nearest(name, [*KINDS, ALL])}")
    return list(dict.fromkeys(names))


def _kinds(taken: frozenset[str] | None, filters: Iterable[Any]) -> frozenset[str]:
    """Return the kinds that reach a handler of the kinds `taken` (None: any) through these filters."""
    named = kinds_of(filters)
    if taken is None:
        return frozenset(KINDS) if named is None else named
    return taken if named is None else taken & named


def routes_of(entry: Entry, seen: set[int]) -> Iterator[Entry]:
    """Yield the handlers of an entry: itself, or of a flow those of each step and of each sub-flow."""
    if not isinstance(entry, Plan):
        yield entry
    elif id(entry) not in seen:
        seen.add(id(entry))
        for steps in (entry.entries, *entry.steps.values(), entry.steps_anywhere, entry.steps_else):
            yield from (step.route for step in steps)
        for sub in entry.sub_flows.values():
            yield from routes_of(sub.flow, seen)  # type: ignore[arg-type] # every Plan is a Flow
