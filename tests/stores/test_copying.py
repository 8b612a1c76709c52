"""A copied bot has all that it had, in SQLite and in PostgreSQL, and goes on; a copy that does not succeed changes nothing."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from engine import Queue, StoreError
from engine.errors import StoreUnavailable
from engine.stores import bots_of, migrate_schema, open_moving, open_store
from engine.stores.contract import append
from engine.stores.contract.store import update
from engine.stores.copying import Copied, copy
from engine.stores.moving import BATCH, KINDS, LARGE_BYTES, Moving, Tally
from engine.stores.owned.shares import share_of
from telegram.operating.copying import Copy, copy_bot
from tests.stores.random_bot import RandomBot, drained, everything

Urls = Callable[[str], str]


@pytest.fixture
def new_url(database: Any, tmp_path: Path, new_bot: Callable[[], str]) -> Urls:
    """Return a function that returns the URL of a new store of this kind."""

    def url(kind: str) -> str:
        name = f"copy_{new_bot()}"
        return f"sqlite:{tmp_path / name}.db" if kind == "sqlite" else str(database.url(name))

    return url


@asynccontextmanager
async def both(
    source: str, target: str, bot: str, *, again: bool = False
) -> AsyncIterator[tuple[Moving, Moving]]:
    of = await open_moving(source, bot, is_source=True, again=again)
    try:
        to = await open_moving(target, bot, is_source=False)
        try:
            yield of, to
        finally:
            await to.close()
    finally:
        await of.close()


async def copied(source: str, target: str, bot: str, *, again: bool = False) -> Copied:
    async with both(source, target, bot, again=again) as stores:
        return await copy(*stores)


async def filled(url: str, bot: str, seed: int, steps: int = 150) -> None:
    store = await open_store(url, bot)
    await RandomBot(store, random.Random(seed)).work(steps)
    assert (await store.audit()).problems == []
    await store.close()


async def test_no_cursor_of_a_write_leaves_its_thread(new_url: Urls, new_bot: Any, monkeypatch: Any):
    """Freed elsewhere, it would reset its statement while the next batch uses it (cpython: Modules/_sqlite/cursor.c)."""
    first, bot = new_url("sqlite"), new_bot()
    await filled(first, bot, seed=0)
    results: list[object] = []

    async def kept(*step: Any) -> Any:
        results.append(await asyncio.get_running_loop().run_in_executor(None, *step))
        return results[-1]

    monkeypatch.setattr("engine.stores.sqlite.moving.asyncio.to_thread", kept)
    await copied(first, new_url("sqlite"), bot)
    assert len(results) > len(KINDS)
    assert not [each for each in results if isinstance(each, sqlite3.Cursor) and each.description is None]


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_a_bot_has_is_the_same_after_copies_there_and_back(
    new_url: Urls, new_bot: Any, seed: int
):
    first, bot = new_url("sqlite"), new_bot()
    await filled(first, bot, seed)
    before = await everything(first, bot)
    assert seed > 1 or all(before.values())
    kept = shutil.copy(first.removeprefix("sqlite:"), first.removeprefix("sqlite:") + ".kept")
    stores = [first, *map(new_url, ["postgres", "postgres", "sqlite", "sqlite", "postgres"])]
    for source, target in pairwise(stores):
        result = await copied(source, target, bot)
        assert {kind: tally.count for kind, tally in result.kinds.items()} == {
            k: len(v) for k, v in before.items()
        }
        assert await everything(source, bot) == await everything(target, bot) == before
    await copied(stores[-2], sqlite := new_url("sqlite"), bot, again=True)
    expected = await drained(f"sqlite:{kept}", bot)
    assert await drained(stores[-1], bot) == expected
    assert await drained(sqlite, bot) == expected


async def test_a_store_with_many_processes_is_copied_with_its_mail(new_url: Urls, new_bot: Any):
    """What one process wrote for the chats of another one that has ended since is filed, in its order."""
    url, bot = new_url("postgres"), new_bot()
    first = await open_store(url, bot, shared=True)
    second = await open_store(url, bot, shared=True)
    await append(first, [update(n, f"chat:{n % 40}") for n in range(1, 200)])
    for store in (first, second):  # what each is sent by mail stays: neither looks any more
        await store.close()
    schema = url.partition("?schema=")[2]
    connection = await asyncpg.connect(url.partition("?")[0])
    letters = [
        ("call", "chat:1", b"one"),
        ("call", "chat:1", b"two"),
        ("post", "chat:2", b"event"),
        ("state", "chat:2", b""),
    ]
    for kind, key, body in [*letters, ("hold", "chat:3", b"why")]:
        await connection.execute(
            f"INSERT INTO {schema}.mail (bot, share, kind, key, scope, place, at, body) VALUES ($1, 0, $2, $3, $4, 0, 1.0, $5)",
            *(int(bot), kind, key, "inbox" if kind == "hold" else "", body),
        )
    shares = "UPDATE {0}.mail SET share = s.no FROM (VALUES ('chat:1', $1::int), ('chat:2', $2), ('chat:3', $3)) s(key, no)"
    await connection.execute(
        shares.format(schema) + " WHERE mail.key = s.key", *(share_of(f"chat:{n}") for n in (1, 2, 3))
    )
    result = await copied(url, target := new_url("sqlite"), bot)
    assert result.kinds["inbox"].count == 199
    store = await open_store(target, bot)
    assert await store.holds(Queue.INBOX) == {"chat:3": "why"}
    assert (await store.claim(Queue.OUTBOX)).envelope.body == b"one"
    await store.close()
    assert (await everything(target, bot))["outbox"][1][3] == b"two"
    await connection.close()


async def test_mail_of_a_later_version_is_not_left_behind(new_url: Urls, new_bot: Any):
    url, bot = new_url("postgres"), new_bot()
    await filled(url, bot, 0, steps=10)
    connection = await asyncpg.connect(url.partition("?")[0])
    mail = "(bot, share, kind, key, scope, place, at, body) VALUES ($1, 0, 'new', '', '', 0, 0, '')"
    await connection.execute(f"INSERT INTO {url.partition('?schema=')[2]}.mail {mail}", int(bot))
    await connection.close()
    with pytest.raises(StoreError, match="mail that this version does not know"):
        await copied(url, new_url("sqlite"), bot)


class Failing:
    """A store whose method fails once: before it does something, or after it."""

    def __init__(self, store: Moving, method: str, at: int, *, after: bool) -> None:
        self._store = store
        self._method = method
        self._at = at
        self._after = after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name != self._method:
            return real

        async def fails(*args: Any) -> Any:
            self._at -= 1
            if self._at >= 0:
                return await real(*args)
            if self._after:
                await real(*args)
            raise StoreUnavailable("the line is cut")

        return fails


CUTS = [
    *(("target", "write", at) for at in (0, 3, 7)),
    ("target", "begin", 0),
    ("target", "raise_marks", 0),
    ("target", "commit", 0),
    ("source", "mark_moved", 0),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("which", "method", "at"), CUTS)
@pytest.mark.parametrize("kinds", [("sqlite", "postgres"), ("postgres", "sqlite")])
async def test_a_copy_that_is_cut_changes_nothing_or_is_complete(
    new_url: Urls, new_bot: Any, kinds: tuple[str, str], which: str, method: str, at: int, after: bool
):
    source, target, bot = new_url(kinds[0]), new_url(kinds[1]), new_bot()
    await filled(source, bot, 0)
    before = await everything(source, bot)
    with pytest.raises(StoreUnavailable, match="the line is cut"):
        async with both(source, target, bot) as stores:
            of, to = [
                Failing(each, method, at, after=after) if which == name else each
                for name, each in zip(("source", "target"), stores, strict=True)
            ]
            await copy(of, to)
    assert await everything(source, bot) == before
    is_complete = method == "mark_moved" or (method == "commit" and after)
    assert await everything(target, bot) == (before if is_complete else {table: [] for table in before})
    if method == "mark_moved" and after:
        with pytest.raises(StoreError, match=r"was moved to .*: set STORE_URL to that"):
            await copied(source, target, bot)
    else:
        result = await copied(source, target, bot)
        assert result.was_there == is_complete
    assert await everything(target, bot) == before
    with pytest.raises(StoreError, match=r"was moved to .*: set STORE_URL to that"):
        await open_store(source, bot)


async def test_a_target_with_other_work_is_left_alone(new_url: Urls, new_bot: Any):
    for kinds in (("sqlite", "postgres"), ("postgres", "sqlite")):
        source, target, bot = new_url(kinds[0]), new_url(kinds[1]), new_bot()
        await filled(source, bot, 0)
        await filled(target, bot, 1, steps=10)
        before = await everything(target, bot)
        with pytest.raises(StoreError, match="has work of this bot already"):
            await copied(source, target, bot)
        assert await everything(target, bot) == before
        await (await open_store(source, bot)).close()  # it is not marked


async def test_other_bots_of_the_schema_stay_what_they_are(new_url: Urls, new_bot: Any):
    url, one, other = new_url("postgres"), new_bot(), new_bot()
    await filled(url, one, 0)
    await filled(url, other, 1)
    before = await everything(url, one)
    assert sorted(await bots_of(url)) == sorted([one, other])
    await copied(url, target := new_url("sqlite"), other)
    assert await bots_of(target) == [other]
    assert await everything(url, one) == before
    await (await open_store(url, one)).close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_bot_that_runs_is_not_copied(new_url: Urls, new_bot: Any, kind: str):
    used, free, bot = new_url(kind), new_url("sqlite"), new_bot()
    await filled(free, bot, 0, steps=10)
    store = await open_store(used, bot, shared=True)
    for source, target in ((used, new_url("sqlite")), (free, used)):
        with pytest.raises(StoreError, match="is in use by process"):
            await copied(source, target, bot)
    await store.close()


async def test_a_process_that_waits_while_a_bot_is_copied_does_not_start_beside_the_copy(
    new_url: Urls, new_bot: Any
):
    source, bot = new_url("postgres"), new_bot()
    await filled(source, bot, 0, steps=10)
    async with both(source, new_url("sqlite"), bot) as stores:
        waiting = asyncio.create_task(open_store(source, bot, shared=True))
        await copy(*stores)
        await asyncio.sleep(0)
        assert not waiting.done()
    with pytest.raises(StoreError, match="was moved to"):
        await waiting


async def test_what_differs_is_not_committed(new_url: Urls, new_bot: Any, monkeypatch: pytest.MonkeyPatch):
    source, target, bot = new_url("sqlite"), new_url("postgres"), new_bot()
    await filled(source, bot, 0)
    with pytest.raises(StoreError, match="has other rows of state than were copied"):
        async with both(source, target, bot) as (of, to):
            rows = to.rows

            async def fewer(kind: str) -> Any:
                async for batch in rows(kind):
                    yield batch[1:] if kind == "state" else batch

            monkeypatch.setattr(to, "rows", fewer)
            await copy(of, to)
    assert not any((await everything(target, bot)).values())
    with pytest.raises(StoreError, match="would use ids of calls again"):
        async with both(source, target, bot) as (of, to):

            async def nothing(_: Any) -> None:
                pass

            monkeypatch.setattr(to, "raise_marks", nothing)
            await copy(of, to)
    assert not any((await everything(target, bot)).values())


async def test_ids_go_on_above_all_that_were_used(new_url: Urls, new_bot: Any):
    """Also when what had them is gone: a dead letter's number that was discarded is not given again."""
    source, bot = new_url("sqlite"), new_bot()
    await filled(source, bot, 0)
    with closing(sqlite3.connect(source.removeprefix("sqlite:"))) as connection:
        connection.execute("UPDATE sqlite_sequence SET seq = 5000 WHERE name = 'dead'")
        connection.execute("UPDATE meta SET value = 70000 WHERE name IN ('calls', 'timers')")
        connection.commit()
    for kind in ("postgres", "sqlite"):
        result = await copied(source, target := new_url(kind), bot)
        assert min(result.marks.values()) >= 5000
        source = target
    store = await open_store(source, bot)
    await append(store, [update(10**9, "chat:new")])
    while (delivery := await store.claim(Queue.INBOX)).lease.key != "chat:new":
        pass
    await store.bury(delivery, "it is new")
    assert (await store.dead_letters(1))[0].number > 5000
    await store.close()


async def test_texts_that_a_database_cannot_have(new_url: Urls, new_bot: Any):
    """A NUL in a reason is written as two characters; in a key nothing is copied."""
    source, bot = new_url("sqlite"), new_bot()
    store = await open_store(source, bot)
    await append(store, [update(1, "chat:1")])
    await store.bury(await store.claim(Queue.INBOX), "a\0b")
    await store.close()
    await copied(source, new_url("postgres"), bot)
    store = await open_store(new := new_url("sqlite"), bot)
    await append(store, [update(2, "chat:\0")])
    await store.close()
    with pytest.raises(StoreError, match="refuses a row of inbox"):
        await copied(new, new_url("postgres"), bot)
    await (await open_store(new, bot)).close()


async def test_the_command(new_url: Urls, new_bot: Any, capsys: pytest.CaptureFixture[str]):
    source, target, bot = new_url("sqlite"), new_url("postgres"), new_bot()
    store: Any = await open_store(source, bot)
    await store.create_tables("CREATE TABLE IF NOT EXISTS orders (n INTEGER)")
    await store.close()
    await filled(source, bot, 0)
    await copy_bot(Copy(**{"from": source, "to": target}), None)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[0] for line in lines[: len(KINDS)]] == list(KINDS)
    assert f"bot {bot} is copied, and equal in both" in printed.out
    assert "not copied: your own tables orders\n" in printed.out
    assert lines[-1].startswith(f"{source} is marked as moved")
    assert "state: " in printed.err
    for wrong, message in (
        ({"from": source, "to": target}, "was moved to postgres://127.0.0.1"),
        ({"from": source, "to": source}, "same store"),
        ({"from": new_url("sqlite"), "to": target}, "does not exist"),
        ({"from": new_url("postgres"), "to": target}, "has no tables of a bot"),
        ({"from": "memory:", "to": target}, "cannot be copied"),
        ({"from": "redis://x", "to": target}, "is not known"),
    ):
        with pytest.raises(StoreError, match=message):
            await copy_bot(Copy(**wrong), None)
    with pytest.raises(StoreError, match="has nothing of bot 99"):
        await copy_bot(Copy(**{"from": target, "to": new_url("sqlite")}), "99")
    await filled(target, other := new_bot(), 1, steps=10)
    with pytest.raises(StoreError, match=f"FROM has bots .*{other}.*: set BOT_TOKEN"):
        await copy_bot(Copy(**{"from": target, "to": new_url("sqlite")}), None)


def test_rows_that_differ_have_other_digests():
    """Whatever moves from one value to the next; the order of the rows does not matter."""
    rows: list[Any] = [
        ("a", "b", 1, 2.0, b"c"),
        ("ab", "", 1, 2.0, b"c"),
        ("a", "b", 12, 0.0, b"c"),
        ("a", "b", 1, 2.0, b"cc"),
    ]
    digests = set()
    for row in rows:
        tally = Tally()
        tally.add([row])
        digests.add(tally.digest)
    assert len(digests) == len(rows)
    one, other = Tally(), Tally()
    one.add(rows)
    other.add(reversed(rows))
    assert one == other
    other.add(rows[:1])
    assert one != other


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_batches_are_bounded_in_bytes(new_url: Urls, new_bot: Any, kind: str):
    url, bot = new_url(kind), new_bot()
    store = await open_store(url, bot)
    sizes = [BATCH * [10], 3 * [LARGE_BYTES], 3 * [LARGE_BYTES + 1], [10]]
    bodies = [bytes(size) for some in sizes for size in some]
    await append(store, [update(n, "chat:1", body=body) for n, body in enumerate(bodies, 1)])
    await store.close()
    moving = await open_moving(url, bot, is_source=True)
    batches = [batch async for batch in moving.rows("inbox")]
    await moving.close()
    assert sum(map(len, batches)) == len(bodies)
    assert max(map(len, batches)) == BATCH
    assert all(len(batch) == 1 for batch in batches if any(len(row[3]) > LARGE_BYTES for row in batch))


async def test_a_session_that_was_ended_copies_nothing(new_url: Urls, new_bot: Any):
    source, target, bot = new_url("sqlite"), new_url("postgres"), new_bot()
    await filled(source, bot, 0, steps=10)
    async with both(source, target, bot) as stores:
        connection = await asyncpg.connect(target.partition("?")[0])
        await connection.execute(f"DELETE FROM {target.partition('?schema=')[2]}.session")
        await connection.close()
        with pytest.raises(StoreUnavailable):
            await copy(*stores)
    assert not any((await everything(target, bot)).values())


async def test_each_table_is_copied_or_named_as_what_only_its_store_needs(new_url: Urls, new_bot: Any):
    """A new table with rows of bots has to be added to KINDS, or to these."""
    url, path = new_url("postgres"), new_url("sqlite")
    for each in (url, path):
        await (await open_store(each, new_bot())).close()
    await migrate_schema(url, None)
    connection = await asyncpg.connect(url.partition("?")[0])
    query = "SELECT table_name, count(*) FILTER (WHERE column_name = 'bot') FROM information_schema.columns"
    rows = await connection.fetch(f"{query} WHERE table_schema = $1 GROUP BY 1", url.partition("?schema=")[2])
    await connection.close()
    of_bots = {name for name, has_bot in rows if has_bot}
    assert of_bots - set(KINDS) == {"session", "share", "mark", "mail", "desk", "asked", "journal"}
    assert {name for name, has_bot in rows if not has_bot} == {"meta", "canary", "bot", "answered"}
    with closing(sqlite3.connect(path.removeprefix("sqlite:"))) as file:
        tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables - set(KINDS) == {"meta", "sqlite_sequence"}
