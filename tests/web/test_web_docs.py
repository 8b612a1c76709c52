"""The examples of docs/web.md."""

from aiohttp.test_utils import TestClient, TestServer

from telegram.testing import Conversations
from telegram.web import deep_link, encode_payload
from tests.kit.docs import modules
from tests.web.test_signed import SIGNED, TOKEN


async def test_who_opened_the_page(monkeypatch):
    with modules("web.md") as made:
        app = made["shop_api"].api(TOKEN)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/who", headers={"X-Init-Data": SIGNED})
        assert (answer.status, await answer.json()) == (401, {"error": "please open the page again"})
        answer = await client.get("/who", headers={"X-Init-Data": SIGNED.replace("42", "43")})
        assert answer.status == 403
        answer = await client.get("/who")
        assert answer.status == 403
        monkeypatch.setattr("time.time", lambda: 1650385342.0)
        answer = await client.get("/who", headers={"X-Init-Data": SIGNED})
        assert (answer.status, await answer.json()) == (200, {"user": 42, "from": None})


def test_friends():
    with modules("web.md") as made, Conversations(made["friends"].router) as bot:
        ada = bot.chat("Ada")
        ada.says("/invite")
        payload = encode_payload(f"friend:{ada.id}")
        assert ada.sees(deep_link("my_bot", "start", payload))
        ada.says(f"/start {payload}")
        assert ada.sees(f"Invited by friend:{ada.id}")
        ada.says("/start x")
        assert ada.sees("This link is not valid.")
