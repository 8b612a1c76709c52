"""A fake Bot API server with the real server's rules, for tests, the sandbox, benchmarks and fault campaigns.

    async with FakeServer() as server:
        server.world.say(42, 42, "hello")             # a user writes; the bot gets an update
        await server.wait_for_calls(1, "sendMessage")
        server.faults.add(Fault("status", code=429, retry_after=3, times=1))

FakeServer   the server: `url`, `token`, `world`, `queue`, `faults`, `calls`, `polls`, `clock`, `down()`, `up()`
World        people and chats: `say`, `edit`, `press`, `ask_inline`, `choose`, `react`, `push`, `block`, `promote`, `listen` ...
UpdateQueue  Telegram's queue of one bot, with the rules of getUpdates; pure
Fault        one thing that goes wrong; the kinds are in `faults`
FloodLimits  how much the bot may send, 429 for more: `server.world.limit(FloodLimits())`; no limit by default
Call, Poll   what the bot asked for
RemoteFake   the same server in a process of its own (`python -m telegram.fake`), driven over its control port

Every method of the Bot API is answered with a typed result, and its parameters are checked against the schema
(`checks`; `FakeServer(strict=True)` for one's own bot). What the bot did to chats, members, messages, files and stickers
is seen by later calls; methods without such a state answer with made-up values (`methods/generic.py`).

Not here: webhooks (setWebhook is refused), ephemeral messages.
"""

from .answers import ApiError
from .calls import Call, Poll, Stats
from .events import Listener
from .faults import Fault, FaultKind, Faults
from .flood import FloodLimits
from .queue import UpdateQueue
from .remote import RemoteFake
from .server import DEFAULT_TOKEN, FakeServer
from .world import World

__all__ = [
    "DEFAULT_TOKEN",
    "ApiError",
    "Call",
    "FakeServer",
    "Fault",
    "FaultKind",
    "Faults",
    "FloodLimits",
    "Listener",
    "Poll",
    "RemoteFake",
    "Stats",
    "UpdateQueue",
    "World",
]
