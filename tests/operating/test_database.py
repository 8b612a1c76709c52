"""The operator's commands on PostgreSQL, beside the process that has the bot."""

import re
from typing import Any

import pytest

from engine.stores.postgres.tools.desk import Answered, Operators, ProcessDesk
from telegram.fake import FakeServer
from telegram.load.bot.service import Service
from telegram.operating import database as module
from telegram.operating.database import DatabaseAudit, NoAnswer, ask_processes, is_meant, merged
from tests.operating.test_commands import BOT, dead_letters, out

pytestmark = pytest.mark.processes


@pytest.fixture
def url(database, tmp_path):
    return database.url(f"operator_{tmp_path.name}".lower().replace("-", "_")[:50])


async def test_everything_beside_the_process_that_has_the_bot(tmp_path, url):
    (tmp_path / "poisoned.py").write_text(BOT)
    async with (
        FakeServer() as server,
        Service(
            tmp_path, server.url, server.token, HANDLERS="poisoned:router", APOLOGY="none", STORE_URL=url
        ) as bot,
    ):
        assert await out(bot, "dead") == "no dead letters\n"  # no bot runs, and no table is there
        await bot.start()
        server.world.send_message(5, 5, "poison")
        await dead_letters(bot, 1)
        shown = await out(bot, "dead", "--show=1")
        assert 'raise TypeError("bad code")' in shown
        assert await out(bot, "park", "chat:6") == "parked, until: run.py release\n"
        server.world.send_message(6, 6, "waits")
        while not re.search(r" 1 .*chat:6  parked \(parked by", await out(bot, "lanes")):
            pass
        assert f"process {bot.pid} on " in await out(bot, "stats")
        assert await out(bot, "release", "chat:6") == "released\n"
        await server.wait_for_calls(1, "sendMessage", delivered=True)
        (tmp_path / "mended").touch()
        assert await out(bot, "replay", "1") == "1 put back; the bot handles them now\n"
        await server.wait_for_calls(2, "sendMessage", delivered=True)
        wrong = await bot.command("drain", "--process=none@nowhere")
        assert re.fullmatch(rf"run\.py: name one process by --process: {bot.pid}@\S+\n", wrong.err)
        assert "handlers" in await out(bot, "drain", f"--process={bot.pid}")
        assert await bot.ended() == 0
        assert await out(bot, "stats") != ""  # at once: the process has left
        await bot.start()
        await bot.kill()  # its row and its hold stay for a while
        done = await bot.command("stats")
        assert done.out.startswith("no bot runs") or "is in use by process" in done.err
        audit = DatabaseAudit(url, server.token.partition(":")[0])
        entries = await audit.tail(100)
        assert [entry["what"] for entry in entries[:2]] == ["drain", "drain"]
        assert {entry["where"] for entry in entries} == {"database", "store"}
        assert server.token not in str(entries)
        assert not list(tmp_path.glob("*audit*"))


async def test_each_process_is_asked_and_answers_with_its_own(database, url, new_bot):
    bot = new_bot()
    from engine.stores.postgres import open_postgres

    await (await open_postgres(url, bot, renew_every_s=None)).close()
    asked = []

    async def answer(name: str, params: str, who: str) -> Answered:
        asked.append((name, params, who))
        return Answered(400, "it says no") if name == "park" else Answered(200, '{"result": "done", "n": 1}')

    async with (
        ProcessDesk(url, bot, "1@a#00", answer),
        ProcessDesk(url, bot, "2@a#00", answer),
        ProcessDesk(url, new_bot(), "3@a#00", answer),
        Operators(url, bot) as operators,
    ):
        while len(processes := await operators.processes()) < 2:
            pass
        assert processes == ["1@a#00", "2@a#00"]
        answers = await operators.ask(processes, "x", "{}", "me", 60.0)
        assert answers == dict.fromkeys(processes, Answered(200, '{"result": "done", "n": 1}'))
        assert asked == [("x", "{}", "me")] * 2
        asked.clear()
        assert (await ask_processes(operators, processes, "replay", {}, "me"))["result"] == "done"
        assert len(asked) == 1  # a letter is put back once
        with pytest.raises(NoAnswer, match="it says no"):
            await ask_processes(operators, processes, "park", {}, "me")
        with pytest.raises(NoAnswer, match="name one process by --process: 1@a, 2@a"):
            await ask_processes(operators, processes, "drain", {}, "me")
        asked.clear()
        assert (await ask_processes(operators, processes, "drain", {"process": "2@a"}, "me"))[
            "result"
        ] == "done"
        assert asked == [("drain", "{}", "me")]
        assert await operators.ask(["gone@a"], "x", "{}", "me", 0.1) == {}
    async with Operators(url, bot) as operators:
        assert await operators.processes() == []


def stats(pid: int, pending: int, oldest_s: float | None, paused: str | None = None) -> dict[str, Any]:
    counts = dict.fromkeys(("ready", "leased", "parked", "committed", "held"), 1)
    queue = {**counts, "pending": pending, "oldest_s": oldest_s, "paused": paused}
    return {"process": {"pid": pid}, "queues": {"inbox": queue}, "timers_due": 1, "dead": 5}


def test_answers_of_several_processes_are_one():
    total = merged("stats", {}, [stats(1, 3, None), stats(2, 4, 7.5, "by me")])
    assert [each["pid"] for each in total["processes"]] == [1, 2]
    queue = total["queues"]["inbox"]
    assert (queue["pending"], queue["oldest_s"], queue["paused"], queue["leased"]) == (7, 7.5, "by me", 2)
    assert (total["timers_due"], total["dead"]) == (2, 10)
    lanes = [
        {
            "queue": "inbox",
            "lanes": [{"key": key, "depth": depth, "age_s": age}],
            "held": [{"key": "z", "held": "x"}],
        }
        for key, depth, age in (("a", 1, 5.0), ("b", 9, 2.0), ("c", 3, None))
    ]
    by_age = merged("lanes", {"by": "age", "limit": 2}, lanes)
    assert [lane["key"] for lane in by_age["lanes"]] == ["c", "a"]
    assert [lane["key"] for lane in merged("lanes", {"by": "depth"}, lanes)["lanes"]] == ["b", "c", "a"]
    assert by_age["held"] == [{"key": "z", "held": "x"}]
    runs = [{"running": [{"running_s": s, "where": ""}], "total": 1} for s in (1.0, 9.0)]
    assert [run["running_s"] for run in merged("running", {}, runs)["running"]] == [9.0, 1.0]
    letters = [
        {"result": "x", "letters": {"1": one, "2": two}} for one, two in (("gone", "gone"), ("done", "other"))
    ]
    assert merged("discard", {}, letters)["letters"] == {"1": "done", "2": "gone"}
    assert (
        merged("dead", {}, [{"letters": [1, 2], "total": 2}, {"letters": [1, 2], "total": 0}])["total"] == 2
    )
    results = [{"result": "not parked"}, {"result": "done"}]
    assert merged("release", {}, results) == {"result": "done"}


async def test_the_log_in_the_database_is_of_one_bot_and_its_failure_is_said(database, url, new_bot):
    from engine.stores.postgres import open_postgres
    from telegram.operating.audit import AuditFailed, Who

    bot, other = new_bot(), new_bot()
    audit, me = DatabaseAudit(url, bot, lambda: 7.0), Who("me", may_write=True, where="here")
    with pytest.raises(AuditFailed, match="nothing was done"):
        await audit.note(me, "park", {}, "begun")  # no schema yet
    assert await audit.tail(5) == []
    await (await open_postgres(url, bot, renew_every_s=None)).close()
    for result in ("begun", "done"):
        await audit.note(me, "park", {"key": "chat:1"}, result)
    entry = {"at": 7.0, "who": "me", "where": "here", "what": "park", "about": {"key": "chat:1"}}
    assert await audit.tail(5) == [{**entry, "result": "done"}, {**entry, "result": "begun"}]
    assert len(await audit.tail(1)) == 1
    assert await DatabaseAudit(url, other).tail(5) == []


async def test_the_page_of_one_process_answers_for_all_and_tells_all(url, new_bot, tmp_path):
    from contextlib import AsyncExitStack

    from engine import Queue, StoreUnavailable
    from engine.stores.contract import append
    from engine.stores.contract.store import update
    from engine.stores.memory import MemoryStore
    from engine.stores.postgres import open_postgres
    from telegram.operating.audit import Audit, Who
    from telegram.operating.database import process_desk
    from telegram.operating.desk import Desk, NotAllowed
    from telegram.operating.operating import Operating
    from telegram.operating.shared import SharedDesk

    bot, me = new_bot(), Who("operator ab", may_write=True, where="here")
    await (await open_postgres(url, bot, renew_every_s=None)).close()
    stores, audit = [MemoryStore() for _ in range(3)], Audit(tmp_path / "audit")
    async with AsyncExitStack() as stack:
        for number, store in enumerate(stores):  # each with lanes of its own
            await append(store, [update(10 * number + n, f"chat:{number}") for n in range(1, number + 2)])
            desk = Desk(Operating(store), audit)
            await stack.enter_async_context(process_desk(desk, url, bot, f"{number}@host#0"))
        operators = await stack.enter_async_context(Operators(url, bot))
        while len(await operators.processes()) < 3:
            pass
        page = await stack.enter_async_context(
            SharedDesk(Operating(stores[0]), audit, store_url=url, bot=bot, process="0@host#0")
        )
        live = await page.ask("live", {"by": "depth"}, me)
        assert [lane["key"] for lane in live["lanes"]["lanes"]] == ["chat:2", "chat:1", "chat:0"]
        assert live["stats"]["queues"]["inbox"]["pending"] == 6
        assert (await page.ask("invariants", {}, me))["lanes"] == 3
        assert (await page.ask("park", {"key": "chat:2"}, me))["result"] == "done"
        assert [await store.holds(Queue.INBOX) for store in stores] == [
            {"chat:2": "parked by operator ab"}
        ] * 3
        assert (await page.ask("release", {"key": "chat:2"}, me))["result"] == "done"
        assert [await store.holds(Queue.INBOX) for store in stores] == [{}] * 3
        with pytest.raises(NotAllowed, match="no such process"):
            await page.ask("drain", {"process": "9@host"}, me)
        assert (await page.ask("drain", {"process": "1@host"}, me))["result"] == "not running"
        reader = Who("reader cd", may_write=False, where="here")
        for name, params in (("drain", {"process": "1@host"}), ("park", {"key": "chat:2"})):
            with pytest.raises(NotAllowed, match="may only look"):
                await page.ask(name, params, reader)

        async def lost(*_):
            raise StoreUnavailable("disk")

        stores[2].hold = lost  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable, match="not everywhere in force"):
            await page.ask("park", {"key": "chat:1"}, me)


def test_a_process_is_named_exactly():
    """`drain --process 1@web` when that has ended is not for 1@web2."""
    assert is_meant("12@web#a1b2", "12@web")
    assert is_meant("12@web#a1b2", "12@web#a1b2")
    assert is_meant("12@web#a1b2", "12")
    for wanted in ("1", "12@", "12@we", "1@web", "12@web#a1", "web", ""):
        assert not is_meant("12@web#a1b2", wanted)
    assert not is_meant("12@web2#a1b2", "12@web")


@pytest.mark.parametrize(
    ("processes", "names"),
    [
        (["1@web#a1b2", "7@web#c3d4"], "1@web, 7@web"),
        (["1@web#a1b2", "1@web#c3d4"], "1@web#a1b2, 1@web#c3d4"),  # two containers
    ],
)
def test_the_names_that_are_offered_tell_processes_apart(processes, names):
    with pytest.raises(NoAnswer) as raised:
        module._one_of(processes, "1@web" if len(names) > 20 else None)
    assert str(raised.value) == f"name one process by --process: {names}"
    for each in names.split(", "):
        (found,) = module._one_of(processes, each)
        assert found.startswith(each)
