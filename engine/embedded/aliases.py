"""Lane aliases: what is appended for an alias goes to the lane that it stands for.

A group that becomes a supergroup continues under another chat id (Telegram Bot API, `migrate_to_chat_id`). Its lane, state
and pending work stay where they are, and the new key becomes an alias of the old one: nothing moves, so nothing can be
lost or reordered.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from engine.model import Envelope, Post

E = TypeVar("E", Envelope, Post)


class Aliases:
    """A map of aliases to lanes, without chains: an alias of an alias is stored with its lane."""

    def __init__(self) -> None:
        self._lanes: dict[str, str] = {}
        self._led_to: set[str] = set()

    def plan(self, aliases: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return the lanes of new aliases, each (name, key) as if those before it were added; changes nothing.

        A name that is an alias already, or to which other aliases refer, is left out.
        """
        planned: dict[str, str] = {}
        for name, key in aliases:
            is_settled = name in self._lanes or name in self._led_to
            if not is_settled and name not in planned and name not in planned.values():
                planned[name] = planned.get(key) or self.lane(key)
        return planned

    def add(self, planned: Mapping[str, str]) -> None:
        """Add aliases with their lanes, which `plan` returned or which were read from a file."""
        self._lanes.update(planned)
        self._led_to.update(planned.values())

    def lane(self, key: str) -> str:
        """Return the key of the lane that `key` is an alias of, or `key` itself if it is none."""
        return self._lanes.get(key, key)

    def addressed(self, batch: Sequence[E], planned: Mapping[str, str]) -> Sequence[E]:
        """Return the batch, each envelope or post with the key of its lane; `planned` aliases count, too."""
        lanes = {**self._lanes, **planned} if planned else self._lanes
        if not lanes:
            return batch
        return [
            envelope._replace(key=lanes[envelope.key]) if envelope.key in lanes else envelope
            for envelope in batch
        ]
