"""The control port, over which another process acts as the users, injects faults, and reads the bot's calls.

It is separate from the Bot API's port, so it works while that is down. Bodies and answers are JSON. Each request needs
the header `Authorization: Bearer KEY` (401 without); the key is new at each start and known to the parent process only.

POST /messages     [{"chat", "user", "text", ...fields}, ...] -> [update_id, ...]; former name: /say
POST /press        {"chat", "user", "message", "data"} -> update_id
POST /key          {"chat", "user", "text"}: a button of the reply keyboard -> update_id
POST /shown        [chat, ...] -> [[the bot's newest message or null, [[label of a reply button, ...], ...]], ...]
POST /act          [[chat, "text" | "press" | "key", text or data, message], ...] by the users of private chats
                   -> [update_id, ...], 0 for an action that is no longer possible
POST /push         {"kind", "payload"} -> update_id
POST /raw          the bytes after `{"update_id":N,` and before the last `}` -> update_id
GET  /calls        ?since=N -> [[n, at, method, params, status, delivered], ...] with n > N, at most ROWS_MAX
GET  /deliveries   ?since=N -> [[n, at, update_id, status, took_s], ...] with n > N: requests to the webhook
POST /forget       {"through": N}: drops the calls up to n = N, for long runs
GET  /wait         ?n=&method=&delivered=&timeout_s= -> the same, as soon as there are n calls; 504 after timeout_s
GET  /faults       -> [fault, ...]; POST adds one, DELETE removes all
POST /flood        {...FloodLimits}: enables flood control (429); DELETE disables it
POST /down, /up    closes and opens the Bot API's socket
POST /restart-ids  {"next_id"}
GET  /stats        -> counters
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from telegram.fake.protocol.answers import encode
from telegram.fake.world.flood import FloodLimits

from .access import is_key, new_key, refusal, server_log
from .calls import as_row
from .faults import Fault
from .server import HOST, FakeServer

ROWS_MAX = 10_000
_BODY_BYTES_MAX = 256 << 20
_SAY_AT_ONCE = 500  # then the event loop serves the Bot API

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """The control port of one `server`."""

    def __init__(self, server: FakeServer, *, port: int = 0) -> None:
        self._server = server
        self._port = port
        self.key = new_key()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The URL of the control port."""
        return f"http://{HOST}:{self._port}"

    async def start(self) -> None:
        """Start listening. OSError if the port is taken."""
        app = web.Application(
            client_max_size=_BODY_BYTES_MAX, middlewares=[self._require_key, _bad_input_is_400]
        )
        app.add_routes(
            [
                web.post("/messages", self._send_messages),
                web.post("/say", self._send_messages),
                web.post("/press", self._press),
                web.post("/key", self._key),
                web.post("/shown", self._shown),
                web.post("/act", self._act),
                web.post("/push", self._push),
                web.post("/raw", self._raw),
                web.get("/calls", self._calls),
                web.get("/deliveries", self._deliveries),
                web.post("/forget", self._forget),
                web.get("/wait", self._wait),
                web.get("/faults", self._list_faults),
                web.post("/faults", self._add_fault),
                web.delete("/faults", self._clear_faults),
                web.post("/flood", self._limit),
                web.delete("/flood", self._lift),
                web.post("/down", self._down),
                web.post("/up", self._up),
                web.post("/restart-ids", self._restart_ids),
                web.get("/stats", self._stats),
            ]
        )
        self._runner = web.AppRunner(
            app, access_log=None, logger=server_log, handler_cancellation=True, shutdown_timeout=1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _require_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if reason := refusal(request.headers):
            raise web.HTTPForbidden(text=reason)
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not is_key(key, self.key):
            raise web.HTTPUnauthorized(text="the control port needs its key: Authorization: Bearer KEY")
        return await handler(request)

    async def _send_messages(self, request: web.Request) -> web.Response:
        ids = []
        for line in await request.json():
            ids.append(
                self._server.world.send_message(line.pop("chat"), line.pop("user"), line.pop("text"), **line)
            )
            if len(ids) % _SAY_AT_ONCE == 0:
                await asyncio.sleep(0)
        return _json(ids)

    async def _press(self, request: web.Request) -> web.Response:
        press = await request.json()
        world = self._server.world
        return _json(world.press(press["chat"], press["user"], press["message"], press["data"]))

    async def _key(self, request: web.Request) -> web.Response:
        key = await request.json()
        return _json(self._server.world.press_key(key["chat"], key["user"], key["text"]))

    async def _shown(self, request: web.Request) -> web.Response:
        return _json([self._server.world.shown(chat_id) for chat_id in await request.json()])

    async def _act(self, request: web.Request) -> web.Response:
        world = self._server.world
        ids = []
        for chat_id, way, text, message_id in await request.json():
            try:
                match way:
                    case "press":
                        ids.append(world.press(chat_id, chat_id, message_id, text))
                    case "key":
                        ids.append(world.press_key(chat_id, chat_id, text))
                    case _:
                        ids.append(world.send_message(chat_id, chat_id, text))
            except ValueError:  # the button no longer exists, or cannot be pressed here
                ids.append(0)
            if len(ids) % _SAY_AT_ONCE == 0:
                await asyncio.sleep(0)
        return _json(ids)

    async def _push(self, request: web.Request) -> web.Response:
        update = await request.json()
        return _json(self._server.world.push(update["kind"], update["payload"]))

    async def _raw(self, request: web.Request) -> web.Response:
        return _json(self._server.world.push_raw(await request.read()))

    async def _calls(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", "0"))
        return _json([as_row(call) for call in self._server.log.since(since, ROWS_MAX)])

    async def _deliveries(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", "0"))
        return _json([as_row(each) for each in self._server.deliveries_since(since, ROWS_MAX)])

    async def _forget(self, request: web.Request) -> web.Response:
        self._server.log.forget((await request.json())["through"])
        return _json(None)

    async def _wait(self, request: web.Request) -> web.Response:
        query = request.query
        delivered = {"true": True, "false": False}.get(query.get("delivered", ""))
        try:
            calls = await self._server.wait_for_calls(
                int(query["n"]),
                query.get("method"),
                delivered=delivered,
                timeout_s=float(query.get("timeout_s", "60")),
            )
        except TimeoutError as error:
            raise web.HTTPGatewayTimeout(text=str(error)) from None
        return _json([as_row(call) for call in calls])

    async def _list_faults(self, _request: web.Request) -> web.Response:
        return _json([fault.as_json() for fault in self._server.faults])

    async def _add_fault(self, request: web.Request) -> web.Response:
        self._server.faults.add(Fault(**await request.json()))
        return _json(None)

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self._server.faults.clear()
        return _json(None)

    async def _limit(self, request: web.Request) -> web.Response:
        self._server.world.limit(FloodLimits(**await request.json()))
        return _json(None)

    async def _lift(self, _request: web.Request) -> web.Response:
        self._server.world.limit(None)
        return _json(None)

    async def _down(self, _request: web.Request) -> web.Response:
        await self._server.down()
        return _json(None)

    async def _up(self, _request: web.Request) -> web.Response:
        await self._server.up()
        return _json(None)

    async def _restart_ids(self, request: web.Request) -> web.Response:
        self._server.queue.restart_ids((await request.json())["next_id"])
        return _json(None)

    async def _stats(self, _request: web.Request) -> web.Response:
        return _json(self._server.stats()._asdict())


def _json(value: Any) -> web.Response:
    return web.Response(text=encode(value), content_type="application/json")


@web.middleware
async def _bad_input_is_400(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise web.HTTPBadRequest(text=f"{type(error).__name__}: {error}") from None
