"""Events and posts in the simulation: from outside (`Bot.post`, again with the same id), and from commits into other lanes.

What has become of them stands in the data of the chat and in the logs of the lanes, which are changed in the same
commits. Each event has an effect at most once, and exactly once if it was durable and not given up; each post of a
commit comes once; both in the order in which they were made, as long as the clock is not set.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import pairwise
from math import inf
from typing import Any, Final, NamedTuple

from engine import Post

EVENT: Final = "paid"
EVENT_HEAD: Final = b'{"event":'
"""How the body of an event begins (telegram/dialogue/routes/events.py)."""

_POST: Final = b"post:"
_ANSWER_WITHIN_S: Final = 10.0
_AGAIN_AFTER_S: Final = 5.0
_PAYERS: Final = 2
_FIRST: Final = 1_000_000
"""Numbers of events are above it, those of posts below."""


class Event(NamedTuple):
    """An event that was durable in the end. Those of one payer were made one after the other."""

    payer: int
    chat: int
    number: int


class Payers:
    """They post events until they are durable, and some of them once more.

    `post` asks some process, and returns what tells whether it has the event for certain; None if it does not run.
    """

    def __init__(
        self,
        rng: random.Random,
        chats: Collection[int],
        lasts_s: float,
        post: Callable[[int, int], "tuple[asyncio.Task[Any], asyncio.Future[bool]] | None"],
    ) -> None:
        self.events: list[Event] = []
        self._rng = rng
        self._chats = list(chats)
        self._lasts_s = lasts_s
        self._post = post
        self._number = _FIRST

    async def pay(self) -> None:
        """Post all events; return when each is durable."""
        async with asyncio.TaskGroup() as group:
            for payer in range(_PAYERS):
                moments = sorted(self._rng.random() * self._lasts_s for _ in range(self._rng.randint(0, 6)))
                group.create_task(self._pay(payer, moments))

    async def _pay(self, payer: int, moments: list[float]) -> None:
        loop = asyncio.get_running_loop()
        for moment in moments:
            await asyncio.sleep(moment - loop.time())
            self._number += 1
            event = Event(payer, self._rng.choice(self._chats), self._number)
            while not await self._is_durable(event):
                await asyncio.sleep(self._rng.random() * _AGAIN_AFTER_S)
            self.events.append(event)
            if self._rng.random() < 0.4:
                await self._is_durable(event)

    async def _is_durable(self, event: Event) -> bool:
        if (asked := self._post(event.chat, event.number)) is None:
            return False
        task, answer = asked
        await asyncio.wait({answer}, timeout=_ANSWER_WITHIN_S)
        if not answer.done():
            task.cancel()  # it may be stored, or not, or later
            return False
        return answer.result()


def posts_of_a_commit(
    rng: random.Random, keys: Collection[str], number: Callable[[], int], entries: list[Any]
) -> Iterator[Post]:
    """Yield some posts, and note them in the log of the lane whose commit makes them."""
    while rng.random() < 0.25:
        key, made = rng.choice(list(keys)), number()
        entries.append(["posted", key, made])
        yield Post(key, "", _POST + b"%d" % made)


def number_of(body: bytes) -> int | None:
    """Return the number of an event, or of a post of a commit; None for another timer."""
    if body.startswith(EVENT_HEAD):
        number: int = json.loads(body)["payload"]["number"]
        return number
    return int(body[len(_POST) :]) if body.startswith(_POST) else None


def judge_posts(
    logs: Mapping[str, list[Any]], given_up: Collection[int], *, is_clock_steady: bool
) -> list[str]:
    """Return what must not be in the logs of all lanes, by key; `given_up` are the numbers of dead letters."""
    findings = []
    came = [(key, entry[1]) for key, log in logs.items() for entry in log if entry[0] == "post"]
    times = Counter(came)
    made = {(entry[1], entry[2]): key for key, log in logs.items() for entry in log if entry[0] == "posted"}
    findings += [
        f"post {number} came to {key} {count} times" for (key, number), count in times.items() if count > 1
    ]
    findings += [
        f"post {number} came to {key}, and was not made" for key, number in times if (key, number) not in made
    ]
    findings += [
        f"post {number} never came to {key}"
        for key, number in made
        if (key, number) not in times and number not in given_up
    ]
    if is_clock_steady:
        ordered = {
            (source, target): [n for (key, n), made_in in made.items() if (key, made_in) == (target, source)]
            for source in logs
            for target in logs
        }
        for (_, target), numbers in ordered.items():
            places = [came.index((target, number)) for number in numbers if (target, number) in times]
            if places != sorted(places):
                findings.append(f"posts came to {target} out of order")
    return findings


def judge_events(
    events: Collection[Event],
    handled: Mapping[int, list[int]],
    given_up: Collection[int],
    *,
    is_clock_steady: bool,
    are_ids_kept: bool,
) -> list[str]:
    """Return what must not be in what was `handled`, by chat; `are_ids_kept`: the clock has not leaped over their time."""
    findings = []
    for chat, numbers in handled.items():
        if are_ids_kept:
            findings += [
                f"event {number} was handled {count} times in chat {chat}"
                for number, count in Counter(numbers).items()
                if count > 1
            ]
        mine = [event for event in events if event.chat == chat]
        findings += [
            f"event {event.number} was never handled in chat {chat}"
            for event in mine
            if event.number not in numbers and event.number not in given_up
        ]
        if is_clock_steady:
            place = {number: place for place, number in reversed([*enumerate(numbers)])}
            for payer in range(_PAYERS):
                made = [e.number for e in mine if e.payer == payer and e.number not in given_up]
                findings += [
                    f"event {first} came after event {second} in chat {chat}"
                    for first, second in pairwise(made)
                    if place.get(first, -1) > place.get(second, inf)
                ]
    return findings
