"""Queries while chats cannot be written to: how long until payments, presses and inline queries are answered?

100 chats have a 429 with `retry_after` 12, and 20 more have handlers that work for half a minute. Meanwhile each of these
people pays, types an inline query, and (the 100) presses a button, again and again; the 429s and the handlers go on until
all of that is answered. Telegram waits 10 s for a payment
(Telegram Bot API, answerPreCheckoutQuery); the fake server refuses later answers. Payments and texts count in the same
state, so the checker sees each count that one of them has overwritten.
"""

import asyncio
import random
import time
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from telegram.fake import Call, Fault
from telegram.load.bot.plan import BotPlan
from telegram.load.checkers.checker import Verdict
from tests.torture.payments_bot import ENOUGH, SLOW
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import PATIENCE_S, Stage, open_stage
from tests.torture.window import together

RETRY_AFTER_S: Final = 12
PARKED: Final = 100
BUSY: Final = 20
ROUNDS: Final = 5
P99_MAX_S: Final = 5.0
_PARKED_WITHIN_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.02
_ANSWERS: Final = {
    "pre_checkout_query": ("answerPreCheckoutQuery", "pre_checkout_query_id"),
    "callback_query": ("answerCallbackQuery", "callback_query_id"),
    "inline_query": ("answerInlineQuery", "inline_query_id"),
}


class Size(NamedTuple):
    """How large the campaign is; the defaults are what it is for."""

    parked: int = PARKED
    busy: int = BUSY
    rounds: int = ROUNDS
    retry_after_s: int = RETRY_AFTER_S
    slow_s: float = 30.0


def _query(kind: str, name: str, user_id: int) -> dict[str, Any]:
    person = {"id": user_id, "is_bot": False, "first_name": "A"}
    common = {"id": name, "from": person}
    if kind == "pre_checkout_query":
        return {**common, "currency": "XTR", "total_amount": 1, "invoice_payload": "p"}
    if kind == "inline_query":
        return {**common, "query": name, "offset": ""}
    chat = {"id": user_id, "type": "private", "first_name": "A"}
    message = {"message_id": 1, "date": int(time.time()), "chat": chat, "text": "?"}
    return {**common, "message": message, "chat_instance": "c", "data": "x"}


class _Asking:
    """Sends queries, and remembers when."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._sent: dict[tuple[str, str], float] = {}
        self._rng = random.Random(stage.rng.random())

    async def ask(self, kinds: Iterable[str], users: Iterable[int], over_s: float) -> None:
        """Each user sends each kind once, spread over the time."""
        queries = [(kind, user) for user in users for kind in kinds]
        self._rng.shuffle(queries)
        began = time.monotonic()
        for n, (kind, user) in enumerate(queries):
            name = str(len(self._sent) + 1_000_000)
            self._sent[kind, name] = time.time()
            await self._stage.fake.push(kind, _query(kind, name, user))
            await asyncio.sleep(began + over_s * (n + 1) / len(queries) - time.monotonic())

    async def all_answered(self) -> list[str]:
        """Wait until each query is answered; return what is wrong after PATIENCE_S."""
        give_up = time.monotonic() + PATIENCE_S
        while open_ := len(self._sent.keys() - {_answered_by(call) for call in self._stage.calls}):
            if time.monotonic() > give_up:
                return [f"{open_} queries were not answered while chats had a 429 and handlers worked"]
            await asyncio.sleep(_LOOK_EVERY_S)
            await self._stage.look()
        return []

    def waits(self, calls: Iterable[Call]) -> tuple[dict[str, list[float]], list[str]]:
        """Return how long each kind has waited, and what is wrong."""
        found: dict[str, list[float]] = {kind: [] for kind in _ANSWERS}
        failures, open_ = [], dict(self._sent)
        for call in calls:
            if (query := _answered_by(call)) is not None:
                asked = open_.pop(query, None)
                if asked is None or call.status != 200:
                    failures.append(f"{call.method} {query[1]}: status {call.status}")
                else:
                    found[query[0]].append(call.at - asked)
        if open_:
            failures.append(f"{len(open_)} queries were not answered")
        return found, failures


def _answered_by(call: Call) -> tuple[str, str] | None:
    """Return kind and name of the query that a call answers."""
    for kind, (method, name) in _ANSWERS.items():
        if call.method == method:
            return kind, str(call.params[name])
    return None


def _at(share: float, waits: list[float]) -> float:
    return sorted(waits)[min(len(waits) - 1, int(share * len(waits)))]


class Bout(NamedTuple):
    """How it went at one setting of MESSAGES_PER_S."""

    verdict: Verdict
    waits: dict[str, list[float]]
    failures: list[str]


async def _bout(plan: Plan, tell: Tell, size: Size, per_s: str) -> Bout:
    bot_plan = BotPlan("tests.torture.payments_bot:router", handler_ms=5.0, journal=None)
    chats = size.parked + size.busy
    async with open_stage(plan._replace(chats=chats), tell, bot_plan, MESSAGES_PER_S=per_s) as stage:
        parked, busy = stage.chats[: size.parked], stage.chats[size.parked :]
        await stage.start()
        refusing = Fault("status", code=429, retry_after=size.retry_after_s, method="sendMessage")
        await stage.fake.add_fault(refusing)
        await stage.say_all(parked, "hello")
        give_up = (
            time.monotonic() + _PARKED_WITHIN_S
        )  # a bot with a pace stops before all of them are refused
        while (await stage.fake.faults())[0].hits < size.parked and time.monotonic() < give_up:
            await asyncio.sleep(_LOOK_EVERY_S)
        await stage.say_all(busy, f"{SLOW} {size.slow_s:g}")
        asking, over_s = _Asking(stage), (size.retry_after_s - _PARKED_WITHIN_S) / size.rounds
        for number in range(size.rounds):
            tell(f"round {number + 1} of {size.rounds}")
            await asyncio.gather(
                asking.ask(_ANSWERS, parked, over_s),
                asking.ask(("pre_checkout_query", "inline_query"), busy, over_s),
                stage.say_evenly(size.parked // 2, over_s),
            )
        failures = await asking.all_answered()
        await stage.clear_faults()
        (stage.bot.folder / ENOUGH).touch()
        if not await stage.all_answered():
            failures.append("texts were not all answered")
        await stage.stop()
        await stage.look()
        waits, more = asking.waits(stage.calls)
        return Bout(stage.judge(), waits, failures + more)


async def run(
    plan: Plan,
    tell: Tell,
    size: Size = Size(),  # noqa: B008 - frozen
    paces: Iterable[str] = ("0", "30"),
    *,
    p99_max_s: float = P99_MAX_S,
) -> Result:
    """p99 of each kind is far below 10 s, each query is answered once, and no text's count is lost."""
    began = time.monotonic()
    facts: dict[str, object] = {
        "parked": f"{size.parked} chats by a 429 for {size.retry_after_s} s",
        "busy": f"{size.busy} chats with a handler of {size.slow_s:g} s",
    }
    failures, verdicts = [], []
    for per_s in paces:
        bout = await _bout(plan, tell, size, per_s)
        verdicts.append(bout.verdict)
        failures += bout.failures
        for kind, waits in bout.waits.items():
            name = f"{kind}, MESSAGES_PER_S={per_s}"
            if not waits:
                failures.append(f"{name}: none was answered")
                continue
            p50, p99, longest = (round(_at(share, waits) * 1000) for share in (0.5, 0.99, 1.0))
            facts[name] = f"{len(waits)} answered, p50 {p50} ms, p99 {p99} ms, longest {longest} ms"
            if p99 > p99_max_s * 1000:
                failures.append(f"{name}: p99 {p99} ms")
    return Result("payments", together(verdicts), time.monotonic() - began, facts, failures)
