"""The settings of the operator's page, and a bot that is started with them."""

import re

import aiohttp
import pytest

from telegram.command.settings import WrongSettingError, read_settings
from telegram.fake import FakeServer
from telegram.load.bot.service import Service, command

pytestmark = pytest.mark.processes

TOKEN = "a token of some length"
BASE = {"BOT_TOKEN": "1:x"}
WRONG = {
    "no address": ({"ADMIN_LISTEN": "8090"}, "ADMIN_LISTEN: .* is not HOST:PORT"),
    "a token without a page": ({"ADMIN_TOKEN": TOKEN}, "ADMIN_TOKEN is set but ADMIN_LISTEN is not"),
    "an origin without a page": ({"ADMIN_ORIGIN": "https://a.b"}, "ADMIN_ORIGIN is set but ADMIN_LISTEN is not"),
    "proxies without a page": ({"ADMIN_PROXIES": "127.0.0.1/32"}, "ADMIN_PROXIES is set but ADMIN_LISTEN is not"),
    "proxies that are no networks": ({"ADMIN_LISTEN": "127.0.0.1:1", "ADMIN_PROXIES": "nginx"}, "ADMIN_PROXIES: .*use networks"),
    "a reader's token without a page": ({"ADMIN_READ_TOKEN": TOKEN}, "ADMIN_READ_TOKEN is set but ADMIN_LISTEN"),
    "a public address without a token": (
        {"ADMIN_LISTEN": "0.0.0.0:8090", "ADMIN_ORIGIN": "https://a.b"}, "set ADMIN_TOKEN, too, or use 127.0.0.1",
    ),
    "a public IPv6 address without a token": ({"ADMIN_LISTEN": "[::]:8090"}, "set ADMIN_TOKEN, too"),
    "a public address without TLS": (
        {"ADMIN_LISTEN": "0.0.0.0:8090", "ADMIN_TOKEN": TOKEN}, "set ADMIN_ORIGIN to the page's https:// address",
    ),
    "an origin without TLS": ({"ADMIN_LISTEN": "127.0.0.1:1", "ADMIN_ORIGIN": "http://a.b"}, "ADMIN_ORIGIN: https://HOST"),
    "an origin with a path": ({"ADMIN_LISTEN": "127.0.0.1:1", "ADMIN_ORIGIN": "https://a.b/"}, "without a path"),
    "a short token": ({"ADMIN_LISTEN": "127.0.0.1:1", "ADMIN_TOKEN": "1234"}, "ADMIN_TOKEN: at least 16 printable"),
    "a token of other letters": ({"ADMIN_LISTEN": "127.0.0.1:1", "ADMIN_TOKEN": "é" * 20}, "ADMIN_TOKEN: at least 16"),
    "both tokens the same": (
        {"ADMIN_LISTEN": "127.0.0.1:1", "ADMIN_TOKEN": TOKEN, "ADMIN_READ_TOKEN": TOKEN}, "ADMIN_READ_TOKEN is the same",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_one_line_without_the_token(monkeypatch, tmp_path, name):
    settings, says = WRONG[name]
    monkeypatch.chdir(tmp_path)
    for variable, value in {**BASE, **settings}.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(WrongSettingError, match=says) as wrong:
        read_settings([])
    assert "\n" not in str(wrong.value)
    assert TOKEN not in str(wrong.value)


async def test_the_secret_is_printed_once_and_opens_the_page(tmp_path):
    async with (
        FakeServer() as server,
        Service(
            tmp_path, server.url, server.token, ADMIN_LISTEN="127.0.0.1:0", ADMIN_READ_TOKEN=TOKEN
        ) as bot,
    ):
        await bot.start()
        address = (await bot.logged("the operator's page is served"))["address"]
        (secret,) = re.findall(r"Its secret:  (\S+)", (tmp_path / "log").read_text())
        url = f"http://{address}"
        async with aiohttp.ClientSession() as session:
            for given, may_write in ((secret, True), (TOKEN, False)):
                async with session.post(
                    f"{url}/login", json={"secret": given}, headers={"Origin": url}
                ) as answer:
                    assert (await answer.json())["may_write"] is may_write
            async with session.get(url) as answer:
                assert "Chatlane" in await answer.text()
            bearer = {"Authorization": f"Bearer {secret}"}
            async with session.get(f"{url}/api/stats", headers=bearer) as answer:
                assert (await answer.json())["process"]["pid"] == bot.pid
            async with session.post(f"{url}/api/drain", headers=bearer, json={}) as answer:
                assert (await answer.json())["result"] == "done"
        assert await bot.ended() == 0
        assert (tmp_path / "log").read_text().count(secret) == 1
        assert secret not in (tmp_path / "bot.db-audit.jsonl").read_text()


async def test_a_port_that_is_taken_is_one_line(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = await command(
            folder=tmp_path, BOT_TOKEN="1:x", STORE_URL="memory:", ADMIN_LISTEN=address, ADMIN_TOKEN=TOKEN
        )
    assert done.code == 2
    assert f"run.py: cannot listen on {address}: it is taken" in done.err
    assert "Traceback" not in done.err
