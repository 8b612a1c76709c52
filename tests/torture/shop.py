"""`kill -9` while more people order than there are goods: the stock is sold exactly once, on SQLite and on PostgreSQL.

1,000 chats order one piece each of a stock of 100, while the bot is killed again and again: on PostgreSQL one of several processes, or
all of them. It uses ctx.sql, and on PostgreSQL also ctx.transaction. Then: 100 order rows, none twice,
the stock is 0, and each buyer's answer agrees with the database; an answer that was in flight at a kill may come twice.
"""

import asyncio
import random
import sqlite3
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg

from telegram.fake import FakeServer
from telegram.load.bot.service import Service
from telegram.load.checkers.checker import Verdict
from tests.kit.database import Server, can_start
from tests.torture.report import Plan, Result, Tell
from tests.torture.shop_bot import SOLD, SOLD_OUT, STOCK

FIRST_CHAT: Final = 1001
CHATS: Final = 1_000
_MORE_S: Final = (0.0, 0.02)
"""How long after the answer that makes it due a kill comes."""

_ALL_EVERY: Final = 3  # of the rounds: all processes are killed
_PATIENCE_S: Final = 120.0
_LOOK_EVERY_S: Final = 0.01


class Books(NamedTuple):
    """What the database says at the end: the stock, and (number, chat) of each order."""

    stock: int
    orders: list[tuple[int, int]]


def judge(books: Books, answers: Mapping[int, Iterable[str]], chats: Iterable[int]) -> list[str]:
    """Return what is wrong; `answers` are the bot's texts by chat."""
    sold = Counter(chat for _, chat in books.orders)
    wrong = [f"chat {chat} has {count} orders" for chat, count in sold.items() if count > 1]
    if books.stock != STOCK - len(books.orders) or books.stock < 0:
        wrong.append(f"{len(books.orders)} orders, and {books.stock} of {STOCK} left")
    if len(books.orders) != min(STOCK, len(list(chats))):
        wrong.append(f"{len(books.orders)} orders")
    for chat in chats:
        said = set(answers.get(chat, ()))
        numbers = [number for number, of in books.orders if of == chat]
        expected = (
            {f"{SOLD} {numbers[0]}"} if numbers else {each for each in said if each.startswith(SOLD_OUT)}
        )
        if len(expected) != 1 or said != expected:
            wrong.append(f"chat {chat}: {len(numbers)} orders, and the answers {sorted(said)}")
    return wrong


def _answers(fake: FakeServer) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for call in fake.calls:
        if call.method == "sendMessage" and call.delivered and call.status == 200:
            found[int(call.params["chat_id"])].append(call.text or "")
    return found


async def _books_of_file(path: Path) -> Books:
    with closing(sqlite3.connect(path)) as file:
        (stock,) = file.execute("SELECT stock FROM goods").fetchone()
        return Books(stock, file.execute("SELECT number, chat FROM orders").fetchall())


async def _books_of_server(url: str) -> Books:
    connection: Any = await asyncpg.connect(url.partition("?")[0])
    try:
        orders = await connection.fetch("SELECT number, chat FROM orders")
        return Books(await connection.fetchval("SELECT stock FROM goods"), [tuple(row) for row in orders])
    finally:
        await connection.close()


class Shop(NamedTuple):
    """How it sells: the bot's handlers, the number of processes, and whether they share a database."""

    name: str
    handlers: str
    processes: int
    is_shared: bool


SHOPS: Final = (
    Shop("SQLite", "router", 1, is_shared=False),
    Shop("PostgreSQL, ctx.sql", "router", 3, is_shared=True),
    Shop("PostgreSQL, ctx.transaction", "transacting", 3, is_shared=True),
)


class Sale(NamedTuple):
    """How it went on one store."""

    chats: int
    answers: int
    repeated: int
    failures: list[str]
    facts: str


async def _sale(plan: Plan, tell: Tell, shop: Shop, folder: Path, url: str | None) -> Sale:
    rng = random.Random(plan.seed)
    chats = range(FIRST_CHAT, FIRST_CHAT + CHATS)
    settings = {"HANDLERS": f"tests.torture.shop_bot:{shop.handlers}"}
    if url is not None:
        settings["STORE_URL"] = url
    async with FakeServer(seed=plan.seed) as fake, AsyncExitStack() as stack:
        bots = []
        for number in range(shop.processes):
            (own := folder / str(number)).mkdir()
            bots.append(await stack.enter_async_context(Service(own, fake.url, fake.token, **settings)))
        for chat in chats:
            fake.world.send_message(chat, chat, "one, please")
        kills = await _with_kills(plan, tell, shop, bots, fake, rng)
        give_up = time.monotonic() + _PATIENCE_S
        while len(_answers(fake)) < CHATS and time.monotonic() < give_up:
            await asyncio.sleep(_LOOK_EVERY_S)
            tell(f"{shop.name}: {len(_answers(fake))} answered")
        failures = [
            f"{shop.name}: exit code {ended.code} at the stop"
            for ended in await asyncio.gather(*(bot.stop() for bot in bots))
            if ended.code
        ]
        dead = await bots[0].command("dead")
        if "update" in dead.out:
            failures.append(f"{shop.name}: dead letters: {dead.out[:200]}")
        answers = _answers(fake)
    books = await (_books_of_file(folder / "0" / "bot.db") if url is None else _books_of_server(url))
    failures += [f"{shop.name}: {each}" for each in judge(books, answers, chats)]
    said = sum(map(len, answers.values()))
    sold = sum(any(each.startswith(SOLD) for each in some) for some in answers.values())
    facts = (
        f"{kills} kills, {CHATS} chats ordered, {len(books.orders)} order rows, {books.stock} left, {sold} with the answer that it is theirs,"
        f" {len(answers) - sold} that it is sold out, {said - len(answers)} answers sent again"
    )
    return Sale(CHATS, said, said - len(answers), failures, facts)


async def _with_kills(
    plan: Plan, tell: Tell, shop: Shop, bots: list[Service], fake: FakeServer, rng: random.Random
) -> int:
    """Kill one of the processes, or all of them, each time that some more have an answer; all run at the end."""
    kills = 0
    for bot in bots:
        await bot.spawn()
    for round_ in range(plan.rounds):
        goal = CHATS * (round_ + 1) // (plan.rounds + 1)
        give_up = time.monotonic() + _PATIENCE_S
        while (answered := len(_answers(fake))) < goal and time.monotonic() < give_up:
            await asyncio.sleep(_LOOK_EVERY_S)
        await asyncio.sleep(rng.uniform(*_MORE_S))
        victims = bots if round_ % _ALL_EVERY == 0 else [rng.choice(bots)]
        await asyncio.gather(*(bot.kill() for bot in victims))
        kills += len(victims)
        for bot in victims:
            await bot.spawn()
        tell(f"{shop.name}: {kills} kills, {answered} answered")
    await asyncio.gather(*(bot.working() for bot in bots))
    return kills


async def run(plan: Plan, tell: Tell) -> Result:
    """Sell the stock on each store, killing the bot up to `plan.rounds` times."""
    began = time.monotonic()
    sales: dict[str, Sale] = {}
    for shop in SHOPS:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = None
            if shop.is_shared:
                if not can_start():
                    continue
                server = await asyncio.to_thread(Server)
                stack.callback(server.remove)
                url = server.url()
            sales[shop.name] = await _sale(plan, tell, shop, folder, url)
    facts = {store: sale.facts for store, sale in sales.items()}
    failures = [each for sale in sales.values() for each in sale.failures]
    updates = sum(each.chats for each in sales.values())
    replies = sum(each.answers for each in sales.values())
    repeated = sum(each.repeated for each in sales.values())
    return Result(
        "shop", Verdict(updates, replies, repeated, 0, ()), time.monotonic() - began, facts, failures
    )
