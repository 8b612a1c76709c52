"""The sandbox: a web page for chatting with the bot as several users and watching its lanes. On 127.0.0.1 only.

    lanes = LaneBoard(fake, store)
    bot = Bot(client, store, router, observe=lanes.observe)
    async with Sandbox(fake, bot, store, lanes, port=8088) as sandbox:
        print(sandbox.url)

The page (page.html with its css and js) keeps one WebSocket open. The server sends a snapshot ("world"), then the
events of `World.listen`, new users and groups ("joined"), the "lanes" (lanes.py), and the reason why an action was
"refused". The page sends the actions (forms.py). After a reconnect the page gets a new snapshot.

Requests of other sites in the same browser are refused (access.py). The WebSocket also needs a key, new at each
start, which the page reads from `/key`: another site can request it, but not read the answer (Fetch Standard, CORS).
"""

import asyncio
import errno
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.typedefs import Handler

from engine import Running
from engine.store import FullStore
from telegram.board import FILES as SHARED
from telegram.fake.methods import METHODS
from telegram.fake.protocol.answers import Json
from telegram.fake.server import HOST, FakeServer
from telegram.fake.server.access import is_key, new_key, refusal, server_log
from telegram.fake.server.faults import Fault
from telegram.sandbox.actions import Actions, Refused
from telegram.sandbox.lanes import LaneBoard
from telegram.sandbox.saved_chats import SavedChats

_FOLDER: Final = Path(__file__).parent
_OWN: Final = (
    *("page.html", "page.css", "chats.css", "lanes.css"),
    *(
        "page.js",
        "chats.js",
        "bubbles.js",
        "lanes.js",
        "show.js",
        "connection.js",
        "media.js",
        "menu.js",
        "keys.js",
    ),
)
_FILES: Final = {**SHARED, **{name: _FOLDER / name for name in _OWN}}
_PEOPLE: Final = ("Ada", "Grace", "Linus")
_GROUP: Final = "Tea room"
_POLL_EVERY_S: Final = 0.05
_ACTION_BYTES_MAX: Final = 1 << 20  # a photo
_CLOSE_TIMEOUT_S: Final = 1.0
_PRIVATE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class RunningBot(Protocol):
    """What the sandbox needs of a Bot."""

    def running(self) -> tuple[list[Running], list[Running]]:
        """Return the running handlers of the inbox and the running calls of the outbox."""
        ...


class Sandbox:
    """The page's server; `async with` starts and stops it.

    `port` 0 picks a free one; a port that is taken is an OSError of one line. Calls of the bot are answered after
    `answer_after_s`, as over a real network: otherwise lanes empty too fast to be seen. `commands` are suggested until
    the bot sets its own. The chats are saved in `chats_file`; None: not saved.
    """

    def __init__(
        self,
        fake: FakeServer,
        bot: RunningBot,
        store: FullStore,
        lanes: LaneBoard,
        *,
        port: int,
        answer_after_s: float = 0.1,
        commands: Sequence[str] = (),
        chats_file: Path | None = None,
    ) -> None:
        self._fake = fake
        self._world = fake.world
        self._port = port
        self._answer_after_s = answer_after_s
        self._commands = tuple(commands)
        self._saved_chats = SavedChats(fake, chats_file) if chats_file is not None else None
        self._bot = bot
        self._lanes = lanes
        self._actions = Actions(fake.world, self._lanes, store, fake.clock)
        self._keyboards: dict[int, Json] = {}  # reply keyboards, which are no part of a stored message
        self._key = new_key()
        self._pages: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """The URL of the page."""
        return f"http://{HOST}:{self._port}/"

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[_refuse_other_sites])
        app.add_routes(
            [
                web.get("/", _file),
                web.get("/key", self._send_key),
                web.get("/live", self._live),
                web.get("/{name}", _file),
            ]
        )
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=server_log,
            handler_cancellation=True,
            shutdown_timeout=_CLOSE_TIMEOUT_S,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self._port).start()
        except OSError as error:
            await runner.cleanup()
            if error.errno != errno.EADDRINUSE:
                raise
            other = self._port + 2 if self._port < 65_000 else self._port - 2
            reason = (
                f"port {self._port} is taken: choose another with SANDBOX_PORT={other}, or 0 for any free one"
            )
            raise OSError(errno.EADDRINUSE, reason) from None
        self._runner = runner
        self._port = runner.addresses[0][1]
        self._add_initial_chats()
        tasks = [self._watch(), *([self._saved_chats.run()] if self._saved_chats is not None else [])]
        self._tasks = [asyncio.create_task(each, name="sandbox") for each in tasks]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(page.close(code=WSCloseCode.GOING_AWAY) for page in list(self._pages)))
        if self._runner is not None:
            await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _add_initial_chats(self) -> None:
        if self._saved_chats is not None and self._saved_chats.read():
            self._keyboards |= self._world.keyboards
        else:
            people = [self._world.add_user(name) for name in _PEOPLE]
            self._world.add_group(_GROUP, [person["id"] for person in people])
        if self._answer_after_s:
            for method in METHODS:  # without getUpdates: Telegram delivers updates at once
                self._fake.faults.add(Fault("slow", method=method, seconds=self._answer_after_s))

    # -- events of the fake Telegram -------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Record what the world does not store: reply keyboards, results of inline queries."""
        with self._world.listen() as events:
            async for event in events:
                if self._saved_chats is not None:
                    self._saved_chats.changed()
                if event["type"] == "inline_answer":
                    query = event["inline_query"]
                    self._actions.inline_answered(query["id"], query["query"], event["results"])
                if "keyboard" in event:
                    self._keyboards[event["message"]["chat"]["id"]] = event["keyboard"]

    # -- one page --------------------------------------------------------------------------------------------

    async def _send_key(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._key, headers=_PRIVATE)

    async def _live(self, request: web.Request) -> web.WebSocketResponse:
        if "Origin" not in request.headers or not is_key(request.query.get("key", ""), self._key):
            raise web.HTTPForbidden(text="this WebSocket is for the sandbox's own page")
        page = web.WebSocketResponse(
            timeout=_CLOSE_TIMEOUT_S, heartbeat=15, compress=False, max_msg_size=_ACTION_BYTES_MAX
        )
        await page.prepare(request)
        self._pages.add(page)
        try:
            # If sending fails, receiving ends too: the page reconnects and gets a new snapshot.
            async with asyncio.TaskGroup() as group:
                sending = (
                    group.create_task(self._send_events(page)),
                    group.create_task(self._send_lanes(page)),
                )
                async for message in page:
                    if message.type is WSMsgType.TEXT:
                        await self._perform(page, message.data)
                for task in sending:
                    task.cancel()
        except* ConnectionError:
            pass  # the page was closed or reloaded during a send
        finally:
            self._pages.discard(page)
        return page

    async def _perform(self, page: web.WebSocketResponse, action: str) -> None:
        try:
            answer = await self._actions.perform(action)
        except Refused as refusal:
            answer = {"type": "refused", "reason": str(refusal)}
        if answer is not None:
            await page.send_json(answer)

    async def _send_events(self, page: web.WebSocketResponse) -> None:
        with self._world.listen() as events:
            missed = 0
            await page.send_json(self._snapshot())
            async for event in events:
                if events.missed > missed:  # a slow page; it may get events twice, which is harmless
                    missed = events.missed
                    await page.send_json(self._snapshot())
                more = {"commands": self._suggested()} if event["type"] == "commands" else {}
                await page.send_json({**event, **more})

    async def _send_lanes(self, page: web.WebSocketResponse) -> None:
        sent: Json | None = None
        while True:
            seen = await self._lanes.snapshot(self._bot.running())
            if seen != sent:
                await page.send_json(seen)
                sent = seen
            await asyncio.sleep(_POLL_EVERY_S)

    def _snapshot(self) -> Json:
        world = self._world
        chats = [
            {
                **chat,
                "messages": world.messages(chat["id"]),
                "keyboard": self._keyboards.get(chat["id"]),
                "blocked": world.is_blocked(chat["id"]),
                "administrator": chat["type"] != "private" and world.is_administrator(chat["id"]),
                "reactions": [
                    {"message_id": message_id, "user_id": user_id, "reaction": reaction}
                    for (chat_id, message_id), by_user in world.reactions.items()
                    if chat_id == chat["id"]
                    for user_id, reaction in by_user.items()
                ],
            }
            for chat in world.chats()
        ]
        return {
            "type": "world",
            "bot": world.bot,
            "people": world.users(),
            "chats": chats,
            "commands": self._suggested(),
            "ahead_s": self._fake.clock.ahead_s,
        }

    def _suggested(self) -> list[str]:
        """Return the commands to suggest: those of setMyCommands, else those that the handlers take."""
        listed = next((each for each in self._world.commands.values() if each), [])
        return [f"/{each['command']}" for each in listed] or [f"/{each}" for each in self._commands]


@web.middleware
async def _refuse_other_sites(request: web.Request, handler: Handler) -> web.StreamResponse:
    if reason := refusal(request.headers):
        raise web.HTTPForbidden(text=reason)
    return await handler(request)


async def _file(request: web.Request) -> web.FileResponse:
    name = request.match_info.get("name", "page.html")
    if name not in _FILES:
        raise web.HTTPNotFound
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors 'none'; connect-src 'self' ws://{request.host}"
    )
    return web.FileResponse(_FILES[name], headers={"Content-Security-Policy": policy, **_PRIVATE})
