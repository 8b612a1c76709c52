"""`kill -9` of a bot that thinks long and streams, while its users write again: each policy (`on_new`) keeps its promises.

Each policy has a private chat and a group of two users. The users write numbers; each answer has the user, the count of
its commits, and the numbers that were handed over. A growing message has no numbers yet, and does not count.
"""

import asyncio
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from telegram.fake import FakeServer
from telegram.load.bot.service import Service
from telegram.load.checkers.checker import Verdict
from tests.torture.policies_bot import POLICIES, THINKS_S, policy_of
from tests.torture.report import Plan, Result, Tell

PRIVATE: Final = range(1000, 1000 + len(POLICIES))
GROUPS: Final = range(-2000 - len(POLICIES), -2000)
_MEMBERS: Final = (501, 502)

_PAUSES_S: Final = (0.05, 5.0)
"""Between two texts of a user: often while the bot thinks, sometimes after it."""

_RUNS_S: Final = (0.2, 2.5)
"""How long a bot runs after its start until it is killed."""

_UP: Final = 0.9
"""Share of the bots that are not killed before they have started."""

_STOPPED: Final = 0.2
"""Share of those that are stopped by SIGTERM instead of killed."""

_PATIENCE_S: Final = 180.0
_SLACK_S: Final = 3.0
"""An answer arrives this long after its commit at most, on a busy machine."""

Who = tuple[int, int]
"""Chat and user."""


class Answer(NamedTuple):
    """One answer: which of the conversation's commits it was, the numbers, and when it arrived (Unix time)."""

    turn: int
    numbers: tuple[int, ...]
    at: float


def judge(who: Who, written: Sequence[float], answers: Iterable[Answer]) -> list[str]:
    """Return what is wrong with the answers to a user; `written` are the times of the texts 0, 1, 2, ..."""
    policy = policy_of(who[0])
    first: dict[tuple[int, tuple[int, ...]], Answer] = {}
    for each in answers:
        first.setdefault((each.turn, each.numbers), each)  # an answer may be sent again
    found = list(first.values())
    numbers = [number for each in found for number in each.numbers]
    wrong = []
    if [each.turn for each in found] != list(range(1, len(found) + 1)):
        wrong.append(f"commits {[each.turn for each in found]}")
    if any(before >= after for before, after in pairwise(numbers)):
        wrong.append(f"handled twice or out of order: {numbers}")
    missing = set(range(len(written))) - set(numbers)
    if policy in {"queue", "restart", "merge"} and missing:
        wrong.append(f"lost: {sorted(missing)}")
    if policy not in {"restart", "merge"} and any(len(each.numbers) > 1 for each in found):
        wrong.append("handed over together")
    if policy == "stop" and written and len(written) - 1 in missing:
        wrong.append("the newest message was not answered")
    if policy == "drop":
        wrong += _lost_of_drop(written, found, missing)
    return [f"{policy}, chat {who[0]}, user {who[1]}: {each}" for each in wrong]


def _lost_of_drop(written: Sequence[float], found: Sequence[Answer], missing: set[int]) -> list[str]:
    """Return the messages that were not written while the handler of an earlier one worked, and have no answer."""
    lost = []
    for number in sorted(missing):
        before = [each for each in found if each.numbers[0] < number]
        if not before or written[number] > before[-1].at:
            lost.append(f"lost: {number}, which nothing was in front of")
    return lost


class _Users:
    """Writes in all chats, and keeps what was written."""

    def __init__(self, fake: FakeServer, rng: random.Random) -> None:
        self._fake = fake
        self._rng = rng
        self.written: dict[Who, list[float]] = defaultdict(list)
        for chat in GROUPS:
            fake.world.add_group("Group", list(_MEMBERS), chat_id=chat)

    def say(self, who: Who) -> None:
        self._fake.world.send_message(*who, str(len(self.written[who])))
        self.written[who].append(time.time())

    async def write(self, who: Who) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(*_PAUSES_S))
            self.say(who)


def answers_of(fake: FakeServer) -> dict[Who, list[Answer]]:
    """Return the final answers by user, in the order in which Telegram executed them."""
    found: dict[Who, list[Answer]] = defaultdict(list)
    for call in fake.calls:
        if call.method not in {"sendMessage", "editMessageText"} or not call.delivered:
            continue
        user, *rest = (call.text or "").split()
        if (
            not user.isdigit()
        ):  # the apology for an update that was given up, which `run` finds as a dead letter
            continue
        count, *numbers = rest
        if numbers:
            chat = int(call.params["chat_id"])
            found[chat, int(user)].append(Answer(int(count), tuple(map(int, numbers)), call.at))
    return found


def verdicts(written: Mapping[Who, Sequence[float]], answers: Mapping[Who, Sequence[Answer]]) -> list[str]:
    """Return what is wrong with all conversations."""
    return [line for who, times in written.items() for line in judge(who, times, answers.get(who, ()))]


async def run(plan: Plan, tell: Tell) -> Result:
    """Kill the bot `plan.rounds` times while people write, then let it finish."""
    began = time.monotonic()
    rng = random.Random(plan.seed)
    failures: list[str] = []
    stops = 0
    everyone = [*((chat, chat) for chat in PRIVATE), *((chat, user) for chat in GROUPS for user in _MEMBERS)]
    with tempfile.TemporaryDirectory() as name:
        async with FakeServer(seed=plan.seed) as fake:
            users = _Users(fake, rng)
            bot = Service(
                Path(name),
                fake.url,
                fake.token,
                HANDLERS="tests.torture.policies_bot:router",
                ATTEMPTS_MAX="1000",  # each kill while a handler runs is an attempt, and there are many
            )
            async with bot:
                writing = [asyncio.create_task(users.write(who)) for who in everyone]
                for number in range(plan.rounds):
                    await bot.spawn()
                    if is_up := rng.random() < _UP:
                        await bot.working()
                    await asyncio.sleep(rng.uniform(*_RUNS_S))
                    if is_up and rng.random() < _STOPPED:
                        ended = await bot.stop()
                        failures += [f"exit code {ended.code} at a stop"] if ended.code else []
                        stops += 1
                    else:
                        await bot.kill()
                    tell(f"{number + 1} kills, {sum(map(len, users.written.values()))} texts")
                for task in writing:
                    task.cancel()
                await asyncio.wait(writing)
                await bot.start()
                failures += await _finished(fake, users, tell)
                ended = await bot.stop()
                if ended.code:
                    failures.append(f"exit code {ended.code} at the stop")
                dead = await bot.command("dead")
            answers = answers_of(fake)
            drafts = sum(call.method == "sendMessageDraft" for call in fake.calls)
    if "update" in dead.out:
        failures.append(f"dead letters: {dead.out[:200]}")
    failures += verdicts(users.written, answers)
    facts = {"kills": plan.rounds - stops, "stops": stops, "drafts": drafts}
    return _result(facts, users, answers, failures, time.monotonic() - began)


async def _finished(fake: FakeServer, users: _Users, tell: Tell) -> list[str]:
    """Wait until the answers stay the same, and are right."""
    give_up = time.monotonic() + _PATIENCE_S
    with suppress(TimeoutError):
        while time.monotonic() < give_up:
            known = sum(map(len, answers_of(fake).values()))
            await asyncio.sleep(_SLACK_S + THINKS_S)
            found = answers_of(fake)
            tell(f"{sum(map(len, found.values()))} answers")
            if sum(map(len, found.values())) == known and not verdicts(users.written, found):
                return []
    return ["the answers were not complete in time"]


def _result(
    facts: dict[str, int],
    users: _Users,
    answers: Mapping[Who, Sequence[Answer]],
    failures: list[str],
    took_s: float,
) -> Result:
    sent = [(who, each) for who, some in answers.items() for each in some]
    once = {(who, each.turn, each.numbers) for who, each in sent}
    together = sum(len(numbers) > 1 for _, _, numbers in once)
    if not together:
        failures.append("no messages were handed over together: the campaign shows nothing")
    texts = sum(map(len, users.written.values()))
    facts |= {
        "answers": len(once),
        "of several messages": together,
        "sent again after a kill": len(sent) - len(once),
    }
    return Result(
        "policies", Verdict(texts, len(sent), len(sent) - len(once), 0, ()), took_s, facts, failures
    )
