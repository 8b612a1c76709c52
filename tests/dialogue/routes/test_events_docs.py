"""The examples of docs/events.md, over HTTP."""

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from engine import StoreUnavailable
from engine.stores.memory import MemoryStore
from telegram.client import TgClient
from telegram.fake import FakeServer
from telegram.service.bot import Bot
from tests.kit.docs import modules


async def test_a_payment_provider_calls_twice(monkeypatch):
    with modules("events.md") as made:
        payments = made["payments"]
    sites = []
    start = web.TCPSite.start

    async def on_any_port(site: web.TCPSite) -> None:
        site._port = 0
        await start(site)
        sites.append(site)

    monkeypatch.setattr(web.TCPSite, "start", on_any_port)
    async with FakeServer(seed=1) as fake, TgClient(fake.token, base_url=fake.url) as client:
        bot = Bot(client, MemoryStore(), payments.router)
        await bot.start()
        fake.world.send_message(7, 7, "hello")
        (site,) = sites
        port = site._server.sockets[0].getsockname()[1]
        invoice = {"id": "inv-17", "chat": 7, "count": 2}
        async with ClientSession() as provider:
            for each in (invoice, invoice, {**invoice, "id": "inv-18"}):
                async with provider.post(f"http://localhost:{port}/paid", json=each) as answer:
                    assert answer.status == 200
        calls = await fake.wait_for_calls(2, method="sendMessage")
        assert [call.text for call in calls] == ["Thank you! Tickets: 2", "Thank you! Tickets: 4"]
        await bot.stop()


async def test_a_payment_that_cannot_be_stored_is_asked_for_again():
    async def full(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    with modules("events.md") as made:
        app = made["payments"].api(full)
    async with TestClient(TestServer(app)) as provider:
        answer = await provider.post("/paid", json={"id": "a", "chat": 7, "count": 1})
        assert answer.status == 503
