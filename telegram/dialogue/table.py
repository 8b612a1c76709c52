"""A router made quick: who may want an update of this kind, with this command or this button."""

from typing import Final

from telegram.dialogue.context import OWN_SCOPE, Context
from telegram.dialogue.filters import Filter, first_word
from telegram.dialogue.router import Entry, Router, Taken

_Row = tuple[Entry, tuple[Filter, ...]]

_REST: Final = ""


class Table:
    """All entries of a router by kind of update; of those that name commands or buttons only the ones that may match."""

    def __init__(self, router: Router) -> None:
        self._rows = list(router.entries())
        self.scopes = frozenset(entry.scope for entry, _ in self._rows) - {OWN_SCOPE}
        """Whose conversations are looked at beside each update's own."""
        named = {kind for entry, _ in self._rows for kind in entry.kinds or ()}
        self._by_kind = {kind: self._words(kind) for kind in (*named, None)}

    def find(self, ctx: Context) -> Taken | None:
        """Return who takes the update: the first that wants it, in the order of writing."""
        words = self._by_kind.get(ctx.kind) or self._by_kind[None]
        word = ctx.command
        if word is None and ctx.button is not None:
            word = first_word(ctx.button)
        rows = words.get(word or _REST)
        for entry, filters in words[_REST] if rows is None else rows:
            for passes in filters:
                if not passes(ctx):
                    break
            else:
                taken = entry.take(ctx)
                if taken is not None:
                    return taken
        return None

    def _words(self, kind: str | None) -> dict[str, list[_Row]]:
        """For each command or button that somebody names: those who name it, and those who name none."""
        rows = [row for row in self._rows if row[0].kinds is None or kind in row[0].kinds]
        named = {word for entry, _ in rows if entry.hint for word in entry.hint[1]}
        return {
            word: [row for row in rows if row[0].hint is None or word in row[0].hint[1]]
            for word in (*named, _REST)
        }
