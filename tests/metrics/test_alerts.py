"""Each alert fires for a bot that is in its trouble, and none for a bot that works.

The production bot runs on virtual time against a Telegram that is in trouble itself, or with a store or a handler that
is; its metrics are scraped once a minute, and Prometheus's own promtool evaluates the rules over what was scraped.
"""

import asyncio
import json
import random
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine import Delivery, Effects, Right, StoreUnavailable
from engine.sharing import Alone
from engine.stores.memory import MemoryStore
from telegram.botapi.errors import NotSent, Refused, RetryAfter, ServerTrouble
from telegram.botapi.intake import RawUpdate, split
from telegram.botapi.types import User, WebhookInfo
from telegram.dialogue import MessageContext, Router
from telegram.listening import Address
from telegram.metrics.counts import Counts
from telegram.metrics.exposition import Exposition
from telegram.metrics.health import Health
from telegram.metrics.monitoring import Monitoring
from telegram.service.bot import Bot, BotConfig
from tests.kit.bounds import WITHIN_S
from tests.kit.scraped import NoTelegram, get
from tests.kit.virtual import VirtualLoop, run_virtual

if TYPE_CHECKING:
    from telegram.client import TgClient

RULES = Path(__file__).parents[2] / "docs/deploy/prometheus/alerts.yml"
PROMTOOL = shutil.which("promtool")
MINUTES = 25
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool on PATH (apt-get install prometheus)"
)

Series = dict[str, list[str]]
"""Values by series, one a minute; "_": it was not there."""


class Telegram:
    """What a bot needs of a TgClient, on virtual time; a trouble replaces one of its answers."""

    bot_id = 1

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.came = asyncio.Event()
        self.count = 0
        self.last_error = 0

    def time(self) -> float:
        return 1.0 + asyncio.get_running_loop().time()

    def say(self, text: str) -> None:
        self.count += 1
        person = {"id": 7, "is_bot": False, "first_name": "X", "type": "private"}
        message = {"message_id": self.count, "date": 1, "chat": person, "from": person, "text": text}
        self.waiting.append(json.dumps({"update_id": self.count, "message": message}).encode())
        self.came.set()

    async def get_me(self) -> User:
        return User.model_validate({"id": 1, "is_bot": True, "first_name": "Bot", "username": "bot"})

    async def get_webhook_info(self) -> WebhookInfo:
        return WebhookInfo(url="", pending_update_count=0, last_error_date=self.last_error)

    async def call(self, method: str, /, **_: Any) -> Any:
        return {"url": ""} if method == "getWebhookInfo" else True

    async def get_updates(self, offset: int, *, limit: int, timeout_s: int, **_: Any) -> list[RawUpdate]:
        if not self.waiting:
            try:
                async with asyncio.timeout(timeout_s):
                    await self.came.wait()
            except TimeoutError:
                return []
        self.came.clear()
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return split(b'{"ok":true,"result":[' + b",".join(taken) + b"]}")

    async def post(self, method: str, body: bytes) -> None:
        await asyncio.sleep(0.05)

    async def upload(self, method: str, body: bytes, files: object) -> object:
        raise AssertionError


class Trial:
    """One bot and its metrics, on virtual time. A trouble changes it before the start; `each_minute` is called then."""

    def __init__(self) -> None:
        self.telegram = Telegram()
        self.store: Any = MemoryStore(wall=self.telegram.time)
        self.counts = Counts(self.telegram.time, asyncio.get_running_loop().time)
        self.tasks: list[asyncio.Task[Any]] = []
        self.each_minute: Callable[[int], Awaitable[None] | None] = lambda _: None

    def router(self) -> Router:
        router = Router()

        @router.message()
        async def answer(ctx: MessageContext) -> None:
            if ctx.text == "bad":
                raise TypeError("a mistake")
            if ctx.text == "hang":
                await asyncio.Event().wait()
            if ctx.text == "block":  # as time.sleep(1.2): the time passes, and the loop takes no step
                cast("VirtualLoop", asyncio.get_running_loop())._jumping.now += 1.2
            ctx.reply("answer")

        return router

    async def scraped(self) -> list[str]:
        """Live for MINUTES; return what /metrics would have said after each."""
        clock = asyncio.get_running_loop().time
        health = Health(self.counts, clock)
        exposition = Exposition(self.counts, health)
        client = cast("TgClient", self.telegram)
        rng = random.Random(1)
        config = BotConfig(messages_per_s=0, handler_timeout_s=36_000, drain_timeout_s=2)
        bot = Bot(client, self.store, self.router(), config, rng=rng, meter=self.counts)
        health.store, health.bot = self.store, bot
        tasks = self.tasks
        tasks.append(asyncio.create_task(health.measure_lag()))
        tasks += [
            asyncio.create_task(health.ask_telegram(self.telegram)),
            asyncio.create_task(bot.start()),
        ]
        texts = []
        for minute in range(MINUTES):
            self.telegram.say("hello")
            if (done := self.each_minute(minute)) is not None:
                await done
            await asyncio.sleep(60.0)
            texts.append((await exposition.text(self.telegram.time())).decode())
        if bot.is_started:
            await bot.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return texts


def series(texts: list[str], instance: str = "a", bot: str = "") -> Series:
    """Return what Prometheus would store of these scrapes. `bot`: the label of the target, if there are several."""
    target = {"job": "chatlane", "instance": instance} | ({"bot": bot} if bot else {})
    found: Series = {}
    for minute, text in enumerate(texts):
        for family in text_string_to_metric_families(text):
            if family.name.startswith("chatlane"):
                for sample in family.samples:
                    labels = {**sample.labels, **target}
                    pairs = ",".join(f'{key}="{value}"' for key, value in labels.items())
                    name = f"{sample.name}{{{pairs}}}"
                    values = found.setdefault(name, [])
                    values += ["_"] * (minute - len(values))
                    values.append(f"{sample.value:.17g}")
    found[f'up{{job="chatlane",instance="{instance}"}}'] = ["1"] * len(texts)
    return found


def fired(scraped: Series, alerts: list[str], folder: Path) -> set[str]:
    """Return which of these alerts fire at the end, by promtool."""
    tests = [
        # None is expected: promtool then prints those that fire.
        {"eval_time": f"{MINUTES - 1}m", "alertname": alert, "exp_alerts": []}
        for alert in alerts
    ]
    file = folder / "test.yml"
    given = [{"series": name, "values": " ".join(values)} for name, values in scraped.items()]
    whole = {"interval": "1m", "input_series": given, "alert_rule_test": tests}
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [whole]}))
    ran = subprocess.run(
        [str(PROMTOOL), "test", "rules", file], capture_output=True, text=True, check=False, timeout=WITHIN_S
    )
    said = ran.stdout + ran.stderr
    found = {*re.findall(r'alertname="(\w+)"', said)}
    assert bool(found) == (ran.returncode != 0), said
    return found


def alerts() -> list[str]:
    return re.findall(r"alert: (\w+)", RULES.read_text())


# -- the troubles --------------------------------------------------------------------------------------------------


def not_ready(bot: Trial) -> None:
    """Telegram cannot be reached from the start on."""

    async def get_me() -> User:
        raise NotSent("getMe", "connection refused")

    bot.telegram.get_me = get_me  # type: ignore[method-assign]


class OthersAppend(Alone):
    appends_elsewhere = True


def nothing_taken_in(bot: Trial) -> None:
    """Another process takes updates in, says the database; there is none."""

    async def right() -> Right:
        return await asyncio.Future[Right]()

    bot.store.right, bot.store.sharing = right, OthersAppend()


def source_stale(bot: Trial) -> None:
    """getUpdates fails from the third minute on."""
    answers = bot.telegram.get_updates

    async def get_updates(*given: Any, **named: Any) -> list[RawUpdate]:
        if bot.telegram.time() > 180:
            raise ServerTrouble("getUpdates", 502, "Bad Gateway")
        return await answers(*given, **named)

    bot.telegram.get_updates = get_updates  # type: ignore[method-assign]


def oldest_too_old(bot: Trial) -> None:
    """A handler waits for something that never comes."""
    bot.each_minute = lambda minute: bot.telegram.say("hang") if minute == 3 else None


def dead_letters(bot: Trial) -> None:
    """A handler has a mistake."""
    bot.each_minute = lambda minute: bot.telegram.say("bad") if minute == MINUTES - 5 else None


def calls_refused(bot: Trial) -> None:
    """Telegram refuses what the bot sends."""

    async def post(method: str, body: bytes) -> None:
        raise Refused(method, 400, "Bad Request: message text is empty", {})

    bot.telegram.post = post  # type: ignore[method-assign]


def flood_control(bot: Trial) -> None:
    """Telegram answers 429 for the first time, for a minute."""

    async def post(method: str, body: bytes) -> None:
        if MINUTES - 5 <= bot.telegram.time() / 60 < MINUTES - 4:
            raise RetryAfter(method, 429, "Too Many Requests: retry after 3", {"retry_after": 3})

    bot.telegram.post = post  # type: ignore[method-assign]


class Store:
    """A store whose commits are in trouble."""

    def __init__(self, store: MemoryStore, trouble: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._trouble = trouble

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        await self._trouble()
        return await self._store.commit(delivery, effects, more=more)


def store_fails(bot: Trial) -> None:
    """The disk is full in one of three commits."""
    count = 0

    async def trouble() -> None:
        nonlocal count
        count += 1
        if count % 3 == 0:
            raise StoreUnavailable("the disk is full: make room on it")

    bot.store = Store(bot.store, trouble)


def store_slow(bot: Trial) -> None:
    """A commit takes 1.5 s."""
    bot.store = Store(bot.store, lambda: asyncio.sleep(1.5))


def loop_lag(bot: Trial) -> None:
    """A handler blocks the event loop, every few seconds."""

    async def blocked() -> None:
        while True:
            bot.telegram.say("block")
            await asyncio.sleep(5.0)

    bot.tasks.append(asyncio.create_task(blocked()))


def leases_lost(bot: Trial) -> None:
    """The process was stopped for longer than its lease, and another one took its lane."""
    store = bot.store

    async def taken_over(minute: int) -> None:
        if minute == MINUTES - 5:
            bot.telegram.say("slow")
            other = store.peer()
            store.hang()
            await asyncio.sleep(0.0)
            for _ in range(20):  # the others' look for what it holds
                await asyncio.sleep(1.0)
            store.go_on()
            await other.close()

    async def trouble() -> None:
        if MINUTES - 5 <= (bot.telegram.time() - 1.0) / 60 < MINUTES - 4:
            await asyncio.sleep(30.0)

    bot.each_minute = taken_over
    bot.store = Store(store, trouble)


def telegram_error(bot: Trial) -> None:
    """Telegram cannot deliver to the webhook."""

    def noted(_: int) -> None:
        bot.telegram.last_error = int(bot.telegram.time())

    bot.each_minute = noted


TROUBLES: dict[str, Callable[[Trial], None]] = {
    "ChatlaneNotReady": not_ready,
    "ChatlaneNothingTakenIn": nothing_taken_in,
    "ChatlaneSourceStale": source_stale,
    "ChatlaneOldestTooOld": oldest_too_old,
    "ChatlaneDeadLetters": dead_letters,
    "ChatlaneCallsRefused": calls_refused,
    "ChatlaneFloodControl": flood_control,
    "ChatlaneStoreFails": store_fails,
    "ChatlaneStoreSlow": store_slow,
    "ChatlaneLoopLag": loop_lag,
    "ChatlaneLeasesLost": leases_lost,
    "ChatlaneTelegramError": telegram_error,
}
ALSO = {
    "ChatlaneNotReady": {"ChatlaneSourceStale"},
    "ChatlaneSourceStale": {"ChatlaneNotReady"},
    "ChatlaneCallsRefused": {"ChatlaneDeadLetters"},
    "ChatlaneStoreFails": {"ChatlaneNotReady"},
}
"""What else the trouble may lead to."""


def live(trouble: Callable[[Trial], None] | None) -> list[str]:
    async def lived() -> list[str]:
        trial = Trial()
        if trouble is not None:
            trouble(trial)
        return await trial.scraped()

    return run_virtual(lived())


def test_there_is_a_trouble_for_each_alert():
    assert {*alerts()} == {*TROUBLES, "ChatlaneDown"}


@needs_promtool
@pytest.mark.parametrize("alert", TROUBLES)
def test_an_alert_fires_in_its_trouble(alert: str, tmp_path: Path):
    assert alert in (found := fired(series(live(TROUBLES[alert])), alerts(), tmp_path))
    assert found <= {alert} | ALSO.get(alert, set())


@needs_promtool
def test_no_alert_fires_for_a_bot_of_which_another_process_takes_updates_in(tmp_path: Path):
    scraped = series(live(None)) | series(live(nothing_taken_in), "b")
    assert scraped['chatlane_updates_appended_total{job="chatlane",instance="a"}'][-1] == str(MINUTES)
    assert fired(scraped, alerts(), tmp_path) == set()


@needs_promtool
@pytest.mark.parametrize(
    ("alert", "bots", "others"),
    [
        ("ChatlaneNothingTakenIn", ("a", "b"), 1),
        ("ChatlaneCallsRefused", ("a", "b"), 25),
        ("ChatlaneLoopLag", ("", ""), 8),
    ],
)
def test_the_trouble_of_one_is_not_hidden_by_others(
    alert: str, bots: tuple[str, str], others: int, tmp_path: Path
):
    """Of several bots of one job, or of several processes of a bot."""
    _, _, rule = RULES.read_text().partition(f"alert: {alert}\n")
    names = tuple({*re.findall(r"chatlane_\w+", rule.partition("labels:")[0])})
    all_of = series(live(TROUBLES[alert]), "a", bots[0])
    scraped = {name: values for name, values in all_of.items() if name.startswith(names)}
    well = {name: v for name, v in series(live(None), "other", bots[1]).items() if name.startswith(names)}
    for number in range(others):
        scraped |= {name.replace('"other"', f'"other{number}"'): values for name, values in well.items()}
    assert alert in fired(scraped, [alert], tmp_path)


@needs_promtool
def test_the_alert_fires_when_no_target_is_left(tmp_path: Path):
    """Targets that are discovered disappear with their pods: prometheus/prometheus issue 1504, prometheus-operator issue 1648."""
    other: Series = {'up{job="other"}': ["1"] * MINUTES}
    assert fired(other, alerts(), tmp_path) == {"ChatlaneDown"}


@needs_promtool
async def test_the_alert_fires_when_metrics_cannot_be_read(tmp_path: Path):
    up = []
    async with Monitoring(Address("127.0.0.1", 0), "", NoTelegram(), lambda: 0.0) as monitoring:
        for minute in range(MINUTES):
            if minute == 5:
                await monitoring._listener.stop(0.0)
            try:
                status, _ = await get(monitoring, "/metrics")
            except OSError:
                status = 0
            up.append(str(int(status == 200)))
    assert fired({'up{job="chatlane",instance="a"}': up}, alerts(), tmp_path) == {"ChatlaneDown"}
