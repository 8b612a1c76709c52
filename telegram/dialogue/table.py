"""A router made quick: who may want an update of this kind, with this command or this button."""

from itertools import groupby
from typing import Final

from telegram.dialogue.context import OWN_SCOPE, Context
from telegram.dialogue.filters import MEDIA, Filter, first_word
from telegram.dialogue.router import Router
from telegram.dialogue.routes import Entry, Taken

_Group = tuple[tuple[Filter, ...], list[Entry]]
"""Filters of the routers around some entries, and these entries."""

_REST: Final = ""
_TEXT: Final = " text"  # no command and no first word of a button begins with a space and is followed by this


class Table:
    """All entries of a router by kind of update; of those that name what they want only the ones that may match."""

    def __init__(self, router: Router) -> None:
        self._rows = list(router.entries())
        self.scopes = frozenset(entry.scope for entry, _ in self._rows) - {OWN_SCOPE}
        """Whose conversations are looked at beside each update's own."""
        named = {kind for entry, _ in self._rows for kind in entry.kinds or ()}
        self._by_kind = {kind: self._words(kind) for kind in (*named, None)}

    def find(self, ctx: Context) -> Taken | None:
        """Return who takes the update: the first that wants it, in the order of writing."""
        words = self._by_kind.get(ctx.kind) or self._by_kind[None]
        for filters, entries in words.get(_word(ctx)) or words[_REST]:
            for passes in filters:
                if not passes(ctx):
                    break
            else:
                for entry in entries:
                    taken = entry.take(ctx)
                    if taken is not None:
                        return taken
        return None

    def _words(self, kind: str | None) -> dict[str, list[_Group]]:
        """For each command or button that somebody names: those who name it, and those who name none."""
        rows = [row for row in self._rows if row[0].kinds is None or kind in row[0].kinds]
        named = {word for entry, _ in rows if entry.hint for word in entry.hint}
        found = {}
        for word in (*named - MEDIA, _TEXT, _REST):
            wanted = MEDIA if word == _REST else frozenset((word,))
            these = [row for row in rows if row[0].hint is None or row[0].hint & wanted]
            found[word] = [
                (filters, [entry for entry, _ in group])
                for filters, group in groupby(these, lambda row: row[1])
            ]
        return found


def _word(ctx: Context) -> str:
    """What tells this update from others of its kind: its command, its button's first word, or that it is a text."""
    if ctx.text:
        return ctx.command or _TEXT
    return _REST if ctx.button is None else first_word(ctx.button)
