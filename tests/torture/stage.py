"""The stage of a campaign: a fake Telegram, a bot, people who write to it, and a record of what is seen."""

import asyncio
import fcntl
import json
import random
import shutil
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final

from telegram.botapi.calls import decode_call
from telegram.fake import Call, RemoteFake
from telegram.load.bot.evidence import Evidence
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import PROGRAM, Service
from telegram.load.checkers.checker import BotReply, Interruption, SentText, Verdict, check
from tests.torture.report import Plan, Tell
from tests.torture.window import stretched

WORKERS: Final = 64
SENDERS: Final = 64  # telegram/service/bot.py
PATIENCE_S: Final = 90.0
"""Without any new reply for this long, what is missing counts as lost; the longest backoff is 30 s."""

_FIRST_CHAT: Final = 1001
_LOOK_EVERY_S: Final = 0.1
_TICK_S: Final = 0.1
_WAL_WRITE_LOCK: Final = 120  # its byte in the -shm file (SQLite, "WAL-mode File Format", 2.3.1)


class Stage:
    """Made by `open_stage`. Texts, calls and interruptions are kept here for the judge.

    `keep_folder`: the bot's folder stays when the stage is closed, for people to look at.
    """

    def __init__(self, fake: RemoteFake, bot: Service, plan: Plan, tell: Tell) -> None:
        self.fake = fake
        self.bot = bot
        self.rng = random.Random(plan.seed)
        self.chats = range(_FIRST_CHAT, _FIRST_CHAT + plan.chats)
        self.sent: list[SentText] = []
        self.calls: list[Call] = []
        self.interruptions: list[Interruption] = []
        self.freezes: list[Interruption] = []
        self.faults: Counter[str] = Counter()
        self.kills = 0
        self._killed_at: float | None = None  # since then, no bot has worked
        self.keep_folder = False
        self.padding = ""
        """What each text ends with."""

        self._answered: set[int] = set()
        self._texts = 0
        self._calls_known = 0
        self._saying = asyncio.Lock()  # `sent` is in the order in which the server took it
        self._tell = tell

    async def say(self, count: int, chats: Iterable[int] = ()) -> list[SentText]:
        """`count` texts are written, each in a random one of `chats` (default: all); return them."""
        among = list(chats) or self.chats
        async with self._saying:
            start = self._texts
            self._texts += count
            texts = (f"text {start + n}{self.padding}" for n in range(count))
            lines = list(zip(self.rng.choices(among, k=count), texts, strict=True))
            ids = await self.fake.send_messages((chat, chat, text) for chat, text in lines)
            sent = [SentText(chat, id_, text) for (chat, text), id_ in zip(lines, ids, strict=True)]
            self.sent += sent
        return sent

    async def say_all(self, chats: Iterable[int], text: str) -> None:
        """Each of the chats writes this once."""
        async with self._saying:
            lines = [(chat, f"{text} {chat}") for chat in chats]
            ids = await self.fake.send_messages((chat, chat, sent) for chat, sent in lines)
            self.sent += [SentText(chat, id_, sent) for (chat, sent), id_ in zip(lines, ids, strict=True)]

    async def say_evenly(self, count: int, over_s: float) -> None:
        """`count` texts are written, spread over a time."""
        ticks = max(1, round(over_s / _TICK_S))
        for n in range(ticks):
            await self.say(count * (n + 1) // ticks - count * n // ticks)
            await asyncio.sleep(over_s / ticks)

    @asynccontextmanager
    async def trickle(self, per_s: float) -> AsyncIterator[None]:
        """Somebody writes all the time, about `per_s` texts a second."""
        enough = asyncio.Event()

        async def write() -> None:
            while not enough.is_set():
                await self.say(max(1, round(per_s * _TICK_S)))
                await asyncio.sleep(_TICK_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            try:
                yield
            finally:
                enough.set()  # not cancelled: what the server has taken must be known here

    async def look(self) -> None:
        """Take notice of the calls that were made since the last look."""
        for call in await self.fake.calls(self._calls_known):
            self._calls_known = call.n
            self.calls.append(call)
            if _is_reply(call):
                self._answered.add(Evidence.parse(call.text).update_id)
        self._tell(f"{len(self.sent)} sent, {len(self._answered)} answered")

    @property
    def backlog(self) -> int:
        """Number of texts that are not answered, as far as is known."""
        return len(self.sent) - len(self._answered)

    def is_answered(self, line: SentText) -> bool:
        """Return whether a reply was seen, as far as is known."""
        return line.update_id in self._answered

    async def all_answered(self, sent: Iterable[SentText] | None = None) -> bool:
        """Wait until all texts sent until now are answered; False after PATIENCE_S without a reply."""
        waiting = {line.update_id for line in (self.sent if sent is None else sent)}
        give_up = time.monotonic() + PATIENCE_S
        while True:
            before = len(self._answered)
            await self.look()
            waiting -= self._answered
            if not waiting:
                return True
            if len(self._answered) > before:
                give_up = time.monotonic() + PATIENCE_S
            elif time.monotonic() > give_up:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)

    async def start(self, plan: BotPlan | None = None) -> None:
        """Start the bot, and return when it works; `plan` as of Service.spawn."""
        await self.bot.start(plan)
        if self._killed_at is not None:
            # Until here: a busy server executes what it had from the dead process only now.
            self.interruptions.append(Interruption(self._killed_at, time.time()))
            self._killed_at = None

    async def kill(self, *, may_have_ended: bool = False) -> None:
        """End the bot as `kill -9` does; RuntimeError if it has ended by itself, and not as it was asked to."""
        began = time.time()
        if not may_have_ended or self.bot.is_running:
            self.bot.send_signal(signal.SIGKILL)
        code = await self.bot.ended()
        if code == -signal.SIGKILL:
            self.kills += 1
            since = await self.unnoted_since(began)
            self._killed_at = min(since, self._killed_at or since)
        elif code or not may_have_ended:
            raise RuntimeError(f"exit code {code}; the log ends: {self.bot.log()[-10:]}")

    async def unnoted_since(self, moment: float) -> float:
        """Return the earliest of `moment` and the executions of calls that the bot, which has ended, has not noted (Unix time).

        On a busy machine, or a slow disk, seconds can pass between the two.
        """
        unnoted = {
            (params["chat_id"], params["text"])
            for method, params in unnoted_calls(self.bot.folder)
            if method == "sendMessage"
        }
        if not unnoted:
            return moment
        calls = [*self.calls, *await self.fake.calls(self._calls_known)]
        seen = (each.at for each in calls if _is_reply(each) and (each.chat_id, each.text) in unnoted)
        return min([moment, *seen])

    async def stop(self) -> None:
        """End the bot as a supervisor does; RuntimeError if that did not go well."""
        if code := (await self.bot.stop()).code:
            raise RuntimeError(f"exit code {code} after SIGTERM; the log ends: {self.bot.log()[-10:]}")

    async def freeze(self, length_s: float, *, thaw: bool = True) -> None:
        """SIGSTOP, and SIGCONT later: for the bot, no time has passed."""
        began = time.time()
        self.bot.send_signal(signal.SIGSTOP)
        await asyncio.sleep(length_s)
        if thaw:
            self.bot.send_signal(signal.SIGCONT)
        self.freezes.append(Interruption(began, time.time()))

    @asynccontextmanager
    async def stalled_store(self) -> AsyncIterator[None]:
        """Meanwhile nothing gets into the running bot's file, as on a disk that does not answer."""
        async with stalled_store(self.bot.folder):
            yield

    async def clear_faults(self) -> None:
        """End all faults; `faults` counts their hits by kind."""
        for fault in await self.fake.faults():
            self.faults[fault.kind] += fault.hits
        await self.fake.clear_faults()

    def replies(self) -> list[BotReply]:
        """The replies that were executed, in order."""
        return [
            BotReply(call.chat_id or 0, Evidence.parse(call.text), call.at, call.status == 200)
            for call in self.calls
            if _is_reply(call)
        ]

    def judge(self) -> Verdict:
        """What the checker says."""
        return check(self.sent, self.replies(), self.gaps())

    def gaps(self) -> list[Interruption]:
        """When answers cannot have reached the bot."""
        return stretched(self.interruptions, self.freezes)

    async def begin_anew(self) -> None:
        """Forget what was seen up to now, and let the fake server forget it."""
        await self.fake.forget(self._calls_known)
        for seen in (self.sent, self.calls, self.interruptions, self.freezes):
            seen.clear()
        self._answered.clear()
        self.faults.clear()


@asynccontextmanager
async def stalled_store(folder: Path) -> AsyncIterator[None]:
    """Meanwhile nothing gets into the file of the bot that runs in this folder."""
    with (folder / "bot.db-shm").open("r+b") as index:
        await asyncio.to_thread(fcntl.lockf, index, fcntl.LOCK_EX, 1, _WAL_WRITE_LOCK)
        yield


def unnoted_calls(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return method and params of the calls that the store of a bot which does not run has not noted as sent."""
    if not (folder / "bot.db").exists():
        return []
    with tempfile.TemporaryDirectory(prefix="chatlane-") as copy:  # not on the bot's disk, which may be full
        for name in ("bot.db", "bot.db-wal"):
            with suppress(FileNotFoundError):  # of the log: after an orderly end
                shutil.copy(folder / name, copy)
        with closing(sqlite3.connect(Path(copy) / "bot.db")) as connection:
            bodies = [bytes(body) for (body,) in connection.execute("SELECT body FROM outbox")]
    return [(method, json.loads(params)) for method, params in map(decode_call, bodies)]


def _is_reply(call: Call) -> bool:
    return call.delivered and call.method == "sendMessage"


@asynccontextmanager
async def open_stage(
    plan: Plan,
    tell: Tell,
    bot_plan: BotPlan | None = None,
    webhooks: str = "",
    program: Sequence[str] = PROGRAM,
    /,
    **settings: str,
) -> AsyncIterator[Stage]:
    """Set everything up, with the bot not yet started; afterwards no process is left.

    `webhooks`: the fake sends to them. `program`: of the bot, as in Service.
    """
    folder = Path(tempfile.mkdtemp(prefix="chatlane-"))
    stage = None
    try:
        async with await RemoteFake.spawn(history=0, seed=plan.seed, local=bool(webhooks)) as fake:
            given = {"WORKERS": str(WORKERS), **settings}
            async with Service(folder, fake.url, fake.token, bot_plan, program, **given) as bot:
                stage = Stage(fake, bot, plan, tell)
                yield stage
    finally:
        if stage is None or not stage.keep_folder:
            shutil.rmtree(folder)
