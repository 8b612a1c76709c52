"""The HTTP server: `/bot<token>/<method>` in all encodings of the Bot API, with fault injection and outages.

For speed it uses aiohttp's low-level server (no router, middleware or access log), one dict of methods, and replies as
prebuilt bytes. That is half the cost of an `Application` with `Response`.
"""

import asyncio
import random
import re
import socket
from email.utils import formatdate
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from aiohttp import web

from telegram.fake import methods
from telegram.fake.protocol.answers import ApiError, accepted, forbidden, refused
from telegram.fake.protocol.checks import check
from telegram.fake.protocol.params import (
    FORM_BYTES_MAX,
    FORM_BYTES_MAX_LOCAL,
    Params,
    forget_contents,
    integer,
    read_parameters,
)
from telegram.fake.world import World
from telegram.fake.world.files import Files
from telegram.fake.world.queue import UpdateQueue

from .access import refusal, server_log
from .calls import Call, CallLog, Delivery, Poll, Stats
from .clock import MovableClock
from .delivery import Deliveries
from .downloads import download
from .faults import Fault, Faults
from .polling import LongPoll
from .replies import Cut, Reply, for_aiohttp

HOST = "127.0.0.1"
DEFAULT_TOKEN = "4200000042:made-up-for-the-fake-server"  # noqa: S105 - it opens nothing
KEEP_ALIVE_S = 500  # like the real server
_PATH = re.compile(r"/bot(?P<token>[^/]+)/(?:test/)?(?P<method>[^/]*)")
_TOKEN = re.compile(r"[1-9]\d{0,16}:[A-Za-z0-9_-]{1,64}")


class FakeServer:
    """A Bot API server for one bot, on 127.0.0.1, closed to web pages of other sites; `async with` starts and stops it.

    `port` 0 picks a free one. `history`: number of messages stored per chat, 0 for none (load tests). `seed`: for the
    probability of faults and the first update_id. `strict` refuses everything that is not in the schema, such as
    unknown parameters: for tests of a bot. `local` behaves like a local Bot API server: files are on disk, `file://`
    URLs refer to them, and there is no download over HTTP. ValueError for a malformed token.
    """

    def __init__(
        self,
        token: str = DEFAULT_TOKEN,
        *,
        port: int = 0,
        history: int = 200,
        seed: int | None = None,
        queue: UpdateQueue | None = None,
        strict: bool = False,
        local: bool = False,
    ) -> None:
        if not _TOKEN.fullmatch(token):
            raise ValueError("the token has not the form of a bot token")
        rng = random.Random(seed)
        bot_id, _, _ = token.partition(":")
        bot = {"id": int(bot_id), "is_bot": True, "first_name": "Chatlane", "username": "chatlane_bot"}
        self.token = token
        self.port = port
        self.clock = MovableClock()
        self.queue = queue or UpdateQueue(clock=self.clock.monotonic, rng=rng)
        self.world = World(bot, self.queue, history=history, clock=self.clock, files=Files(local=local))
        self.faults = Faults(rng)
        self.log = CallLog()
        self._long_poll = LongPoll(self.queue)
        self._webhook = Deliveries(self.world, self._execute, rng)
        self.queue.on_push = self._pushed
        self.world.webhooks.on_change = self._webhook_changed
        self._prefix = f"/bot{token}/"
        self._strict = strict
        self._form_bytes_max = FORM_BYTES_MAX_LOCAL if local else FORM_BYTES_MAX
        self._web: web.Server | None = None
        self._listening: asyncio.Server | None = None
        self._held_port: socket.socket | None = None

    @property
    def url(self) -> str:
        """The base URL for the bot's client: "http://127.0.0.1:PORT"."""
        return f"http://{HOST}:{self.port}"

    @property
    def calls(self) -> list[Call]:
        """All calls but getUpdates, in the order of execution, without forgotten ones (`log.forget`)."""
        return self.log.calls

    @property
    def polls(self) -> list[Poll]:
        """The latest answered getUpdates requests."""
        return list(self.log.polls)

    @property
    def deliveries(self) -> list[Delivery]:
        """The latest requests to the bot's webhook."""
        return self.deliveries_since(0, self._webhook.log.count)

    def deliveries_since(self, n: int, limit: int) -> list[Delivery]:
        """Return up to `limit` requests to the bot's webhook with a number above `n`."""
        return self._webhook.log.since(n, limit)

    def wake_webhook(self) -> None:
        """Deliver what is due, after the clock was moved."""
        self._webhook.wake()

    def _pushed(self) -> None:
        self._long_poll.wake()
        self._webhook.wake()

    def _webhook_changed(self) -> None:
        self._long_poll.webhook_changed()
        self._webhook.change()

    def stats(self) -> Stats:
        """Return the counters since the start."""
        queue, log = self.queue, self.log
        return Stats(
            pending=queue.pending,
            confirmed=queue.confirmed,
            expired=queue.expired,
            dropped=queue.dropped,
            requests=dict(log.requests),
            calls=log.call_count,
            polls=log.poll_count,
            flooded=self.world.flood.refused if self.world.flood else 0,
        )

    async def wait_for_calls(
        self,
        n: int,
        method: str | None = None,
        *,
        delivered: bool | None = None,
        timeout_s: float = 60.0,
    ) -> list[Call]:
        """Wait for `n` calls of `method` (None: any) and return them; TimeoutError contains the number found."""
        return await self.log.wait(n, method, delivered=delivered, timeout_s=timeout_s)

    async def wait_for_long_poll(self) -> None:
        """Wait until a getUpdates request waits for updates."""
        await self._long_poll.waiting()

    # -- the socket -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start listening. OSError if the port is taken."""
        self._web = web.Server(
            self._handle,
            access_log=None,
            logger=server_log,
            handler_cancellation=True,
            keepalive_timeout=KEEP_ALIVE_S,
        )
        await self.up()

    async def stop(self) -> None:
        """Close the port and all connections; waiting requests are aborted."""
        await self.down()
        await self._webhook.down()
        self._release_port()
        self.world.files.close()

    async def down(self) -> None:
        """Simulate an outage: close the port and all connections. State and port number are kept."""
        if self._listening is None or self._web is None:
            return
        self._listening.close()
        self._listening = None
        self._held_port = _bound_socket(self.port)  # bound, not listening: no other process can take the port
        await self._webhook.down()
        for connection in self._web.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await self._web.shutdown(
            timeout=10
        )  # returns at once: the handlers were cancelled with their connections

    async def up(self) -> None:
        """End an outage: listen on the same port again."""
        if self._listening is not None or self._web is None:
            return
        listening, self._held_port = self._held_port or _bound_socket(self.port), None
        self.port = listening.getsockname()[1]
        self._listening = await asyncio.get_running_loop().create_server(
            self._web, sock=listening, backlog=1024
        )
        self._webhook.up()

    def _release_port(self) -> None:
        if self._held_port is not None:
            self._held_port.close()
            self._held_port = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # -- one request ----------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        return for_aiohttp(await self._reply(request))

    async def _reply(self, request: web.BaseRequest) -> Reply | Cut:
        if reason := refusal(request.headers):
            return _refusal(forbidden(reason))
        try:
            method = self._method_of(request.raw_path)
        except ApiError as error:
            return self._file(request, error)
        self.log.requests[_documented_name(method)] += 1
        try:
            params = await read_parameters(request, self._form_bytes_max)
        except ApiError as error:
            self._note(method, {}, error.code, delivered=False)
            return _refusal(error)
        fault = self.faults.pick(method, params) if self.faults else None
        if fault is None:
            return await self._execute(method, params)
        return await self._apply_fault(fault, method, params)

    def _file(self, request: web.BaseRequest, no_method: ApiError) -> Reply:
        try:
            return download(self.world.files, self.token, request) or _refusal(no_method)
        except ApiError as error:
            return _refusal(error)

    def _method_of(self, path: str) -> str:
        """Return the method's name in lower case; ApiError 404 for another path or a malformed token, 401 for a wrong one."""
        path = path.partition("?")[0]
        method = path[len(self._prefix) :]
        if not path.startswith(self._prefix) or "/" in method:
            found = _PATH.fullmatch(unquote(path))
            if found is None or not _TOKEN.fullmatch(found["token"]):
                raise ApiError(404, "Not Found")
            if found["token"] != self.token:
                raise ApiError(401, "Unauthorized")
            method = found["method"]
        return method.lower()

    async def _execute(self, method: str, params: Params, *, cut: bool = False) -> Reply:
        """Execute a call and return the answer; `cut`: the answer will not be sent completely."""
        if method == "getupdates":
            return await self._get_updates(params)
        try:
            reply = Reply(200, accepted(methods.run(self.world, method, params, strict=self._strict)))
        except ApiError as error:
            reply = _refusal(error)
            self.world.emit(
                "refused_call",
                method=_documented_name(method),
                chat_id=integer(params, "chat_id"),
                code=error.code,
                reason=error.description,
            )
        self._note(method, params, 0 if cut else reply.status, delivered=reply.status == 200)
        return reply

    async def _get_updates(self, params: Params) -> Reply:
        asked = self.world.now()
        offset, limit = integer(params, "offset"), integer(params, "limit", 100)
        timeout = integer(params, "timeout")
        try:
            if self.world.logged_out:
                raise ApiError(400, "Logged out")
            check("getUpdates", params, strict=self._strict)
            batch = await self._long_poll.take(offset, limit, timeout, params.get("allowed_updates"))
        except ApiError as error:
            self.log.record_poll(Poll(asked, offset, limit, timeout, -1))
            return _refusal(error)
        self.log.record_poll(Poll(asked, offset, limit, timeout, len(batch)))
        date = formatdate(self.world.now(), usegmt=True)  # like the front-end of api.telegram.org
        body = b'{"ok":true,"result":[%b]}' % b",".join(batch)
        return Reply(200, body, headers=f"Date: {date}\r\n")

    async def _apply_fault(self, fault: Fault, method: str, params: Params) -> Reply | Cut:
        """Return the reply to a call that is hit by `fault` (the table in `faults`)."""
        match fault.kind:
            case "slow":
                reply = await self._execute(method, params)
                await asyncio.sleep(fault.seconds)
                return reply
            case "cut_after":
                head, _ = (await self._execute(method, params, cut=True)).parts()
                return Cut(head[: len(head) // 2])
            case "truncate":
                head, body = (await self._execute(method, params, cut=True)).parts()
                return Cut(head + body[: len(body) // 2])
        status = {"status": fault.code or 500, "html": fault.code or 502, "garbage": 200}.get(fault.kind, 0)
        self._note(method, params, status, delivered=False)
        match fault.kind:
            case "status":
                return _refusal(fault.error())
            case "html":
                page = (
                    b"<html><head><title>%d</title></head><body><center>nginx</center></body></html>" % status
                )
                return Reply(status, page, content_type="text/html")
            case "garbage":
                return Reply(200, b'{"ok":true,"result":')
            case "hang":
                await fault.removed.wait()
        return Cut()

    def _note(self, method: str, params: Params, status: int, *, delivered: bool) -> None:
        forget_contents(params)
        if method == "getupdates":
            offset, limit = integer(params, "offset"), integer(params, "limit", 100)
            self.log.record_poll(Poll(self.world.now(), offset, limit, integer(params, "timeout"), -1))
        else:
            name = methods.METHODS[method].name if method in methods.METHODS else method
            self.log.record(self.world.now(), name, params, status, delivered=delivered)


def _refusal(error: ApiError) -> Reply:
    return Reply(error.code, refused(error), retry_after=error.parameters.get("retry_after"))


def _documented_name(method: str) -> str:
    if method == "getupdates":
        return "getUpdates"
    return methods.METHODS[method].name if method in methods.METHODS else "unknown"


def _bound_socket(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound
