"""kill -9 at every step of a survey that many people go through at the same time, each in their own way.

The bot runs handlers/ (tests/torture/survey_bot.py); the fake Telegram is in this process, so that people see what
the bot says at once. The judge knows what the survey has to say to whatever they do (survey_model.py).
"""

import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from engine.model import TIMER_IDS
from telegram.fake import FakeServer, Fault, FaultKind
from telegram.load.bot.journal import JournalEntry
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import Service
from telegram.load.checkers.checker import Verdict
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import stalled_store, unnoted_calls
from tests.torture.survey_judge import Findings, Gap, judge
from tests.torture.survey_model import IDLE, STEPS, TIME_OUT, TIMEOUT_S, Reply
from tests.torture.survey_people import PATIENCE_S, Person

PEOPLE_MAX: Final = 40
ALL_STEPS_FROM: Final = 50
"""So many kills have to hit a handler of each step."""

_FIRST_CHAT: Final = 1001
_LOOK_EVERY_S: Final = 0.005
_LIFE_S: Final = (0.2, 0.8)  # from a start to the next kill
_WITHIN_S: Final = 2.0
_TAIL_BYTES: Final = 200


class Town:
    """People, a bot, and who kills it."""

    def __init__(self, server: FakeServer, bot: Service, plan: Plan) -> None:
        self.server = server
        self.bot = bot
        self.rng = random.Random(plan.seed)
        self.free = asyncio.Event()
        self.free.set()
        self.is_over = False
        self.kills = 0
        self.gaps: list[Gap] = []
        self._pending: dict[int, set[Reply]] = {}
        self._calls_known = 0
        self._killed_at: float | None = None
        chats = range(_FIRST_CHAT, _FIRST_CHAT + min(plan.chats, PEOPLE_MAX))
        self.people = {
            chat: Person(chat, server, self.free, random.Random(f"{plan.seed} {chat}")) for chat in chats
        }

    async def start(self) -> None:
        """Start the bot, and return when it works."""
        await self.bot.start()
        if self._killed_at is not None:
            self.gaps.append(Gap(self._killed_at, time.time(), self._pending))
            self._killed_at, self._pending = None, {}

    async def kill(self) -> None:
        """End the bot as `kill -9` does."""
        self._killed_at = self._killed_at or time.time()
        await self.bot.kill()
        self.kills += 1
        for call in unnoted_calls(self.bot.folder):
            chat_id, reply = _heard_by(*call)
            self._pending.setdefault(chat_id, set()).add(reply)

    async def listen(self) -> None:
        """Tell people what they hear, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_EVERY_S)

    def look(self) -> None:
        """Tell people what was said to them since the last look. Refused with 400 is what was done before: a repeat."""
        calls = self.server.log.since(self._calls_known, 1_000_000)
        self._calls_known += len(calls)
        for call in calls:
            if not call.delivered and call.status != 400:
                continue
            chat_id, _ = _heard_by(call.method, call.params)
            if chat_id in self.people:
                self.people[chat_id].hear(call)

    def judge(self) -> list[Findings]:
        """Judge all that happened up to now."""
        self.look()
        now = [] if self._killed_at is None else [Gap(self._killed_at, time.time(), self._pending)]
        gaps = [*self.gaps, *now]
        return judge({chat: person.story for chat, person in self.people.items()}, gaps, TIMEOUT_S)

    async def settle(self) -> list[Findings]:
        """Return the findings as soon as nothing is missing any more, or after PATIENCE_S."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            found = self.judge()
            missing = any(anomaly.kind == "lost" for each in found for anomaly in each.anomalies)
            if not missing or time.monotonic() > give_up:
                return found
            await asyncio.sleep(0.2)

    @asynccontextmanager
    async def fault(self, kind: FaultKind, method: str, seconds: float = 0.0) -> AsyncIterator[Fault]:
        """Meanwhile all calls of this method are hit; entered when the first one is."""
        fault = self.server.faults.add(Fault(kind, method=method, seconds=seconds))
        await _soon(lambda: fault.hits > 0)
        yield fault
        self.server.faults.clear()


Aim = Callable[[Town], Awaitable[None]]
"""Takes the town with a running bot, which has been killed when it returns."""


async def whenever(town: Town) -> None:
    """At any moment."""
    await town.kill()


async def before_the_update_is_fetched(town: Town) -> None:
    """People act, and it waits at Telegram."""
    async with town.fault("hang", "getUpdates"):
        await asyncio.sleep(town.rng.uniform(0, 0.3))
        await town.kill()


def while_handling(step: str) -> Aim:
    """While a handler of this step is at work."""

    async def aim(town: Town) -> None:
        def is_at_work() -> bool:
            noted = _last_noted(town.bot.folder / "journal")
            return noted is not None and noted.event == "begin" and _met(town, noted.update_id) == step

        await _soon(is_at_work, PATIENCE_S if step == TIME_OUT else _WITHIN_S)
        await town.kill()

    aim.__name__ = f"while_handling: {step}"
    return aim


async def while_committing(town: Town) -> None:
    """While nothing gets into the file: handlers have decided, and wait for it."""
    async with stalled_store(town.bot.folder):
        await asyncio.sleep(town.rng.uniform(0.05, 0.3))
        await town.kill()


async def before_a_reply_is_out(town: Town) -> None:
    """After the commit; Telegram never executes the call."""
    async with town.fault("hang", "sendMessage"):
        await asyncio.sleep(town.rng.uniform(0, 0.1))
        await town.kill()


async def while_a_reply_is_out(town: Town) -> None:
    """Telegram has executed the call, and the bot does not know."""
    async with town.fault("slow", "sendMessage", seconds=0.3):
        await asyncio.sleep(town.rng.uniform(0, 0.2))
        await town.kill()


async def while_idle(town: Town) -> None:
    """Nobody does anything, all is answered."""
    town.free.clear()
    await asyncio.sleep(0.5)
    await town.kill()
    town.free.set()


async def when_a_time_out_is_due(town: Town) -> None:
    """In the moment in which somebody's time is over."""
    due = [person.acts[-1].at + TIMEOUT_S for person in town.people.values() if person.waits]
    due = [moment for moment in due if moment > time.time()]
    if due:
        await asyncio.sleep(max(0.0, min(due) - time.time() + town.rng.uniform(-0.02, 0.1)))
    await town.kill()


async def before_a_time_out_is_due(town: Town) -> None:
    """And nobody runs for so long that some time-outs' moments lie in it."""
    await town.kill()
    await asyncio.sleep(town.rng.uniform(0.3, 0.8) * TIMEOUT_S)


async def while_starting(town: Town) -> None:
    """After another kill: the file is opened and read back."""
    await town.kill()
    await town.bot.spawn()
    await asyncio.sleep(town.rng.uniform(0, 0.8))
    await town.kill()


HANDLED: Final = (*STEPS, TIME_OUT)
AIMS: Final[tuple[Aim, ...]] = (
    whenever,
    before_the_update_is_fetched,
    while_committing,
    before_a_reply_is_out,
    while_a_reply_is_out,
    while_idle,
    when_a_time_out_is_due,
    before_a_time_out_is_due,
    while_starting,
    *map(while_handling, HANDLED),
)


async def run(plan: Plan, tell: Tell, aims: Sequence[Aim] = AIMS) -> Result:
    """Each person hears what the survey says to what they did: no step left out or done twice, each time-out once."""
    began = time.monotonic()
    async with _open_town(plan) as town:
        listening = asyncio.create_task(town.listen())
        async with asyncio.TaskGroup() as group:
            await town.start()
            for person in town.people.values():
                group.create_task(person.live(lambda: town.is_over))
            aimed = await _kill_all(town, plan.rounds, aims, tell)
            town.is_over = True
        found = await town.settle()
        ended = await town.bot.stop()
        listening.cancel()
        failures = [f"exit code {ended.code} after SIGTERM"] if ended.code else []
        dead = (await town.bot.command("dead")).out.strip()
        if dead != "no dead letters":
            failures.append(f"dead letters: {dead}")
        hit = _steps_of_cut_off(town, found)
        if plan.rounds >= ALL_STEPS_FROM:
            failures += [
                f"no kill has hit a handler of the step {step!r}" for step in HANDLED if not hit[step]
            ]
        facts = {"kills": _listed(aimed), **_facts(town, found), "handlers cut off, by step": _listed(hit)}
        return Result("survey", _verdict(town, found), time.monotonic() - began, facts, failures)


async def _kill_all(town: Town, kills: int, aims: Sequence[Aim], tell: Tell) -> Counter[str]:
    aimed: Counter[str] = Counter()
    while town.kills < kills:
        aim = aims[aimed.total() % len(aims)]
        await asyncio.sleep(town.rng.uniform(*_LIFE_S))
        await aim(town)
        aimed[aim.__name__.replace("_", " ")] += 1
        await town.start()
        broken = [anomaly for each in town.judge() for anomaly in each.anomalies if anomaly.kind != "lost"]
        tell(f"{town.kills} kills, {len(broken)} anomalies")
        if broken:
            break
    return aimed


@asynccontextmanager
async def _open_town(plan: Plan) -> AsyncIterator[Town]:
    folder = Path(tempfile.mkdtemp(prefix="chatlane-"))
    bot_plan = BotPlan(handlers="tests.torture.survey_bot:router")
    try:
        async with (
            FakeServer(seed=plan.seed) as server,
            Service(folder, server.url, server.token, bot_plan) as bot,
        ):
            yield Town(server, bot, plan)
    finally:
        shutil.rmtree(folder)


def _verdict(town: Town, found: Sequence[Findings]) -> Verdict:
    stories = [person.story for person in town.people.values()]
    return Verdict(
        updates=sum(len(story.acts) for story in stories),
        replies=sum(len(story.heard) for story in stories),
        repeated=sum(each.repeated for each in found),
        chats_at_once=len(stories),
        anomalies=tuple(anomaly for each in found for anomaly in each.anomalies),
    )


def _facts(town: Town, found: Sequence[Findings]) -> dict[str, str]:
    late_s = [late_s for each in found for late_s in each.late_s]
    met = {update_id: step for each in found for update_id, step in each.steps.items()}
    acts = [act for person in town.people.values() for act in person.acts]
    begun = sum(act.value == "/survey" and met.get(act.update_id) == IDLE for act in acts)
    ended = sum(act.value == "confirm" and met.get(act.update_id) == "summary" for act in acts)
    people_met = Counter(
        next((step for at, step in reversed(each.way) if at < gap.began), IDLE)
        for each in found
        for gap in town.gaps
    )
    return {
        "surveys": f"{begun} begun, {ended} confirmed, by {len(town.people)} people",
        "time-outs": f"{len(late_s)}, {sum(each.slept for each in found)} of them due while nobody ran",
        "latest after its moment or the next start": f"{max(late_s, default=0):.2f} s"
        f" (median {median(late_s or [0]):.2f} s)",
        "people that the kills met, by step": _listed(people_met),
    }


def _steps_of_cut_off(town: Town, found: Sequence[Findings]) -> Counter[str]:
    """At which steps handlers were that began and did not end."""
    steps = {update_id: step for each in found for update_id, step in each.steps.items()}
    runs: dict[str, set[tuple[int, int]]] = {"begin": set(), "end": set()}
    for note in town.bot.journal():
        if note.event in runs:
            runs[note.event].add((note.update_id, note.pid))
    cut_off = [update_id for update_id, _ in runs["begin"] - runs["end"]]
    return Counter(TIME_OUT if each >= TIMER_IDS else steps.get(each, "?") for each in cut_off)


def _met(town: Town, update_id: int) -> str | None:
    if update_id >= TIMER_IDS:
        return TIME_OUT
    return next((met for person in town.people.values() if (met := person.met.get(update_id))), None)


def _heard_by(method: str, params: Mapping[str, Any]) -> tuple[int, Reply]:
    """Return the chat of a call (0: none), and what a person there hears."""
    query = str(params.get("callback_query_id", ""))
    chat_id = int(params.get("chat_id") or query.partition("-")[0] or 0)
    return chat_id, Reply(method, query or str(params.get("text", "")))


def _last_noted(journal: Path) -> JournalEntry | None:
    if not journal.exists():
        return None
    with journal.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
        whole, _, _ = file.read().rpartition(b"\n")  # the last line may be in the making
    lines = whole.decode().splitlines()
    return JournalEntry.parse(lines[-1]) if lines else None


async def _soon(has_come: Callable[[], bool], within_s: float = _WITHIN_S) -> None:
    """Return when it has come, or after a while."""
    give_up = time.monotonic() + within_s
    while not has_come() and time.monotonic() < give_up:
        await asyncio.sleep(_LOOK_EVERY_S)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in counts.most_common())
