"""`export` and `erase` of a stopped bot find all records of a user and nothing else, on SQLite and PostgreSQL."""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from engine import Effects, Queue, StoreError, Timer
from engine.model import Call
from engine.stores import open_records, open_store
from engine.stores.contract import append
from engine.stores.contract.store import update
from engine.stores.records import Owner
from engine.stores.sqlite.records import SqliteRecords
from telegram.service.personal import Erase, Export, erase, export, owner_of
from tests.service.test_personal import OTHERS, THEIRS

CALLS = [place for place in THEIRS if owner_of(42).owns(place[0], "")]
"""The calls of a group's lane are the group's."""

COUNT = 3 * len(THEIRS) + len(CALLS)
MARK = b'{"text": "secret of 42"}'
OTHER = b'{"text": "of somebody else"}'


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'bot.db'}"
    return str(request.getfixturevalue("database").url())


@pytest.fixture
async def bot(url: str, new_bot: Callable[[], str]) -> str:
    """A store in which each of THEIRS and OTHERS has a state, a timer, an update, a call, and one is parked and one dead."""
    bot = new_bot()
    store = await open_store(url, bot)
    places = [*((place, MARK) for place in THEIRS), *((place, OTHER) for place in OTHERS)]
    await append(store, [update(n, *place, body) for n, (place, body) in enumerate(places, 1)])
    bodies = dict(places)
    for _ in places:
        delivery = await store.claim(Queue.INBOX)
        place = (delivery.lease.key, delivery.envelope.scope)
        body = bodies[place]
        effects = Effects(calls=(Call(place[0], body),), state=body, timers=(Timer("later", 3600.0, body),))
        await store.commit(delivery, effects, more=False)
    await append(store, [update(n, *place, body) for n, (place, body) in enumerate(places, 101)])
    for _ in range(2):
        delivery = await store.claim(Queue.INBOX)
        await store.park(delivery, 3600.0, counted=True, reason=delivery.envelope.body.decode())
    for _ in range(4):
        delivery = await store.claim(Queue.INBOX)
        await store.bury(delivery, delivery.envelope.body.decode())
    await store.close()
    return bot


async def test_all_of_one_user_is_found_and_erased(url: str, bot: str, capsys: pytest.CaptureFixture[str]):
    before = await everything(url, bot)
    records = await open_records(url, bot)
    assert await export(records, Export(id=42)) == 0
    exported = json.loads(capsys.readouterr().out)
    assert exported["id"] == 42
    found = exported["records"]
    assert {(each["key"], each["scope"]) for each in found if each["table"] != "outbox"} == {*THEIRS}
    assert len(exported["records"]) == COUNT
    assert all(json.loads(MARK) in each.values() for each in exported["records"])
    assert {each["table"] for each in exported["records"]} >= {"state", "timer", "outbox", "inbox"}

    assert not await erase(records, Erase(id=42))
    assert capsys.readouterr().err == f"42 has {COUNT} records; nothing is erased without --yes\n"
    assert await everything_of(records) == before
    assert await erase(records, Erase(id=42, yes=True))
    assert capsys.readouterr().out == f"{COUNT} records erased\n"
    assert await records.of(owner_of(42)) == []
    after = await everything_of(records)
    await records.close()
    mine = owner_of(42).owns
    assert after == [each for each in before if not mine(each.row["key"], each.row["scope"])]
    assert len(after) == len(before) - COUNT
    store = await open_store(url, bot)  # it is whole
    stats = await store.stats()
    assert stats.inbox.pending + len(await store.dead_letters()) == len(OTHERS)
    await store.close()


async def everything_of(records: Any) -> list[Any]:
    return [*await records.of(Owner("", lambda *_: True))]


async def everything(url: str, bot: str) -> list[Any]:
    records = await open_records(url, bot)
    found = await everything_of(records)
    await records.close()
    return found


async def test_nothing_of_it_is_left_in_the_file(tmp_path: Path, new_bot: Callable[[], str]):
    """Neither of what was erased nor of what had been deleted before, also not in the log."""
    path, bot = tmp_path / "bot.db", new_bot()
    store = await open_store(f"sqlite:{path}", bot)
    for n in range(1, 50):
        await append(store, [update(n, "chat:42", "42", MARK * 50)])
        delivery = await store.claim(Queue.INBOX)
        await store.commit(delivery, Effects(state=MARK * n), more=False)
    await store.close()
    assert b"secret of 42" in path.read_bytes()
    records = await open_records(f"sqlite:{path}", bot)
    await erase(records, Erase(id=42, yes=True))
    left = [each.name for each in tmp_path.iterdir() if b"secret of 42" in each.read_bytes()]
    await records.close()
    assert left == []
    assert b"secret of 42" not in path.read_bytes()


async def test_a_group_that_was_upgraded_is_one_with_the_new_one(url: str, new_bot: Callable[[], str]):
    bot = new_bot()
    store = await open_store(url, bot)
    await append(store, [update(1, "chat:-7", "7", MARK)], aliases=[("chat:-7", "chat:-1007")])
    await store.close()
    records = await open_records(url, bot)
    for id_ in (-7, -1007):
        assert [each.row["key"] for each in await records.of(owner_of(id_))] == ["chat:-1007"]
    assert await records.erase(owner_of(-7)) == 1
    await records.close()


async def test_a_bot_that_runs_is_left_alone(url: str, new_bot: Callable[[], str]):
    bot = new_bot()
    store = await open_store(url, bot)
    with pytest.raises(StoreError, match=f"process {os.getpid()}"):
        await open_records(url, bot)
    await store.close()


async def test_a_file_that_does_not_exist_is_not_made(tmp_path: Path):
    with pytest.raises(StoreError, match="does not exist"):
        await open_records(f"sqlite:{tmp_path / 'bot.db'}", "1")
    assert not [*tmp_path.iterdir()]


async def test_a_file_that_cannot_be_rewritten_is_named(tmp_path: Path, new_bot: Callable[[], str]):
    bot, url = new_bot(), f"sqlite:{tmp_path / 'bot.db'}"
    store = await open_store(url, bot)
    await append(store, [update(1, "chat:42", "42", MARK)])
    await store.close()
    records = await open_records(url, bot)
    assert isinstance(records, SqliteRecords)
    connection = records._file.connection
    records._file.connection = cast("Any", WithoutSpace(connection))
    with pytest.raises(StoreError, match=r"erased, but .* could not be rewritten"):
        await erase(records, Erase(id=42, yes=True))
    records._file.connection = connection
    assert await records.of(owner_of(42)) == []
    await records.close()


class WithoutSpace:
    """A connection that cannot VACUUM."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if statement == "VACUUM":
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(statement, *values)
