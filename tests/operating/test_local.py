"""The socket beside the database file."""

import os
import stat
from functools import partial

import pytest
from structlog.testing import capture_logs

from engine.stores.memory import MemoryStore
from telegram.operating import local
from telegram.operating.audit import Audit
from telegram.operating.desk import Desk
from telegram.operating.local import LocalDesk, NotRunning, Refused, ask_running, socket_of
from telegram.operating.operating import Operating


@pytest.fixture
def desk(tmp_path):
    return Desk(Operating(MemoryStore()), Audit(tmp_path / "audit"))


@pytest.fixture(params=["short", "long"])
def path(request, tmp_path):
    folder = tmp_path / ("x" if request.param == "short" else "x" * 120)
    folder.mkdir()
    return socket_of(folder / "bot.db")


async def test_the_owner_asks_and_is_answered(desk, path):
    ask = partial(ask_running, path)
    with pytest.raises(NotRunning):
        await ask("stats", {})
    async with LocalDesk(desk, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await ask("stats", {}))["dead"] == 0
        assert (await ask("park", {"key": "chat:1"}))["result"] == "done"
        for name, params, says in (
            ("nothing", {}, "another version"),
            ("lanes", {"limit": 0}, "limit"),
            ("discard", {"letters": [{"number": n, "hash": "0" * 16} for n in (1, 2)]}, "confirm 2"),
        ):
            with pytest.raises(Refused, match=says):
                await ask(name, params)
    assert not path.exists()
    assert (await desk.audit.tail(1))[0]["who"] == f"command line, user {os.geteuid()}"


async def test_the_file_of_a_killed_process_is_replaced(desk, path):
    async with LocalDesk(desk, path):
        path.rename(path.with_name("kept"))
        path.with_name("kept").rename(path)
    path.write_text("left behind")
    async with LocalDesk(desk, path):
        assert (await ask_running(path, "stats", {}))["dead"] == 0
    path.write_text("left behind")
    with pytest.raises(NotRunning):
        await ask_running(path, "stats", {})


async def test_another_user_is_refused(desk, path, monkeypatch):
    monkeypatch.setattr(local, "_user_of", lambda _: os.geteuid() + 1)
    async with LocalDesk(desk, path):
        with pytest.raises(Refused, match="user of the bot"):
            await ask_running(path, "stats", {})


async def test_a_socket_that_cannot_be_made_is_a_warning(desk, tmp_path):
    with capture_logs() as logs:
        async with LocalDesk(desk, tmp_path / "no" / "folder" / "x"):
            pass
    assert [line["event"] for line in logs] == ["commands cannot reach this bot while it runs"]


async def test_what_is_no_json_is_refused(desk, path):
    import aiohttp

    async with LocalDesk(desk, path):
        with local._Short(path) as short:
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(short)) as session:
                for body in (b"", b"[]", b"{", b"\xff", b"[" * 100_000):
                    async with session.post("http://bot/stats", data=body) as answer:
                        assert answer.status == 400, body
                        assert "error" in await answer.json()
                async with session.get("http://bot/stats") as answer:
                    assert answer.status == 405
