"""A fake Bot API server with the rules of the real one, for tests, the sandbox, benchmarks and fault injection.

    async with FakeServer() as server:
        server.world.send_message(42, 42, "hello")             # a user writes; the bot gets an update
        await server.wait_for_calls(1, "sendMessage")
        server.faults.add(Fault("status", code=429, retry_after=3, times=1))

FakeServer   the server: `url`, `token`, `world`, `queue`, `faults`, `calls`, `polls`, `deliveries`, `clock`, `down()`, `up()`
World        users and chats: `send_message`, `edit`, `press`, `ask_inline`, `choose`, `react`, `push`, `block`, `promote`, `listen` ...
UpdateQueue  Telegram's update queue of one bot, with the rules of getUpdates; pure
Fault        an injected fault; the kinds are in `server/faults.py`
FloodLimits  rate limits, 429 above them: `server.world.limit(FloodLimits())`; none by default
Call, Poll   recorded requests of the bot; Delivery: a recorded request to its webhook
RemoteFake   the same server in its own process (`python -m telegram.fake`), controlled over its control port

Each method of the Bot API returns a result of its type, and its parameters are checked against the schema (`protocol/checks.py`;
`FakeServer(strict=True)` for tests of a bot). Changes to chats, members, messages, files and stickers are visible to
later calls; methods without state return generated values (`methods/generic.py`).

Folders, each imports those after it: server (HTTP, control, faults), methods, world (state), text (formatted text), protocol
(parameters, answers).

Webhooks: with `local`, like a local Bot API server, updates are delivered to a URL of this machine (`server/delivery.py`);
without it setWebhook is refused, as an address of this machine is at api.telegram.org. Not supported: ephemeral messages.
"""

from .protocol.answers import ApiError
from .server import DEFAULT_TOKEN, FakeServer
from .server.calls import Call, Delivery, Poll, Stats
from .server.faults import Fault, FaultKind, Faults
from .server.remote import RemoteFake
from .world import World
from .world.events import Listener
from .world.flood import FloodLimits
from .world.queue import UpdateQueue

__all__ = [
    "DEFAULT_TOKEN",
    "ApiError",
    "Call",
    "Delivery",
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
