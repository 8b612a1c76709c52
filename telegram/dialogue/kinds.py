"""Which kinds of update the bot asks Telegram for (`allowed_updates` of getUpdates).

Telegram keeps the last list that it was given, also that of an earlier program with the same token, and leaves
chat_member, message_reaction and message_reaction_count out of its default (Telegram Bot API, getUpdates). So the bot
sends the whole list with each getUpdates: what its handlers take, and NEEDED.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

import structlog

from telegram.botapi.types import KINDS, VERSION
from telegram.dialogue.filters import Filter, label_of
from telegram.dialogue.flows.plan import Plan
from telegram.dialogue.routes import TIMER, Entry, OfTimer, Route

log = structlog.get_logger(__name__)

NEEDED: Final = frozenset(("message", "callback_query", "my_chat_member"))
"""What the bot itself reads: a group that becomes a supergroup, buttons to answer, chats that it was shut out of."""

STOPPING: Final = frozenset(("message", "callback_query"))
"""What a `stop=` filter may wait for, if its kinds are not known: a command or a button."""

ADMIN_ONLY: Final = frozenset((
    "chat_member", "message_reaction", "message_reaction_count", "chat_join_request", "chat_boost", "removed_chat_boost",
))  # fmt: skip
"""What Telegram sends only of chats in which the bot is an administrator (Telegram Bot API, Update)."""

ALL: Final = "all"

_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,64})")


def asked_kinds(entries: Iterable[tuple[Entry, tuple[Filter, ...]]]) -> list[str]:
    """Return the kinds that these entries of a router take, and NEEDED, in the order of KINDS; newer ones come last."""
    asked = set(NEEDED)
    for entry, above in entries:
        for route in routes_of(entry, set()):
            filters = above if not isinstance(route, Route) else (*above, *route.filters)
            asked |= _kinds(route.kinds, filters)
            if isinstance(route, Route) and route.options.stop is not None:
                asked |= kinds_of((route.options.stop,)) or STOPPING
    return [*(kind for kind in KINDS if kind in asked), *sorted(asked - {TIMER} - set(KINDS))]


def timers_of(entries: Iterable[tuple[Entry, tuple[Filter, ...]]]) -> frozenset[str] | None:
    """Return the names of the timers that these entries of a router take; None if one may take timers of any name."""
    names = set()
    for entry, above in entries:
        for route in routes_of(entry, set()):
            filters = above if not isinstance(route, Route) else (*above, *route.filters)
            if TIMER not in (_any_or(route.kinds) & _any_or(kinds_of(filters))):
                continue
            named = [each.timer for each in filters if isinstance(each, OfTimer)]
            if not named:
                return None
            names.update(named)
    return frozenset(names)


def commands_of(
    entries: Iterable[tuple[Entry, tuple[Filter, ...]]], *, all_states: bool = False
) -> list[str]:
    """Return the commands that these entries take, without the slash, in their order.

    Of a flow those that start it; with `all_states` also those that it takes while it goes on.
    """
    found: dict[str, None] = {}
    for entry, _ in entries:
        routes: Iterable[Entry] = [entry]
        if isinstance(entry, Plan):
            routes = routes_of(entry, set()) if all_states else [step.route for step in entry.entries]
        for label in (
            label_of(each) for route in routes if isinstance(route, Route) for each in route.filters
        ):
            if label.startswith("/"):  # "/start or /hello", "/start <payload>"
                found.update(dict.fromkeys(_COMMAND.findall(label)))
    return list(found)


def _any_or(kinds: frozenset[str] | None) -> frozenset[str]:
    return frozenset((*KINDS, TIMER)) if kinds is None else kinds


def log_kinds(asked: Sequence[str], taken: Sequence[str]) -> None:
    """Log what a bot asks for, and what a person should know of it; `taken` are the kinds that its handlers take."""
    log.info("asking Telegram for", allowed_updates=list(asked))
    if silent := sorted(set(taken) - set(asked)):
        log.warning("the setting of allowed_updates leaves out kinds that handlers take", kinds=silent)
    if newer := sorted(set(asked) - set(KINDS)):
        log.warning("kinds of update that are not known here", kinds=newer, bot_api=VERSION)
    if closed := sorted(ADMIN_ONLY & set(asked)):
        log.info("these come only from chats in which the bot is an administrator", kinds=closed)


def read_kinds(text: str) -> list[str]:
    """Read "message, callback_query" or "all". ValueError with one line names an unknown kind, and the nearest one."""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == [ALL]:
        return list(KINDS)
    if not names:
        raise ValueError(f"name kinds of update, separated by commas, or {ALL}")
    for name in names:
        if name not in KINDS:
            raise ValueError(f"there is no kind of update {name!r}{nearest(name, [*KINDS, ALL])}")
    return list(dict.fromkeys(names))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ": did you mean ...?" with the known name that is most like `name`; empty if none is like it."""
    found = get_close_matches(name, list(known), 1, 0.6)
    return f": did you mean {found[0]!r}?" if found else ""


def kinds_of(filters: Iterable[Any]) -> frozenset[str] | None:
    """Return the kinds that pass all of those filters that name kinds; None if none of them does."""
    named = [each.kinds for each in filters if getattr(each, "kinds", None) is not None]
    return frozenset.intersection(*named) if named else None


def _kinds(taken: frozenset[str] | None, filters: Iterable[Any]) -> frozenset[str]:
    """Return the kinds of a handler of the kinds `taken` (None: any) behind these filters."""
    named = kinds_of(filters)
    if taken is None:
        return frozenset(KINDS) if named is None else named
    return taken if named is None else taken & named


def routes_of(entry: Entry, seen: set[int]) -> Iterator[Entry]:
    """Give the handlers of an entry: its own, if it is a flow those of each step and of each sub-flow."""
    if not isinstance(entry, Plan):
        yield entry
    elif id(entry) not in seen:
        seen.add(id(entry))
        for steps in (entry.entries, *entry.steps.values(), entry.steps_anywhere, entry.steps_else):
            yield from (step.route for step in steps)
        for sub in entry.sub_flows.values():
            yield from routes_of(sub.flow, seen)  # type: ignore[arg-type] # every Plan is a Flow
