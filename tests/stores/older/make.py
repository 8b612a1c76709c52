"""Makes a file of an older format: `cd CHECKOUT && python .../tests/stores/older/make.py OUT.db.gz`, with that checkout's code.

It holds, each of a person or a group of its own, as far as that code knows such things: flows of each scope that wait for a button, data, timers, an update that
failed and waits, one that was cut off with others behind it, a dead letter. The updates of chat N are said by N.
"""

import asyncio
import gzip
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))


def load(name: str) -> Any:
    """Import a neighbour of this file, whose package is not that of the checkout."""
    spec: Any = importlib.util.spec_from_file_location(
        f"tests.stores.older.{name}", Path(__file__).with_name(f"{name}.py")
    )
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def main(out: Path) -> None:
    """Run the bot of the older code, and stop it in the middle of its work."""
    from engine.stores import open_store
    from telegram.client import TgClient
    from telegram.fake import FakeServer
    from telegram.service.bot import Bot, BotConfig

    simple = load("simple")
    try:
        router = load("bot").router(is_open=False)
        has_flows = True
    except ImportError:  # of before flows
        router, has_flows = simple.simple(is_open=False), False
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bot.db"
        async with FakeServer(seed=1) as fake, TgClient(fake.token, base_url=fake.url) as client:
            store = await open_store(f"sqlite:{file}", "1")
            bot = Bot(client, store, router, BotConfig(drain_timeout_s=2))
            await bot.start()
            world = fake.world
            world.send_message(4, 4, "/count")
            world.send_message(4, 4, "/count")
            await fake.wait_for_calls(2, "sendMessage", delivered=True)
            if has_flows:
                await begin_flows(fake)
            known = len([call for call in fake.calls if call.method == "sendMessage"])
            world.send_message(6, 6, "/bad")
            world.send_message(7, 7, "/later")
            world.send_message(8, 8, "/hang")
            for _ in range(3):
                world.send_message(8, 8, "/count")
                world.send_message(7, 7, "/count")
            if has_flows:  # there is an apology for /bad
                await fake.wait_for_calls(known + 1, "sendMessage", delivered=True)
            while not (letters := await store.dead_letters()) or not (await store.stats()).inbox.parked:
                await asyncio.sleep(0.01)
            await bot.stop()
            print(await store.stats(), letters, sep="\n")
            await store.close()
        content = file.read_bytes()
    out.write_bytes(gzip.compress(content, mtime=0))
    print(f"{len(content)} bytes, {out.stat().st_size} compressed")


async def begin_flows(fake: Any) -> None:
    """Begin a flow of each scope, and one that is led into its second state; set a timer."""
    world = fake.world
    world.send_message(1, 1, "/pizza")
    world.send_message(2, 2, "/account")
    world.send_message(-100, 3, "/table")
    world.send_message(5, 5, "/remind")
    world.send_message(5, 5, "/count")
    world.send_message(9, 9, "/pizza")
    await fake.wait_for_calls(8, "sendMessage", delivered=True)
    shown = world.messages(9)[-1]
    world.press(9, 9, shown["message_id"], "large")
    await fake.wait_for_calls(9, "sendMessage", delivered=True)


asyncio.run(main(Path(sys.argv[1])))
