"""A bot whose processes all poll, or all work, says so; and what the roles mean for a Bot."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.sharing import Lack
from engine.stores.memory import MemoryStore
from telegram.botapi.types import User
from telegram.client import TgClient
from telegram.dialogue import Router
from telegram.metrics.counts import Counts
from telegram.metrics.health import Health
from telegram.service.bot import Bot, BotConfig
from telegram.service.roles import LACKS_AFTER_S, watch_roles
from tests.kit.virtual import run_virtual


def test_a_lack_is_logged_once_and_its_end():
    async def live() -> list[Any]:
        sharing: Any = SimpleNamespace(lacks=frozenset())
        with capture_logs() as logs:
            watching = asyncio.create_task(watch_roles(sharing))
            sharing.lacks = frozenset({Lack.OWNER})
            await asyncio.sleep(LACKS_AFTER_S - 0.5)
            sharing.lacks = frozenset()  # another process had only just started
            await asyncio.sleep(2.0)
            sharing.lacks = frozenset({Lack.OWNER})
            await asyncio.sleep(LACKS_AFTER_S - 0.5)
            assert not logs
            await asyncio.sleep(100.0)
            sharing.lacks = frozenset({Lack.APPENDER})
            await asyncio.sleep(100.0)
            watching.cancel()
        return [(line["event"], line["log_level"], line.get("to_do")) for line in logs]

    assert run_virtual(live()) == [
        ("no process handles updates", "warning", "start one with ROLE=work, or without ROLE"),
        ("this is over", "info", None),
        ("no process takes updates in", "warning", "start one with ROLE=poll, or without ROLE"),
    ]


def test_a_store_with_one_session_lacks_nothing():
    assert MemoryStore().sharing.lacks == frozenset()


class Client(TgClient):
    async def get_me(self, **_: Any) -> User:
        return User(id=1, is_bot=True, first_name="x", username="x")

    async def call(self, method: str, /, **params: Any) -> Any:
        assert method != "getUpdates"
        return True

    async def get_updates(self, *_: Any, **__: Any) -> Any:
        raise AssertionError


async def test_a_worker_takes_nothing_in_and_is_ready():
    async with Client("1:x", base_url="http://127.0.0.1:1") as client:
        store = MemoryStore()
        bot = Bot(client, store, Router(), BotConfig(role="work"))
        health = Health(Counts(lambda: 0.0, lambda: 0.0), lambda: 0.0)
        health.store, health.bot = store, bot
        await bot.start()
        assert await health.problems() == []
        assert health.others_take_in
        with pytest.raises(RuntimeError, match="its role is work"):
            await bot.accept(b"{}")
        await bot.stop()
        await store.close()
    assert Bot(client, store, Router(), BotConfig(role="poll")).takes_in
