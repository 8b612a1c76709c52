"""Names that lead to another lane: what comes for them from now on goes there.

A group that becomes a supergroup goes on under another id. Its lane, state and pending work stay where they are; only
the new name is led to them. So nothing is moved, and nothing can be lost or swapped on the way.
"""

from collections.abc import Sequence

from engine.model import Envelope


class Aliases:
    """Which lane a name leads to, in one step: an alias of an alias leads to its lane at once."""

    def __init__(self) -> None:
        self._lanes: dict[str, str] = {}
        self._led_to: set[str] = set()

    def plan(self, name: str, key: str) -> str | None:
        """Return the lane that `name` is to lead to; None if it leads to one already, or others lead to it."""
        is_settled = name in self._lanes or name in self._led_to
        return None if is_settled else self.lane(key)

    def add(self, name: str, lane: str) -> None:
        """Take over what `plan` returned, or a file kept."""
        self._lanes[name] = lane
        self._led_to.add(lane)

    def lane(self, key: str) -> str:
        """Return the key of the lane that `key` leads to: itself, for nearly all."""
        return self._lanes.get(key, key)

    def addressed(self, batch: Sequence[Envelope]) -> Sequence[Envelope]:
        """Return the batch, each envelope with the key of its lane."""
        if not self._lanes:
            return batch
        return [
            envelope._replace(key=self.lane(envelope.key)) if envelope.key in self._lanes else envelope
            for envelope in batch
        ]
