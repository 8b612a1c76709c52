"""The set of ids that were appended already: exact, bounded, kept for at least 24 hours.

A bitmap in segments, 0.13 to 0.5 byte per id. No watermark and no maximum: Telegram's ids restart at a random,
possibly lower number after an idle week (Telegram Bot API, Update), and a webhook delivers them out of order.
"""

from collections.abc import Collection, Iterable, Mapping
from math import inf
from typing import Final

_SEGMENT_BITS: Final = 12
SEGMENT_BYTES: Final = 1 << (_SEGMENT_BITS - 3)
_EMPTY: Final = bytes(SEGMENT_BYTES)
_FORGET_EVERY_S: Final = 3600.0
KEPT_S: Final = 48 * 3600.0
"""A segment unused for this long is dropped: twice the 24 h for which Telegram keeps updates and may deliver them again."""

FOUND_AGE_MAX_S: Final = KEPT_S - 24 * 3600.0
"""Maximum age of a segment read from a file, so that it is kept for 24 h more: the wall clock may be or have been wrong."""


class SeenIds:
    """A set of ids that drops old ones. A change is planned first, and applied when the ids are durable.

    `now` is the event loop's time, which does not jump, never the wall clock's.
    """

    def __init__(self) -> None:
        self._segments: dict[int, bytearray] = {}
        self._touched: dict[int, float] = {}
        self._forget_at = 0.0

    def plan(
        self, ids: Iterable[int], forgotten: Collection[int] = ()
    ) -> tuple[list[int], dict[int, bytearray]]:
        """Return the indexes of the new ids, and the changed segments by number; changes nothing.

        `forgotten` are numbers of segments that count as empty: the caller drops them in the same step.
        """
        new: list[int] = []
        planned: dict[int, bytearray] = {}
        for index, id_ in enumerate(ids):
            number = id_ >> _SEGMENT_BITS
            bits = planned.get(number)
            if bits is None:
                known = _EMPTY if number in forgotten else self._segments.get(number, _EMPTY)
                bits = planned[number] = bytearray(known)
            byte, bit = (id_ >> 3) % SEGMENT_BYTES, 1 << (id_ & 7)
            if not bits[byte] & bit:
                bits[byte] |= bit
                new.append(index)
        return new, planned

    def apply(self, planned: Mapping[int, bytearray], now: float) -> None:
        """Store the segments that `plan` returned."""
        self._segments.update(planned)
        self._touched.update(dict.fromkeys(planned, now))

    def segments(self) -> Mapping[int, bytearray]:
        """Return the bitmaps by segment number, read-only."""
        return self._segments

    def touched(self, number: int) -> float:
        """Return when a segment was last used."""
        return self._touched[number]

    def found(self, number: int, bits: bytes, age_s: float, now: float) -> None:
        """Store a segment read from a file, last used `age_s` ago by the file's record."""
        self.apply({number: bytearray(bits)}, now - min(max(0.0, age_s), FOUND_AGE_MAX_S))

    def contains(self, other: "SeenIds", since: float = -inf) -> bool:
        """Return whether this set contains all ids of `other`, of those segments that it has used `since`."""
        for number, bits in other.segments().items():
            if other.touched(number) < since:
                continue
            mine = self._segments.get(number, b"")
            if mine != bits and int.from_bytes(bits, "little") & ~int.from_bytes(mine, "little"):
                return False
        return True

    def old(self, now: float, in_use: Iterable[int]) -> set[int]:
        """Return the numbers of segments unused for KEPT_S, at most once an hour (else none); changes nothing.

        Segments with pending ids are kept: `in_use` are those ids, read only if a segment is old.
        """
        if now < self._forget_at:
            return set()
        old = {number for number, at in self._touched.items() if at < now - KEPT_S}
        if old:
            old.difference_update({id_ >> _SEGMENT_BITS for id_ in in_use})
        return old

    def drop(self, old: Iterable[int], now: float) -> None:
        """Drop the segments that `old` returned."""
        for number in old:
            self._segments.pop(number, None)
            self._touched.pop(number, None)
        self._forget_at = max(self._forget_at, now + _FORGET_EVERY_S)
