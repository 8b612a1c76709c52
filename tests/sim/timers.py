"""Timers in the simulation: handlers set, replace and take them away, and the lane itself keeps the log of it.

The log of a lane is a state of its own, changed in the same commits; so what it says is what was committed, in the
order of the commits. Each timer that was set and not replaced must have come once, not before its time, behind the
updates that were in its lane by then, and (in a store that nobody opens anew) before those that came later.
"""

import asyncio
import json
import random
from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import Any, Final, NamedTuple

from engine import Effects, Handler, Park, StateChange, StoreUnavailable, Timer, Work
from engine.store import FullStore
from tests.sim.posts import EVENT_HEAD, number_of, posts_of_a_commit

LASTS_MAX_S: Final = 60.0
_ANSWER_S: Final = 5.0  # of the store; in trouble it may take longer than a handler may
_AFTER_S: Final = (0.0, 0.0, 1.0, 10.0, LASTS_MAX_S)


class _Wish(NamedTuple):
    """A timer that was set; `due` is the earliest Unix time at which it may come."""

    number: int
    due: float


class TimerPlay:
    """Wraps the bot's handler. `number` gives each timer and post one of its own; `is_over`: no more are set.

    `keys` are those of the lanes into which commits post.
    """

    def __init__(
        self,
        handle: Handler,
        store: FullStore,
        rng: random.Random,
        *,
        keys: Collection[str],
        wall: Callable[[], float],
        number: Callable[[], int],
        is_over: Callable[[], bool],
    ) -> None:
        self._handle = handle
        self._store = store
        self._rng = rng
        self._keys = keys
        self._wall = wall
        self._number = number
        self._is_over = is_over

    async def __call__(self, work: Work) -> Effects:
        """Handle it, set timers beside, and note both in the lane's log."""
        envelope = work.envelope
        handled_at = self._wall()
        is_event = envelope.is_timer and envelope.body.startswith(EVENT_HEAD)
        effects = Effects() if envelope.is_timer and not is_event else await self._handle(work)
        name = log_name(envelope.key)
        try:
            async with asyncio.timeout(_ANSWER_S):
                was = await self._store.state(*name)
        except (StoreUnavailable, TimeoutError):
            raise Park("the log cannot be read", delay_s=1.0) from None
        entries: list[Any] = json.loads(was or b"[]")
        if is_event:
            pass  # it is in the chat's data
        elif (posted := number_of(envelope.body)) is not None:
            entries.append(["post", posted])
        elif envelope.is_timer:
            entries.append(["came", int(envelope.body), envelope.at, handled_at])
        else:
            entries.append(["update", envelope.id])
        if not self._is_over():
            timers = tuple(self._timers(entries))
            posts = tuple(posts_of_a_commit(self._rng, self._keys, self._number, entries))
            effects = effects._replace(timers=timers, posts=posts)
        log = StateChange(*name, was, json.dumps(entries).encode())
        return effects._replace(states=(*effects.states, log))

    def _timers(self, entries: list[Any]) -> Any:
        for name in "ab":
            chance = self._rng.random()
            if chance < 0.15:
                entries.append(["gone", name])
                yield Timer(name, None, scope="")
            elif chance < 0.4:
                number, after_s = self._number(), self._rng.choice(_AFTER_S)
                entries.append(["set", name, number, self._wall() + after_s])
                yield Timer(name, after_s, b"%d" % number, "")


def log_name(key: str) -> tuple[str, str]:
    """Key and scope of the state in which a lane keeps its log."""
    return f"log of {key}", ""


def misplaced(entries: list[Any], *, there: Mapping[int, float], sent: Mapping[int, float]) -> list[str]:
    """Return which timers came out of order, by a clock that was not set.

    An update was `sent` before it was in its lane, at the Unix time `there`.
    """
    findings = []
    for place, (what, *details) in enumerate(entries):
        if what == "came":
            number, at, _ = details
            before, after = (
                [e[1] for e in part if e[0] == "update"] for part in (entries[:place], entries[place:])
            )
            findings += [
                f"timer {number} came before update {id_}" for id_ in after if there.get(id_, inf) < at
            ]
            findings += [f"timer {number} came after update {id_}" for id_ in before if sent.get(id_, 0) > at]
    return findings


def judge(entries: list[Any], *, is_clock_steady: bool) -> list[str]:
    """Return what of a lane's log must not be."""
    findings = []
    waiting: dict[str, _Wish] = {}
    for what, *details in entries:
        if what in {"update", "post", "posted"}:
            continue
        if what == "came":
            number, at, handled_at = details
            name = next((name for name, wish in waiting.items() if wish.number == number), None)
            if name is None:
                findings.append(f"timer {number} came, and was not set: handled, replaced or taken away")
                continue
            wish = waiting.pop(name)
            if is_clock_steady and not wish.due <= at <= handled_at:
                findings.append(f"timer {number} came at {handled_at} for {at}, before {wish.due}")
            late = [
                other for other in waiting.values() if other.number < number and other.due < wish.due - 30
            ]
            if is_clock_steady and late:
                findings.append(f"timer {number} came before {late}")
        else:
            waiting.pop(details[0], None)
            if what == "set":
                waiting[details[0]] = _Wish(*details[1:])
    return findings + [f"timer {wish.number} never came" for wish in waiting.values()]
