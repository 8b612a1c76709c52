"""Faults of the server: each lasts a while, and returns how many requests came and how many are reasonable.

The bounds are those of exponential backoff: a poller that doubles from 0.5 s (telegram/service/poller.py), and a sender of
which only one call at a time tries, at intervals that double from 0.25 s (telegram/service/sender.py), after at most one call
of each sender that was in flight when the fault began.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, NamedTuple

import aiohttp

from telegram.fake import Call, Fault, FaultKind
from telegram.load.checkers.checker import Interruption
from tests.torture.stage import PATIENCE_S, SENDERS, Stage

_POLL_FIRST_S: Final = 0.5
_PROBE_FIRST_S: Final = 0.25
_LONGEST_S: Final = 15.0  # backoffs of polls end at 30 s, less jitter
_PROBE_LONGEST_S: Final = 5.0  # those of sends at 10 s
_SPARE: Final = 2  # one in flight at the beginning, and the one that succeeds at the end


class Bound(NamedTuple):
    """Number of requests that came, and the maximum that is reasonable."""

    what: str
    came: int
    most: int

    def __str__(self) -> str:
        return f"{self.came} {self.what} (bound {self.most})"


ServerFault = Callable[[Stage, float], Awaitable[list[Bound]]]
"""Lasts for a number of seconds; at its end the bot may still be waiting."""


def tries(within_s: float, first_s: float, longest_s: float = _LONGEST_S) -> int:
    """Maximum number of tries in a time, if the shortest pause is `first_s` and doubles with each."""
    count, at, pause_s = _SPARE, 0.0, first_s
    while at <= within_s:
        count, at, pause_s = count + 1, at + pause_s, min(longest_s, 2 * pause_s)
    return count


def polls_most(within_s: float) -> int:
    return tries(within_s, _POLL_FIRST_S)


def sends_most(within_s: float) -> int:
    return SENDERS + tries(within_s, _PROBE_FIRST_S, _PROBE_LONGEST_S)


async def down(stage: Stage, length_s: float) -> list[Bound]:
    """The port is closed. Only the bot sees a refused connection, so the journal is counted."""
    began = time.time()
    await stage.fake.down()
    began_ns = time.monotonic_ns()
    await asyncio.sleep(length_s)
    ended_ns = time.monotonic_ns()
    await stage.fake.up()
    stage.interruptions.append(Interruption(began, time.time()))
    connects = [note for note in stage.bot.journal() if note.event == "connect"]
    came = sum(began_ns <= note.at_ns <= ended_ns for note in connects)
    lasted_s = (ended_ns - began_ns) / 1e9  # a busy machine wakes this up later than it asked for
    return [Bound("connections tried", came, polls_most(lasted_s) + sends_most(lasted_s))]


async def bad_gateway(stage: Stage, length_s: float) -> list[Bound]:
    """Everything is answered with 502 and a page of HTML."""
    came = await _faulty(stage, length_s, Fault("html"))
    return [
        Bound("polls", came.polls, polls_most(came.lasted_s)),
        Bound("sends", came.sends, sends_most(came.lasted_s)),
    ]


async def bad_gateway_for_sends(stage: Stage, length_s: float) -> list[Bound]:
    """Updates still come, and every reply is answered with 502."""
    came = await _faulty(stage, length_s, Fault("html", method="sendMessage"))
    return [Bound("sends", came.sends, sends_most(came.lasted_s))]


async def rival(stage: Stage, length_s: float) -> list[Bound]:
    """Another program polls with the same token: each one's waiting poll ends with 409 when the other one's comes."""
    before = await stage.fake.stats()
    theirs = 0
    url = f"{stage.fake.url}/bot{stage.fake.token}/getUpdates"
    began = time.monotonic()
    async with aiohttp.ClientSession() as http:
        while (lasted_s := time.monotonic() - began) < length_s or not _has_logged_conflict(stage):
            if lasted_s > PATIENCE_S:
                raise AssertionError("the bot did not log the conflict")
            async with http.post(url, json={"timeout": 1}) as answer:
                await answer.read()
            theirs += 1
            await asyncio.sleep(_POLL_FIRST_S / 2)
    after = await stage.fake.stats()
    lasted_s = time.monotonic() - began
    ours = after.requests["getUpdates"] - before.requests.get("getUpdates", 0) - theirs
    # A poll that brings updates may be followed by the next at once; one that fails, by 0.5 s of rest.
    brought = after.pending + after.confirmed - before.confirmed
    most = brought + math.ceil(lasted_s / _POLL_FIRST_S) + _SPARE
    return [Bound("polls", ours, most)]


async def flood_control(stage: Stage, length_s: float) -> list[Bound]:
    """Some calls, whatever their chat, are answered with 429; their lanes, and only they, wait."""
    retry_after = max(1, round(length_s / 4))
    fault = Fault("status", code=429, retry_after=retry_after, method="sendMessage", times=SENDERS)
    await _faulty(stage, length_s, fault)
    await stage.look()
    return [Bound("calls before their retry_after", too_early(stage.calls, retry_after), 0)]


async def flood_control_of_one_chat(stage: Stage, length_s: float) -> list[Bound]:
    """One chat is answered with 429 for as long as it takes all the others to get their replies."""
    quiet, *others = stage.chats
    await stage.look()
    began, sent_before = time.monotonic(), len(stage.calls)
    await stage.fake.add_fault(Fault("status", code=429, retry_after=1, method="sendMessage", chat_id=quiet))
    await stage.say(1, [quiet])
    if not await stage.all_answered(await stage.say(5 * len(others), others)):
        return [Bound("other chats that had to wait", 1, 0)]
    await asyncio.sleep(length_s / 4)
    await stage.look()
    lasted_s = time.monotonic() - began  # of all that was looked at
    came = sum(call.chat_id == quiet and call.status == 429 for call in stage.calls[sent_before:])
    await stage.fake.clear_faults()
    return [Bound("sends to the chat", came, math.ceil(lasted_s) + _SPARE)]


async def flood_control_of_polls(stage: Stage, length_s: float) -> list[Bound]:
    """getUpdates is answered with 429."""
    retry_after = max(1, round(length_s / 4))
    fault = Fault("status", code=429, retry_after=retry_after, method="getUpdates")
    came = await _faulty(stage, length_s, fault)
    return [Bound("polls", came.polls, math.ceil(came.lasted_s / retry_after) + _SPARE)]


async def slow(stage: Stage, length_s: float) -> list[Bound]:
    """Some answers take long; their chats wait, the others go on."""
    await _faulty(stage, length_s, Fault("slow", seconds=length_s / 4, probability=0.2))
    return []


async def cut_sends(stage: Stage, length_s: float) -> list[Bound]:
    """Connections end before, within the head and within the body of an answer; the last two were executed."""
    kinds: tuple[FaultKind, ...] = ("cut_before", "cut_after", "truncate")
    faults = [Fault(kind, method="sendMessage", probability=0.2, times=30) for kind in kinds]
    await _faulty(stage, length_s, *faults)
    return []


async def broken_polls(stage: Stage, length_s: float) -> list[Bound]:
    """Answers to getUpdates that are cut, truncated or no JSON, one kind after the other."""
    kinds: tuple[FaultKind, ...] = ("cut_before", "cut_after", "truncate", "garbage")
    came = [await _faulty(stage, length_s / len(kinds), Fault(kind, method="getUpdates")) for kind in kinds]
    polls = sum(each.polls for each in came)
    return [Bound("polls", polls, polls_most(sum(each.lasted_s for each in came)))]


class _Came(NamedTuple):
    """Requests that came during a fault."""

    polls: int
    sends: int
    lasted_s: float


async def _faulty(stage: Stage, length_s: float, *faults: Fault) -> _Came:
    """Inject faults for a while, and until each has hit a request."""
    began = time.monotonic()
    for fault in faults:
        await stage.fake.add_fault(fault)
    polls, sends = await _requests(stage, "getUpdates"), await _requests(stage, "sendMessage")
    await asyncio.sleep(length_s)
    while not all(fault.hits for fault in await stage.fake.faults()):
        if time.monotonic() - began > PATIENCE_S:
            raise AssertionError(f"a fault that hit nothing: {faults}")
        await asyncio.sleep(_POLL_FIRST_S / 5)
    polls, sends = await _requests(stage, "getUpdates") - polls, await _requests(stage, "sendMessage") - sends
    await stage.fake.clear_faults()
    return _Came(polls, sends, time.monotonic() - began)


def _has_logged_conflict(stage: Stage) -> bool:
    return any(line.get("kind") == "Conflict" and line["level"] == "error" for line in stage.bot.log())


async def _requests(stage: Stage, method: str) -> int:
    return (await stage.fake.stats()).requests.get(method, 0)


def too_early(calls: Iterable[Call], retry_after: float) -> int:
    """How many calls came to a chat before the end of the time that its last 429 had named."""
    free_at: dict[Any, float] = {}
    early = 0
    for call in calls:
        early += call.at < free_at.get(call.chat_id, 0.0)
        if call.status == 429:
            free_at[call.chat_id] = call.at + retry_after
    return early


ALL: Final[dict[str, ServerFault]] = {
    "502 for everything": bad_gateway,
    "502 for sends": bad_gateway_for_sends,
    "rival poller": rival,
    "429 for some sends": flood_control,
    "429 for one chat": flood_control_of_one_chat,
    "429 for polls": flood_control_of_polls,
    "slow answers": slow,
    "cut sends": cut_sends,
    "broken polls": broken_polls,
}
"""All but `down`, which is longer."""
