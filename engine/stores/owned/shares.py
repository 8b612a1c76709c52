"""Shares: a fixed division of all lanes, so that several sessions can have some of them each.

A lane belongs to a share by its key, for ever: the number of shares is part of a store's format.
"""

from collections.abc import Collection
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Final
from zlib import crc32

SHARES: Final = 1024


HOLD: Final = "~hold:"
"""Prefix of the key in the table `parked` for what an operator holds. Lanes have no such keys, so older versions ignore it."""


def share_of(key: str) -> int:
    """Return the share of the lane `key`."""
    key = key.removeprefix(HOLD)
    return crc32(key.encode("utf-8", "surrogatepass")) % SHARES


@lru_cache(16)
def part_of(session: int, sessions: frozenset[int]) -> frozenset[int]:
    """Return the shares that a session should have, one of `sessions`: about as many for each, the same for all who ask.

    When a session joins or leaves, only its own shares move (rendezvous hashing: Thaler and Ravishankar, 1998).
    """
    return frozenset(
        share
        for share in range(SHARES)
        if session == max(sessions, key=partial(_weight, share), default=session)
    )


def _weight(share: int, session: int) -> bytes:
    return blake2b(b"%d %d" % (share, session), digest_size=8).digest()


class Shares:
    """The shares that a session owns; `owned` is None in a store that has one session: all of them."""

    def __init__(self, owned: Collection[int] | None) -> None:
        self.owned: set[int] | None = None
        """Changed by `take` and `give` only."""

        self.bits = b""
        """Bit n, from the lowest of the first byte, is 1 if share n is owned; for questions to a database."""

        if owned is not None:
            self.owned = set()
            self.take(owned)

    def take(self, shares: Collection[int]) -> None:
        """Own these, too."""
        self._own((self.owned or set()).union(shares))

    def give(self, shares: Collection[int]) -> None:
        """Own these no longer."""
        self._own((self.owned or set()).difference(shares))

    def _own(self, owned: set[int]) -> None:
        self.owned = owned
        self.bits = sum(1 << share for share in owned).to_bytes(SHARES // 8, "little")

    def __len__(self) -> int:
        """Return how many they are."""
        return SHARES if self.owned is None else len(self.owned)

    def owns(self, key: str) -> bool:
        """Return whether the lane `key` is the session's."""
        return self.owned is None or share_of(key) in self.owned
