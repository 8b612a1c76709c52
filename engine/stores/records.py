"""Everything that a store has about one person or chat, for a bot that is stopped: read, and erased.

What is counted but not personal stays: ids of updates without content, aliases of lanes, numbers.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

COLUMNS: Final = {
    "state": ("key", "scope", "state"),
    "timer": ("key", "scope", "name", "at", "body"),
    "inbox": ("key", "scope", "at", "body"),
    "outbox": ("key", "scope", "at", "body"),
    "mail": ("key", "scope", "kind", "at", "body"),
    "dead": ("key", "scope", "number", "queue", "id", "attempts", "reason", "at", "body"),
}
"""The tables with records, and the columns that are shown. All have a key and a scope; `mail` is only in databases."""


class Owner(NamedTuple):
    """Whose records: each has `text` in its key or its scope, and `owns` returns True for them."""

    text: str
    owns: Callable[[str, str], bool]


class Record(NamedTuple):
    """A row of a table, with its columns of COLUMNS by name."""

    table: str
    row: dict[str, Any]


class Records(Protocol):
    """The records of a store that no bot uses meanwhile. StoreError says in one line what is wrong."""

    async def of(self, owner: Owner) -> list[Record]:
        """Return the records of one owner, by table."""

    async def erase(self, owner: Owner) -> int:
        """Delete them, all or none, also from the places that they had before; return how many there were."""

    async def close(self) -> None:
        """Release files and connections."""


def owned(owner: Owner, aliases: list[tuple[str, str]]) -> Owner:
    """Return the owner with the lanes that are aliases (name, key) of his, in both directions: a group that was upgraded."""
    mine = {
        other
        for name, key in aliases
        for one, other in ((name, key), (key, name))
        if owner.text in one and owner.owns(one, "")
    }
    return Owner(owner.text, lambda key, scope: key in mine or owner.owns(key, scope)) if mine else owner
