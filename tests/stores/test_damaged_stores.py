"""Files that are no store of ours, or one no more: one line each, exit code 2, no traceback, and none hangs."""

import asyncio
import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from engine import Call, Effects, Envelope, Queue, StoreError
from engine.model import Timer
from engine.stores import open_store
from engine.stores.contract import append
from engine.stores.sqlite import open_sqlite
from engine.stores.sqlite.file import StoreFile
from telegram.load.bot.service import ROOT
from tests.kit.bounds import WITHIN_S
from tests.kit.chosen import chosen

pytestmark = pytest.mark.processes

BOT = "4200000042"
TOKEN = f"{BOT}:AAmade-up-secret_0123456789abcdefghi"
Spoil = Callable[[Path], object]


async def fill(path: Path, bot: str = BOT, count: int = 200) -> None:
    """A file with something of everything: pending, parked, dead, states, calls, timers, an alias."""
    store = await open_store(f"sqlite:{path}", bot)
    body = b'{"update_id":1,"message":{"text":"' + b"x" * 300 + b'"}}'
    await append(store, [Envelope(number, f"chat:{number % 7}", "", body) for number in range(1, count)])
    for number in range(12):
        delivery = await store.claim(Queue.INBOX)
        match number % 3:
            case 0:
                await store.bury(delivery, "no good")
            case 1:
                await store.park(delivery, 60, counted=True, reason="later")
            case _:
                timers = (Timer(f"t{number}", 60.0, b"{}"),)
                effects = Effects(state=b"{}", calls=(Call("chat:1", b"{}"),), timers=timers)
                await store.commit(delivery, effects, more=False)
    await append(store, [], [("chat:70", "chat:1")])
    await store.close()


def sql(*statements: str) -> Spoil:
    def spoil(path: Path) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return spoil


def cut(size: int) -> Spoil:
    return lambda path: os.truncate(path, size if size >= 0 else path.stat().st_size + size)


def overwrite(offset: int, content: bytes) -> Spoil:
    def spoil(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(content)

    return spoil


def page(name: str, content: bytes = bytes(4096)) -> Spoil:
    """Overwrite the first page of a table or an index."""

    def spoil(path: Path) -> None:
        connection = sqlite3.connect(path)
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (number,) = connection.execute(query, (name,)).fetchone()
        connection.close()
        overwrite((number - 1) * 4096, content)(path)

    return spoil


def other(make: Callable[[Path], object]) -> Spoil:
    """Something else in the place of the file."""

    def spoil(path: Path) -> None:
        path.unlink()
        make(path)

    return spoil


def beside(ending: str, make: Callable[[Path], object]) -> Spoil:
    """Something in the place of a file that belongs to it."""

    def spoil(path: Path) -> None:
        there = path.with_name(path.name + ending)
        there.unlink(missing_ok=True)
        make(there)

    return spoil


def text(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def link(to: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(path.parent / to)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket is short
        listening.bind(path.name)
        os.chdir(here)


def circle(path: Path) -> None:
    path.symlink_to(path.with_name("around"))
    path.with_name("around").symlink_to(path)


def foreign_database(*statements: str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return make


def a_log_of_another(path: Path) -> None:
    """SQLite's log of another database, not folded."""
    foreign = path.with_name("foreign.db")
    connection = sqlite3.connect(foreign)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 500)
    connection.commit()
    shutil.copy(foreign.with_name("foreign.db-wal"), path.with_name(path.name + "-wal"))
    connection.close()


OUR_ID = "PRAGMA application_id = 1128811598"
WRONG_TYPES = {
    "a key that is bytes": "UPDATE inbox SET key = x'00ff' WHERE place = 50",
    "a key that is no UTF-8": "UPDATE inbox SET key = CAST(x'ff' AS TEXT) WHERE place = 50",
    "a scope that is bytes": "UPDATE inbox SET scope = x'00' WHERE place = 50",
    "a scope that is no UTF-8": "UPDATE inbox SET scope = CAST(x'c328' AS TEXT) WHERE place = 50",
    "a body that is text": "UPDATE inbox SET body = 'text' WHERE place = 50",
    "a body that is a number": "UPDATE inbox SET body = 7 WHERE place = 50",
    "a moment that is text": "UPDATE inbox SET at = 'now' WHERE place = 50",
    "a moment that is infinite": "UPDATE inbox SET at = 9e999 WHERE place = 50",
    "a call that is text": "UPDATE outbox SET body = 'text'",
    "attempts that are text": "UPDATE parked SET attempts = 'many'",
    "attempts below zero": "UPDATE parked SET attempts = -1",
    "attempts beyond a number": "UPDATE parked SET attempts = 9223372036854775807",
    "a pause without an end": "UPDATE parked SET delay_s = 9e999, until = 9e999",
    "a pause below zero": "UPDATE parked SET delay_s = -5",
    "parked in no queue": "UPDATE parked SET queue = 'elsewhere' WHERE key = 'chat:2'",
    "a reason that is bytes": "UPDATE parked SET reason = x'00'",
    "a dead letter of no queue": "UPDATE dead SET queue = 'elsewhere'",
    "a dead letter that is text": "UPDATE dead SET body = 'text'",
    "a dead letter without a number of its own": "UPDATE dead SET id = -7",
    "a dead letter whose reason is no UTF-8": "UPDATE dead SET reason = CAST(x'fffe' AS TEXT)",
    "ids in a text": "UPDATE seen SET bits = 'text'",
    "ids in too few bytes": "UPDATE seen SET bits = x'00'",
    "ids of a negative segment": "UPDATE seen SET segment = -1",
    "a timer that is due at no time": "UPDATE timer SET at = 'never'",
    "a timer that is due in no year": "UPDATE timer SET at = 1e300",
    "a timer that is an update": "UPDATE timer SET place = 7 WHERE place = (SELECT min(place) FROM timer)",
    "an alias of bytes": "UPDATE alias SET key = x'00'",
    "an owner's number that is text": "UPDATE meta SET value = 'first' WHERE name = 'owner_epoch'",
    "an owner's number that is nothing": "UPDATE meta SET value = NULL WHERE name = 'owner_epoch'",
    "an owner's number beyond a number": "UPDATE meta SET value = 9223372036854775807 WHERE name = 'owner_epoch'",
    "an owner's number below zero": "UPDATE meta SET value = -1 WHERE name = 'owner_epoch'",
    "calls without a last number": "DELETE FROM meta WHERE name = 'calls'",
    "calls with a number that is text": "UPDATE meta SET value = 'x' WHERE name = 'calls'",
    "timers with a number beyond theirs": "UPDATE meta SET value = 9e18 WHERE name = 'timers'",
}
DAMAGED: dict[str, tuple[Spoil, str]] = {
    "cut within the header": (cut(50), "damaged"),
    "cut after the header": (cut(100), "damaged"),
    "cut after a page": (cut(4096), "damaged"),
    "cut within a page": (cut(10_000), "damaged"),
    "cut in the middle": (cut(-20_000), "damaged"),
    "another magic": (overwrite(0, b"NOT SQLite at a"), "not a database"),
    "zeros at the beginning": (overwrite(0, bytes(4096)), "not a database"),
    "zeros after the magic": (overwrite(16, bytes(84)), "damaged|not a database"),
    "a page size of nothing": (overwrite(16, b"\0\0"), "damaged|not a database"),
    "a page size of another file": (overwrite(16, b"\x02\0"), "damaged|not a database"),
    "a format of tomorrow": (overwrite(18, b"\x09\x09"), "cannot be written|damaged|not a database"),
    "zeros in the pages": (overwrite(4096, bytes(30_000)), "damaged"),
    "ones in the pages": (overwrite(4096, b"\xff" * 30_000), "damaged"),
    "no page of updates": (page("inbox"), "damaged"),
    "a page of updates that leads to itself": (
        page("inbox", b"\x05" + bytes(2) + b"\0\1\x0f\xf0\0" + bytes(4) + b"\x0f\xf0" + bytes(4094)),
        "damaged",
    ),
    "no page of dead letters": (page("dead"), "damaged"),
    "no page of what is parked": (page("parked"), "damaged"),
    "no page of ids": (page("seen"), "damaged"),
    "no page of timers": (page("timer_at"), "damaged"),
    "no page of facts": (page("meta"), "damaged"),
    "garbage in the schema": (
        sql("UPDATE sqlite_master SET sql = 'garbage' WHERE name = 'inbox'"),
        "damaged",
    ),
    "a page of the schema that is none": (
        sql("UPDATE sqlite_master SET rootpage = 99999 WHERE name = 'inbox'"),
        "damaged",
    ),
    "no table of updates": (sql("DROP TABLE inbox"), "damaged"),
    "no table of ids": (sql("DROP TABLE seen"), "damaged"),
    "no table of facts": (sql("DROP TABLE meta"), "damaged"),
    "no index": (sql("DROP INDEX dead_key"), "damaged"),
    "a column less": (sql("ALTER TABLE inbox DROP COLUMN at"), "damaged"),
    "a column more": (sql("ALTER TABLE inbox ADD COLUMN more"), "damaged"),
    "a column of another name": (sql("ALTER TABLE dead RENAME COLUMN reason TO why"), "damaged"),
    "a table that keeps no rule": (
        sql("DROP TABLE state", "CREATE TABLE state (key TEXT, scope TEXT, state BLOB)"),
        "damaged",
    ),
    "a trigger": (
        sql("CREATE TRIGGER t AFTER DELETE ON inbox BEGIN DELETE FROM outbox; END"),
        "damaged .*trigger",
    ),
    "a view in the place of a table": (
        sql("ALTER TABLE alias RENAME TO a", "CREATE VIEW alias AS SELECT name, key FROM a"),
        "damaged .*view",
    ),
    "an older format than there is": (sql("PRAGMA user_version = -3"), "damaged"),
    "no format": (sql("PRAGMA user_version = 0"), "damaged"),
    "an older format than it has": (sql("PRAGMA user_version = 1"), "damaged"),
    "a newer format": (sql("PRAGMA user_version = 99"), "comes from a newer Chatlane"),
    "another program's id": (sql("PRAGMA application_id = 5"), "another program's database"),
    "another bot": (sql("UPDATE meta SET value = '77' WHERE name = 'bot'"), "belongs to bot 77"),
    "no bot": (sql("UPDATE meta SET value = NULL WHERE name = 'bot'"), "belongs to bot None"),
    "a bot of many lines": (
        sql("UPDATE meta SET value = '7' || char(10, 27) || 'run.py: all is well' WHERE name = 'bot'"),
        r"belongs to bot 7\\n\\x1b",
    ),
    "another program's database": (
        other(foreign_database("CREATE TABLE t (x)")),
        "another program's database",
    ),
    "our id on other tables": (other(foreign_database(OUR_ID, "CREATE TABLE t (x)")), "damaged"),
    "our id and format on other tables": (
        other(foreign_database(OUR_ID, "PRAGMA user_version = 5", "CREATE TABLE inbox (x)")),
        "damaged",
    ),
    "a text": (other(text(b"no database at all, " * 500)), "not a database"),
    "one byte": (other(text(b"x")), "not a database"),
    "a folder": (other(Path.mkdir), "it is a folder"),
    "a pipe": (other(os.mkfifo), "no regular file"),
    "a socket": (other(a_socket), "no regular file"),
    "a device that ends never": (other(lambda path: path.symlink_to("/dev/zero")), "no regular file"),
    "a device that has nothing": (other(lambda path: path.symlink_to("/dev/null")), "no regular file"),
    "a link that leads round in a circle": (other(circle), "cannot open"),
    "a link to a folder that is not there": (other(link("no/where.db")), "cannot open"),
    "a log that is a folder": (beside("-wal", Path.mkdir), "it is a folder"),
    "a log that is a pipe": (beside("-wal", os.mkfifo), "no regular file"),
    "a log of another database": (a_log_of_another, "another program's database|damaged"),
    "an index of the log that is a pipe": (beside("-shm", os.mkfifo), "no regular file"),
    "a journal that is a folder": (beside("-journal", Path.mkdir), "it is a folder"),
    "a journal that is a pipe": (beside("-journal", os.mkfifo), "no regular file"),
    "a journal that is a socket": (beside("-journal", a_socket), "no regular file"),
    "a journal that ends never": (
        beside("-journal", lambda path: path.symlink_to("/dev/zero")),
        "no regular file",
    ),
    "a lock that is a folder": (beside("-lock", Path.mkdir), "it is a folder"),
    "a lock that is a pipe": (beside("-lock", os.mkfifo), "no regular file"),
    **{name: (sql(statement), "damaged") for name, statement in WRONG_TYPES.items()},
}
UNHARMED: dict[str, Spoil] = {
    "a log that is garbage": beside("-wal", text(b"garbage" * 5000)),
    "a log that is empty": beside("-wal", text(b"")),
    "an index of the log that is garbage": beside("-shm", text(b"\xff" * 32768)),
    "notes that are garbage": beside("-running", text(b"\xff" * 4096)),
    "notes that are a folder": beside("-running", Path.mkdir),
    "notes that are a pipe": beside("-running", os.mkfifo),
    "a reserve that is a folder": beside("-reserve", Path.mkdir),
    "a reserve that is a pipe": beside("-reserve", os.mkfifo),
    "an owner that is no number": sql("UPDATE meta SET value = 'x' WHERE name = 'owner'"),
    "an owner of bytes": sql("UPDATE meta SET value = x'00' WHERE name = 'owner'"),
    "an index more": sql("CREATE INDEX mine ON dead (at)"),
    "a table more": sql("CREATE TABLE mine (x)"),
    "what ANALYZE leaves": sql("ANALYZE"),
    "long words": sql(f"UPDATE dead SET reason = '{'long ' * 100_000}'"),
    "a key that is not ASCII": sql("UPDATE inbox SET key = 'chat:é' WHERE place = 50"),
}


def outcomes(folder: Path, spoils: dict[str, Spoil]) -> dict[str, tuple[int, str, str]]:
    """What `run.py dead` says to each of them."""
    asyncio.run(fill(folder / "whole.db"))
    cases = []
    for number, spoil in enumerate(spoils.values()):
        place = folder / str(number)
        place.mkdir()
        shutil.copy(folder / "whole.db", place / "bot.db")
        spoil(place / "bot.db")
        cases.append((["dead"], str(place), {"BOT_TOKEN": TOKEN, "STORE_URL": "sqlite:bot.db"}))
    command = [sys.executable, "-m", "tests.kit.forks"]
    done = subprocess.run(
        command, input=json.dumps(cases), capture_output=True, text=True, cwd=ROOT, timeout=300, check=True
    )
    return dict(zip(spoils, json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def damaged(request, tmp_path_factory):
    names = chosen(request, test_what_is_wrong_with_a_file_is_one_line, "name")
    return outcomes(tmp_path_factory.mktemp("damaged"), {name: DAMAGED[name][0] for name in names})


@pytest.fixture(scope="module")
def unharmed(request, tmp_path_factory):
    names = chosen(request, test_what_does_no_harm_is_no_reason_to_stop, "name")
    return outcomes(tmp_path_factory.mktemp("unharmed"), {name: UNHARMED[name] for name in names})


def test_there_are_many_of_them():
    assert len(DAMAGED) >= 60


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_wrong_with_a_file_is_one_line(damaged, name):
    code, out, err = damaged[name]
    assert (code, out) == (2, ""), err
    assert re.fullmatch(rf"run\.py: [^\n]*({DAMAGED[name][1]})[^\n]*\n", err), err
    assert err[:-1].isprintable()
    assert len(err) < 500


@pytest.mark.parametrize("name", UNHARMED)
def test_what_does_no_harm_is_no_reason_to_stop(unharmed, name):
    code, out, err = unharmed[name]
    assert (code, "Traceback" in err) == (0, False), err
    assert "no good" in out or "long long" in out
    assert max(map(len, out.splitlines())) < 1500


async def test_a_state_that_is_no_bytes_is_told_when_it_is_read(tmp_path):
    path = tmp_path / "bot.db"
    await fill(path)
    sql("UPDATE state SET state = 'text'")(path)
    store = await open_store(f"sqlite:{path}", BOT)
    connection = sqlite3.connect(path)
    (key,) = connection.execute("SELECT key FROM state").fetchone()
    connection.close()
    with pytest.raises(StoreError, match=r"is damaged .*is no bytes"):
        await store.state(key, "")
    await store.close()


@pytest.mark.parametrize("column", ["body", "scope", "name", "key"])
@pytest.mark.parametrize("is_due_at_the_start", [True, False])
async def test_a_timer_of_wrong_types_is_told_when_it_is_due(tmp_path, column, is_due_at_the_start):
    path = tmp_path / "bot.db"
    clock = [1000.0]
    store = await open_sqlite(path, BOT, wall=lambda: clock[0])
    await append(store, [Envelope(1, "chat:1", "", b"")])
    effects = Effects(timers=(Timer("t", 60.0, b"{}"),))
    await store.commit(await store.claim(Queue.INBOX), effects, more=False)
    await store.close()
    sql(f"UPDATE timer SET {column} = {'7' if column == 'body' else 'CAST(5 AS BLOB)'}")(path)
    clock[0] += 1000 * is_due_at_the_start + 59.9
    with pytest.raises(StoreError, match="is damaged"):
        store = await open_sqlite(path, BOT, wall=lambda: clock[0])
        try:
            clock[0] += 0.2
            async with asyncio.timeout(WITHIN_S):
                await store.claim(Queue.INBOX)
        finally:
            await store.close()


def test_places_that_do_not_grow_are_no_order():
    """A page that is there twice could be read for ever."""
    file = SimpleNamespace(connection=mock.Mock(execute=lambda _: iter([(1, "a"), (2, "b"), (2, "b")])))
    with pytest.raises(StoreError, match="has no order"):
        list(StoreFile.pending(file, "inbox"))  # type: ignore[arg-type] # as much as is needed


# -- who may read the files --------------------------------------------------------------------------------------------


def modes(folder: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
async def test_only_the_owner_can_read_a_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        store = await open_store(f"sqlite:{tmp_path / 'bot.db'}", BOT)
        await append(store, [Envelope(1, "chat:1", "", b"secret")])
    finally:
        os.umask(before)
    found = modes(tmp_path)
    await store.close()
    names = ("bot.db", "bot.db-wal", "bot.db-shm", "bot.db-lock", "bot.db-running", "bot.db-reserve")
    assert found == dict.fromkeys(names, 0o600)


async def test_the_files_of_before_are_closed_to_others(tmp_path):
    path = tmp_path / "bot.db"
    await fill(path)
    for name in ("bot.db-wal", "bot.db-shm"):
        (tmp_path / name).touch()
    for each in tmp_path.iterdir():
        each.chmod(0o666)
    store = await open_store(f"sqlite:{path}", BOT)
    found = modes(tmp_path)
    await store.close()
    assert len(found) >= 5
    assert set(found.values()) == {0o600}
