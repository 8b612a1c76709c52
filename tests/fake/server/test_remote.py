import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from telegram.fake import Fault, FloodLimits, RemoteFake
from tests.kit.bounds import WITHIN_S

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[3]


async def api(fake, method, **params):
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{fake.url}/bot{fake.token}/{method}", json=params) as answer,
    ):
        return await answer.json()


async def test_a_bot_and_a_harness_at_a_server_of_its_own():
    async with await RemoteFake.spawn(token="9:other", history=5, seed=1) as fake:
        await fake.restart_ids(100)
        assert await fake.send_messages([(5, 5, "one"), (-1001, 6, "two")]) == [100, 101]
        assert await fake.press(5, 5, 1, "x") == 102
        assert await fake.push("poll", {"id": "1"}) == 103
        assert await fake.push_raw(b'"message":{}') == 104
        updates = (await api(fake, "getUpdates"))["result"]
        assert [update["update_id"] for update in updates] == [100, 101, 102, 103, 104]
        with pytest.deprecated_call(match="RemoteFake.say is now RemoteFake.send_messages"):
            assert await fake.say([]) == []

        await fake.add_fault(Fault("status", code=429, retry_after=1, times=1))
        assert (await api(fake, "sendMessage", chat_id=5, text="a"))["error_code"] == 429
        assert (await api(fake, "sendMessage", chat_id=5, text="b"))["ok"]
        (fault,) = await fake.faults()
        assert fault.hits == 1
        await fake.clear_faults()
        assert await fake.faults() == []

        assert [call.text for call in await fake.calls()] == ["a", "b"]
        assert [call.n for call in await fake.calls(since=1)] == [2]
        await fake.forget(1)
        assert [call.n for call in await fake.calls()] == [2]
        (call,) = await fake.wait_for_calls(1, "sendMessage", delivered=True)
        assert (call.text, call.chat_id) == ("b", 5)
        with pytest.raises(TimeoutError, match="1 of 2 calls of sendMessage"):
            await fake.wait_for_calls(2, "sendMessage", delivered=True, timeout_s=0)

        await fake.limit(FloodLimits(chat_burst=1))
        assert (await api(fake, "sendMessage", chat_id=5, text="c"))["ok"]
        assert (await api(fake, "sendMessage", chat_id=5, text="d"))["parameters"] == {"retry_after": 1}
        assert (await fake.stats()).flooded == 1
        await fake.limit(None)

        await fake.down()
        with pytest.raises(aiohttp.ClientConnectorError):
            await api(fake, "getMe")
        await fake.up()
        assert (await api(fake, "getMe"))["result"]["id"] == 9
        stats = await fake.stats()
        assert (stats.calls, stats.polls, stats.pending) == (5, 1, 5)
        assert stats.requests == {"getUpdates": 1, "sendMessage": 4, "getMe": 1}

        with pytest.raises(ValueError, match="int32"):
            await fake.restart_ids(0)


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "truncate"])
async def test_cuts_look_the_same_from_another_process(kind):
    async with await RemoteFake.spawn() as fake:
        await fake.send_messages([(5, 5, "hi")])
        await fake.add_fault(Fault(kind))
        error = aiohttp.ClientPayloadError if kind == "truncate" else aiohttp.ServerDisconnectedError
        with pytest.raises(error):
            await api(fake, "sendMessage", chat_id=5, text="a")
        assert [call.delivered for call in await fake.calls()] == [kind != "cut_before"]


async def test_it_ends_clean():
    fake = await RemoteFake.spawn()
    assert await fake.stop() == 0
    assert await fake.stop() == 0


async def test_a_server_that_cannot_start_is_an_error(capfd):
    with pytest.raises(RuntimeError, match="did not start: exit code"):
        await RemoteFake.spawn(token="malformed")
    assert "form of a bot token" in capfd.readouterr().err


def test_each_start_has_a_token_and_a_key_of_its_own():
    """A typed address that its site redirects here is like one of this machine: only the token is unknown to it."""
    command = [sys.executable, "-m", "telegram.fake", "--until-eof"]
    ready = []
    for _ in range(2):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
            ready.append(json.loads(process.stdout.readline()))
            process.stdin.close()
    for name in ("token", "control_key"):
        assert ready[0][name] != ready[1][name]
        assert len(ready[0][name]) >= 32


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, "eof"])
def test_the_process_prints_one_line_and_stops_on_request(how):
    command = [sys.executable, "-m", "telegram.fake", "--token", "9:other", "--until-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        ready = json.loads(process.stdout.readline())
        assert ready.keys() == {"url", "token", "control", "control_key"}
        assert ready["token"] == "9:other"
        if how == "eof":
            process.stdin.close()
        else:
            os.kill(process.pid, how)
        assert process.wait(WITHIN_S) == 0
        assert process.stdout.read() == b""


async def test_it_delivers_by_webhook():
    requests = []

    async def hook(request):
        requests.append((request.headers["X-Telegram-Bot-Api-Secret-Token"], await request.json()))
        return web.Response()

    server = web.Server(hook, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    async with await RemoteFake.spawn(seed=1, local=True) as fake:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        assert (await api(fake, "setWebhook", url=url, secret_token="made-up"))["ok"]
        ids = await fake.send_messages([(5, 5, "one"), (6, 6, "two")])
        async with asyncio.timeout(WITHIN_S):
            while len(found := await fake.deliveries()) < 2:
                pass
        assert sorted((each.update_id, each.status) for each in found) == [(n, 200) for n in sorted(ids)]
        assert await fake.deliveries(since=2) == []
        assert {secret for secret, _ in requests} == {"made-up"}
        assert (await fake.stats()).confirmed == 2
    listening.close()
    await server.shutdown(1)
