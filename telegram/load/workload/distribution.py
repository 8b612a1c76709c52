"""Distribution of the updates over the chats (--skew)."""

import random
from collections import Counter
from collections.abc import Set as AbstractSet
from itertools import accumulate
from typing import Final, NamedTuple

FIRST_CHAT: Final = 1001
FLOOD_SHARE: Final = 0.15
"""Share of all updates: by default 75 a second, more than the 50 a second that one lane with handlers of 20 ms handles."""

_BUSIEST: Final = 0.01


class Group(NamedTuple):
    """Chats that are evaluated together."""

    name: str
    chats: AbstractSet[int]


class Distribution:
    """Chooses the chats of the next updates."""

    def __init__(self, chats: int, skew: str, rng: random.Random) -> None:
        self._skew = skew
        self._rng = rng
        self._chats = range(FIRST_CHAT, FIRST_CHAT + chats)
        weights = [1.0] * chats
        if skew == "zipf":
            weights = [1 / rank for rank in range(1, chats + 1)]
        elif skew == "flood":
            weights[0] = FLOOD_SHARE / (1 - FLOOD_SHARE) * (chats - 1)
        self._weights = list(accumulate(weights))

    def choose(self, count: int) -> list[int]:
        """Return the chats of the next `count` updates."""
        return self._rng.choices(self._chats, cum_weights=self._weights, k=count)

    def groups(self, sent: Counter[int]) -> list[Group]:
        """Return all chats in groups by activity; `sent`: number of updates by chat."""
        by_activity = sorted(self._chats, key=lambda chat: -sent[chat])
        count = len(by_activity)
        match self._skew:
            case "zipf":
                busiest = max(1, round(count * _BUSIEST))
                half = max(busiest, count // 2)
                parts = {
                    _label("the busiest", busiest): by_activity[:busiest],
                    _label("the middle", half - busiest): by_activity[busiest:half],
                    _label("the quiet half,", count - half): by_activity[half:],
                }
            case "flood":
                parts = {
                    "the flooding chat": [FIRST_CHAT],
                    _label("the other", count - 1): [chat for chat in by_activity if chat != FIRST_CHAT],
                }
            case _:
                parts = {_label("all", count): by_activity}
        return [Group(name, frozenset(chats)) for name, chats in parts.items() if chats]


def _label(which: str, count: int) -> str:
    return f"{which} {count} chats" if count != 1 else f"{which} chat"
