"""What the types of Chatlane or aiogram cost, in this fresh process: `python -m tests.bench.probe chatlane types`.

Standard library only at the top, since it runs in the other framework's environment, too. Prints JSON.
"""
# the other framework is not in our environment:
# mypy: ignore-errors

import asyncio
import json
import sys
import time
from pathlib import Path

CHAT = {"id": 7, "type": "private", "first_name": "Ada", "username": "ada"}
USERS = [{"id": each, "is_bot": False, "first_name": f"User {each}"} for each in range(1, 51)]
BASE = {"message_id": 1, "date": 1_790_000_000, "chat": CHAT, "from": {**USERS[6], "language_code": "en"}}
TEXT = {**BASE, "text": "what one writes to a bot", "entities": [{"type": "bold", "offset": 0, "length": 4}]}
PRESS = {"id": "1", "from": USERS[6], "chat_instance": "c", "data": "go", "message": TEXT}
WINNERS = {
    "chat": CHAT,
    "giveaway_message_id": 1,
    "winners_selection_date": 1_790_000_000,
    "winner_count": 50,
}
KINDS = {
    "message": {"message": TEXT},
    "button": {"callback_query": PRESS},
    "giveaway with 50 winners": {"message": {**BASE, "giveaway_winners": {**WINNERS, "winners": USERS}}},
}
BODIES = {name: json.dumps({"update_id": 1, **update}).encode() for name, update in KINDS.items()}
ROUNDS, CALLS = 7, 300


def memory():
    """Bytes that are this process's alone (USS)."""
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


def best_us(call):
    """CPU of one call in microseconds, the best of some rounds."""
    costs = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            call()
        costs.append((time.process_time() - began) / CALLS * 1e6)
    return min(costs)


def chatlane_reader():
    from telegram.botapi.decoding import decode

    return decode


def aiogram_reader():
    from aiogram.types import Update

    return lambda body: Update.model_validate(json.loads(body))


def chatlane_router():
    from engine import Delivery, Envelope, Lease, Queue, Work
    from telegram.dialogue import InboxHandler, Router
    from telegram.service.bot import Bot  # noqa: F401 - all that a bot imports

    router = Router()

    @router.update()
    async def nothing(ctx):
        pass

    handler = InboxHandler(router)
    return lambda body: handler(
        Work(Delivery(Lease(Queue.INBOX, "chat:7", 1), Envelope(1, "chat:7", "7", body), 1, None))
    )


def aiogram_router():
    from aiogram import Bot, Dispatcher

    dispatcher, bot = Dispatcher(), Bot("123456789:abcdefghijklmnopqrstuvwxyz012345678")

    @dispatcher.message()
    @dispatcher.callback_query()
    async def nothing(event):
        pass

    return lambda body: dispatcher.feed_raw_update(bot, json.loads(body))


def types(framework):
    """Import the types, read the first update and many."""
    from pydantic import BaseModel, TypeAdapter  # noqa: F401 - what both need; `import pydantic` alone loads little

    before, began = memory(), time.process_time()
    read = globals()[f"{framework}_reader"]()
    imported = time.process_time()
    read(BODIES["message"])
    found = {
        "import of the types|ms CPU": (imported - began) * 1e3,
        "import and first update|ms CPU": (time.process_time() - began) * 1e3,
        "memory after that|MB": (memory() - before) / 2**20,
    }
    return found | {f"read a {name}|us CPU": best_us(lambda: read(body)) for name, body in BODIES.items()}  # noqa: B023


async def bot(framework):
    """Import a whole bot, and take updates through its router to a handler that does nothing."""
    from pydantic import BaseModel, TypeAdapter  # noqa: F401

    began = time.process_time()
    route = globals()[f"{framework}_router"]()
    found = {"import of a bot|ms CPU": (time.process_time() - began) * 1e3}
    for name, body in BODIES.items():
        costs = []
        for _ in range(ROUNDS):
            began = time.process_time()
            for _ in range(CALLS):
                await route(body)
            costs.append((time.process_time() - began) / CALLS * 1e6)
        found[f"read and route a {name}|us CPU"] = min(costs)
    return found


if __name__ == "__main__":
    wanted, framework = sys.argv[2], sys.argv[1]
    print(json.dumps(types(framework) if wanted == "types" else asyncio.run(bot(framework))))
