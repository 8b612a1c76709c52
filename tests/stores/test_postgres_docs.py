"""What docs/postgres.md says is true."""

import asyncio
import os
import re
import signal
from contextlib import AsyncExitStack

import asyncpg

from engine.stores.contract import append
from engine.stores.contract.store import update
from engine.stores.postgres import open_postgres
from telegram.client import TgClient
from telegram.fake import FakeServer
from telegram.service import several
from tests.kit.docs import DOCS, modules


async def test_two_bots_run_in_one_process_over_one_schema(database, new_bot, monkeypatch):
    """Both have the same chat, and each answers with its own words, in its own lane."""
    tokens = [f"{new_bot()}:secret_of_{name}" for name in ("shop", "help")]
    async with AsyncExitStack() as stack:
        fakes = {token: await stack.enter_async_context(FakeServer(token=token, seed=1)) for token in tokens}
        monkeypatch.setattr(
            several,
            "TgClient",
            lambda token, **named: TgClient(token, **{**named, "base_url": fakes[token].url}),
        )
        with modules("postgres.md") as made:
            settings = {
                "STORE_URL": database.url(), "SHOP_TOKEN": tokens[0], "HELP_TOKEN": tokens[1],
            }  # fmt: skip
            running = asyncio.create_task(made["two_bots"].main(settings))
            for fake in fakes.values():
                fake.world.send_message(7, 7, "hello")
            for fake, said in zip(fakes.values(), ("It is ordered.", "We answer today."), strict=True):
                (call,) = await fake.wait_for_calls(1, method="sendMessage")
                assert (call.text, call.chat_id) == (said, 7)
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(60):
                assert await running == 0


async def test_the_role_and_the_database_are_enough(database, new_bot):
    page = (DOCS / "postgres.md").read_text()
    (statements,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    person = await asyncpg.connect(database.url().partition("?")[0])
    for statement in statements.strip().split("\n"):
        await person.execute(statement)
    (url,) = re.findall(r"STORE_URL='(.*)\?sslrootcert", page)
    url = url.replace("db.example.org", f"127.0.0.1:{database.port}")
    store = await open_postgres(url, new_bot())
    assert await append(store, [update(1)]) == 1
    await store.close()
    await person.close()
