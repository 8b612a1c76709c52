"""Former module names import the modules of today."""

import asyncio
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

import engine.moved
from engine import Engine, EngineConfig, Envelope, Inbox, Queue
from engine.stores import open_store
from engine.stores.memory import MemoryStore
from telegram.dialogue import InboxHandler, Router
from telegram.load.bot.service import ROOT
from tests.kit.bounds import WITHIN_S


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("telegram.errors", "telegram.botapi.errors"),
        ("telegram.keyboards", "telegram.dialogue.buttons.keyboards"),
        ("telegram.dialogue.conditions", "telegram.dialogue.filters.conditions"),
        ("telegram.bot", "telegram.service.bot"),
        ("telegram.fake.sandbox_lanes", "telegram.sandbox.lanes"),
        ("telegram.fake.sandbox", "telegram.sandbox.server"),
        ("telegram.fake.answers", "telegram.fake.protocol.answers"),
        ("telegram.load.checker", "telegram.load.checkers.checker"),
        ("engine.keeper", "engine.leases"),
        ("engine.stores.sqlite_file", "engine.stores.sqlite.file"),
    ],
)
def test_the_former_name_gives_the_same_module_and_a_warning_with_the_new_name(monkeypatch, was, now):
    monkeypatch.delitem(sys.modules, was, raising=False)
    with pytest.deprecated_call(match=f"{was} is now {now}"):
        assert import_module(was) is import_module(now)


def test_every_former_name_can_be_imported():
    finders = [each for each in sys.meta_path if isinstance(each, engine.moved._Moved)]
    names = [name for finder in finders for name in finder._names.values()]
    assert len(names) > 50
    for name in names:
        import_module(name)


def test_production_loads_no_fake():
    program = "import run, sys; print(*(n for n in sys.modules if n.startswith('telegram.')))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=WITHIN_S,
    )
    loaded = {name.split(".")[1] for name in run.stdout.split()}
    assert loaded.isdisjoint({"fake", "load", "sandbox", "testing"})
    assert "service" in loaded


async def test_former_arguments_of_embedders_work_with_a_warning():
    """An engine put together by hand as before: `behind=`, `allow=`, `farewell=` and `arrived=`."""
    store = MemoryStore()
    arrived: list[Any] = []
    with pytest.deprecated_call(match="not needed"):
        handler = InboxHandler(Router(), behind=store, allow=print)
    with pytest.deprecated_call(match="has the method failed"):
        engine = Engine(store, Queue.INBOX, handler, EngineConfig(attempts_max=1), farewell=handler.farewell)
    with pytest.deprecated_call(match="arrived"):
        inbox = Inbox(store, arrived=arrived.append)
    async with asyncio.TaskGroup() as group:
        engine.start(group)
        await inbox.accept(await inbox.right(), [Envelope(1, "chat:1", "1", b"{")])
        async with asyncio.timeout(WITHIN_S):
            while not await store.dead_letters():
                await asyncio.sleep(0)
        await engine.drain(0.0)
    assert [len(batch) for batch in arrived] == [1]


@pytest.mark.parametrize("kind", ["memory:", "sqlite:"])
async def test_updates_may_be_appended_without_naming_a_right(kind, tmp_path):
    store: Any = await open_store(kind if kind == "memory:" else f"sqlite:{tmp_path / 'bot.db'}", "1")
    inbox: Any = Inbox(store)
    with pytest.deprecated_call(match="take one first"):
        assert await store.append([Envelope(1, "chat:1", "1", b"{}")]) == 1
    with pytest.deprecated_call(match="take one first"):
        await inbox.accept([Envelope(2, "chat:1", "1", b"{}")])
    assert (await store.stats()).inbox.pending == 2
    await store.close()


def test_former_places_of_functions():
    from engine.stores.sqlite import disk, file

    assert (file.connect, file.renew) == (disk.connect, disk.renew)
