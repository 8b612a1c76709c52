"""Lane aliases: what is appended for an alias goes to the lane that it stands for.

A group that becomes a supergroup continues under another chat id (Telegram Bot API, `migrate_to_chat_id`). Its lane, state
and pending work stay where they are, and the new key becomes an alias of the old one: nothing moves, so nothing can be
lost or reordered.
"""

from collections.abc import Sequence

from engine.model import Envelope


class Aliases:
    """A map of aliases to lanes, without chains: an alias of an alias is stored with its lane."""

    def __init__(self) -> None:
        self._lanes: dict[str, str] = {}
        self._led_to: set[str] = set()

    def plan(self, name: str, key: str) -> str | None:
        """Return the lane for a new alias `name`; None if it is an alias already, or other aliases refer to it."""
        is_settled = name in self._lanes or name in self._led_to
        return None if is_settled else self.lane(key)

    def add(self, name: str, lane: str) -> None:
        """Add an alias, with the lane that `plan` returned or that was read from a file."""
        self._lanes[name] = lane
        self._led_to.add(lane)

    def lane(self, key: str) -> str:
        """Return the key of the lane that `key` is an alias of, or `key` itself if it is none."""
        return self._lanes.get(key, key)

    def addressed(self, batch: Sequence[Envelope]) -> Sequence[Envelope]:
        """Return the batch, each envelope with the key of its lane."""
        if not self._lanes:
            return batch
        return [
            envelope._replace(key=self.lane(envelope.key)) if envelope.key in self._lanes else envelope
            for envelope in batch
        ]
