"""An index of a router: the entries that may match an update of this kind, with this command or button."""

from collections.abc import Iterable
from itertools import groupby

from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.queries import contexts_for
from telegram.dialogue.filters.builtin import first_word
from telegram.dialogue.filters.conditions import Filter, kinds_of
from telegram.dialogue.filters.limits import Limit, limits_in
from telegram.dialogue.filters.narrowing import check_contexts
from telegram.dialogue.flows.awaiting import awaited_by
from telegram.dialogue.flows.plan import Plan
from telegram.dialogue.router.kinds import events_of, routes_of, timers_of
from telegram.dialogue.router.router import Router
from telegram.dialogue.routes.hooks import check_row
from telegram.dialogue.routes.policies import policy_of
from telegram.dialogue.routes.route import Entry, Match, Route, both_kinds
from telegram.dialogue.routes.schedules import jobs_of
from telegram.dialogue.state.conversation import OWN_SCOPE
from telegram.dialogue.state.scopes import USER
from telegram.dialogue.state.shared import declared

_Row = tuple[Entry, tuple[Filter, ...]]
_Group = tuple[tuple[Filter, ...], list[Entry], tuple[Limit, ...]]
"""The filters of the routers around some entries, these entries, and the limits of those routers."""

_Words = dict[str | None, list[_Group]]
"""For each command or button that an entry names, the entries that may match; None: for all others."""


class Table:
    """All entries of a router, indexed by kind of update, and by command or button.

    An entry is skipped only if its hint excludes the update; hints are necessary conditions (filters.hint_of).
    """

    def __init__(self, router: Router) -> None:
        self._rows = list(router.entries())
        for entry, above in self._rows:
            check_row([each for each in routes_of(entry, set()) if isinstance(each, Route)], above)
            if above:
                check_contexts(above, contexts_for(both_kinds(entry.kinds, kinds_of(above))))
        self.scopes = frozenset(entry.scope for entry, _ in self._rows) - {OWN_SCOPE}
        """Scopes of flows other than each update's own."""
        self.has_own_flows = any(
            isinstance(entry, Plan) and entry.scope == OWN_SCOPE for entry, _ in self._rows
        )
        """Whether there are flows of the scope OWN: one per user and chat."""
        plans = [entry for entry, _ in self._rows if isinstance(entry, Plan)]
        self.flows = {plan.name: plan for plan in plans}
        """The flows by name."""
        self.awaited = frozenset[str]().union(*(awaited_by(plan) for plan in plans if plan.scope != USER))
        """Kinds without a chat for which flows of a chat may wait (telegram/dialogue/flows/awaiting.py)."""
        self.shared = tuple(declared(router.shared()).values())
        """Data of chats, users and the bot that the router declares."""
        self.looks_elsewhere = bool(self.scopes or self.awaited or self.shared)
        """Whether other conversations than an update's own may be used."""
        self.timers = timers_of(self._rows)
        """Names of the timers that have handlers; None: a handler may handle any."""
        self.jobs = jobs_of(self._rows)
        """Jobs by a schedule, by name."""
        self.events = events_of(self._rows)
        """Names of the events that have handlers; None: a handler may handle any."""
        self.timers_of_flows = timers_of(row for row in self._rows if isinstance(row[0], Plan))
        """Those of them that flows handle in some of their states."""
        options = [
            route.options
            for entry, _ in self._rows
            for route in routes_of(entry, set())
            if isinstance(route, Route)
        ]
        self.has_albums = any(each.batch == "album" for each in options)
        """Whether there is an album handler."""
        self.may_take = any(policy_of(each.on_new) in {"restart", "merge", "drop"} for each in options)
        """Whether a handler may take updates that others are in front of (telegram/dialogue/routes/taken.py)."""
        named = {kind for entry, _ in self._rows for kind in entry.kinds or ()}
        self._by_kind = {kind: self._of_kind(kind) for kind in (*named, None)}

    def find(self, ctx: Context) -> Match | None:
        """Return the handler of the update: the first match, in the order of registration; None if there is none."""
        of_kind = self._by_kind.get(ctx.kind) or self._by_kind[None]
        words = of_kind[1 if ctx.text else 0]
        word = ctx.command
        if word is None and (button := ctx.button) is not None:
            word = first_word(button)
        for filters, entries, around in words.get(word) or words[None]:
            for passes in filters:
                if not passes(ctx):
                    break
            else:
                for entry in entries:
                    match = entry.take(ctx)
                    if match is not None:
                        return match._replace(around=around) if around else match
        return None

    def _of_kind(self, kind: str | None) -> tuple[_Words, _Words]:
        """Return the indexes of entries that may match updates without a text, and with one."""
        rows = [row for row in self._rows if row[0].kinds is None or kind in row[0].kinds]
        return _words(rows), _words([row for row in rows if not row[0].hint.without_text])


def _words(rows: list[_Row]) -> _Words:
    named = {word for entry, _ in rows for word in entry.hint.words or ()}
    return {
        word: _grouped(row for row in rows if row[0].hint.words is None or word in row[0].hint.words)
        for word in (*named, None)
    }


def _grouped(rows: Iterable[_Row]) -> list[_Group]:
    """Group consecutive rows with the same router filters, which are then evaluated once."""
    groups = groupby(rows, lambda row: [id(passes) for passes in row[1]])
    return [_group(list(each)) for _, each in groups]


def _group(rows: list[_Row]) -> _Group:
    filters = tuple(each for each in rows[0][1] if not isinstance(each, Limit))
    return filters, [entry for entry, _ in rows], limits_in(rows[0][1])
