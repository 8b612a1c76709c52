"""Delivers updates by the webhook that is set, over connections as the official server makes them.

The rules are those of `WebhookActor.cpp` (telegram-bot-api 10.0) and `HttpConnectionBase.cpp` (td); which update is
delivered when is decided in `world/webhook.py`:

- One request at a time on each connection, at most `max_connections`, never more than there are lanes that wait.
- While deliveries succeed, 20 new connections a second; 10 s after the last success one connection, tried every 2 s.
- An answer may take 60 s. A connection that is idle for 60 s is closed, and one whose answer says `Connection: close`.
- Only 2xx is a success; a redirection is not followed. 410 for 23 hours deletes the webhook.
- A method in a 2xx answer, in JSON or as a form, is executed, and its result is dropped. Not executed: setWebhook,
  deleteWebhook, close, logOut, and methods that begin with "get".
"""

import asyncio
import base64
import os
import random
import re
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from telegram.fake.protocol.params import Params, params_of
from telegram.fake.world import World
from telegram.fake.world.queue import Pending
from telegram.fake.world.webhook import Schedule, Webhook, trusting

from .calls import DeliveryLog

ANSWER_WITHIN_S: Final = 60.0
ACTIVE_S: Final = 10.0
GONE_S: Final = 23 * 3600.0
_LOOK_EVERY_S: Final = 1.0  # at a clock that tests move
_NOT_EXECUTED: Final = frozenset({"deletewebhook", "setwebhook", "close", "logout"})

Execute = Callable[[str, Params], Awaitable[object]]


class _Connection(ResponseHandler):
    """A connection, from the moment in which it is opened. `given` is the update to deliver next."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.given: asyncio.Future[Pending] = loop.create_future()
        self.task: asyncio.Task[None] | None = None
        self.on_lost: Callable[[], None] | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the deliverer, which gives it no update any more."""
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    async def next(self) -> Pending:
        """Wait for an update; TimeoutError, ConnectionError. While this waits, nothing is lost of what is given."""
        async with asyncio.timeout(ANSWER_WITHIN_S):
            update = await asyncio.shield(self.given)
        self.given = asyncio.get_running_loop().create_future()
        return update


class _Bucket:
    """At most about `count` events in `duration_s`."""

    def __init__(self, count: int, duration_s: float) -> None:
        self._burst, self._every_s = (count - 1) * duration_s / count, duration_s / count
        self._free_at = 0.0

    def wait_s(self, now: float) -> float:
        return max(0.0, self._free_at - self._burst - now)

    def add(self, now: float) -> None:
        self._free_at = max(self._free_at, now) + self._every_s


class _Deliverer:
    """Delivers to one webhook, until `close`."""

    def __init__(
        self, webhook: Webhook, world: World, log: DeliveryLog, rng: random.Random, execute: Execute
    ) -> None:
        self._webhook = webhook
        self._world = world
        self._log = log
        self._execute = execute
        self._schedule = Schedule(world.queue, webhook.max_connections, rng)
        url = webhook.url if "://" in webhook.url else f"https://{webhook.url}"
        self._head = _head(url, webhook.secret_token)
        parts = urlsplit(url)
        self._ssl = trusting(webhook.certificate) if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._ssl else 80)
        self._connections: set[_Connection] = set()
        self._ready: deque[_Connection] = deque()
        self._active, self._pending = _Bucket(10, 0.5), _Bucket(1, 2.0)
        self._succeeded_at = float("-inf")
        self._gone_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._executing: set[asyncio.Task[object]] = set()
        self._is_closed = False

    def pump(self) -> None:
        """Give updates that are due to connections that are free."""
        if self._is_closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._schedule.load()
        wait_s = self._connect()
        while self._ready and (update := self._schedule.take()) is not None:
            self._ready.popleft().given.set_result(update)
        if self._ready and (due_at := self._schedule.due_at) is not None:
            wait_s = min(wait_s, max(0.0, due_at - self._world.queue.clock()))
        self._timer = asyncio.get_running_loop().call_later(min(wait_s, _LOOK_EVERY_S), self.pump)

    async def close(self) -> None:
        """Close the connections; what is under way counts as not delivered."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [each.task for each in self._connections if each.task is not None]
        for task in tasks:
            task.cancel()
        if tasks or self._executing:
            await asyncio.wait([*tasks, *self._executing])

    def _connect(self) -> float:
        """Open connections as far as needed and allowed; return the seconds until the next may be opened."""
        now = self._world.queue.clock()
        needed = min(self._schedule.lanes, self._webhook.max_connections)
        if self._succeeded_at + ACTIVE_S < now:
            bucket, needed = self._pending, min(needed, 1)
        else:
            bucket, needed = self._active, max(needed, 1)
        while len(self._connections) < needed:
            if wait_s := bucket.wait_s(now):
                return wait_s
            bucket.add(now)
            connection = _Connection(asyncio.get_running_loop())
            connection.on_lost = partial(self._lost, connection)
            connection.task = asyncio.create_task(self._live(connection))
            self._connections.add(connection)
            self._ready.append(connection)
        return _LOOK_EVERY_S

    def _lost(self, connection: _Connection) -> None:
        if connection in self._ready:
            self._ready.remove(connection)
            connection.given.cancel()

    async def _live(self, connection: _Connection) -> None:
        """Serve one connection until it is closed. An update that was given and not sent has failed then."""
        transport: asyncio.Transport | None = None
        reason: str | None = None
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                transport = await self._open(connection)
            while await self._deliver(connection, transport):
                self._ready.append(connection)
                self.pump()
        except TimeoutError:
            reason = None if transport is not None else "Connection timed out"  # idle
        except OSError as error:
            reason = _words(error)
        except asyncio.CancelledError:
            if self._is_closed or not connection.given.cancelled():
                raise
        finally:
            if transport is not None:
                transport.abort()
            self._connections.discard(connection)
            if connection in self._ready:
                self._ready.remove(connection)
        if connection.given.done() and not connection.given.cancelled():
            self._failed(connection.given.result(), reason)
        elif reason is not None:
            self._world.webhooks.failed(reason)
        self.pump()

    async def _open(self, connection: _Connection) -> asyncio.Transport:
        host = self._webhook.ip_address or self._host
        name = self._host if self._ssl else None
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: connection, host, self._port, ssl=self._ssl, server_hostname=name
        )
        return transport

    async def _deliver(self, connection: _Connection, transport: asyncio.Transport) -> bool:
        """Wait for an update, and deliver it; return whether the connection goes on."""
        update = await connection.next()
        if transport.is_closing():  # the bot has closed it in this moment; uvloop refuses to write
            self._failed(update, None)
            return False
        began = time.monotonic()
        connection.set_response_params(read_until_eof=False)
        transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(update.raw), update.raw))
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                head, payload = await connection.read()
                body = await payload.read()
        except TimeoutError:
            self._failed(update, "Read timeout expired")
            return False
        except (aiohttp.ClientError, OSError) as error:
            # A connection that is closed in order leaves no last_error (WebhookActor.cpp, handle).
            is_reset = isinstance(error, OSError)
            self._failed(update, "Connection reset by peer" if is_reset else None)
            return False
        except HttpProcessingError:
            self._failed(update, "Wrong response from the webhook")
            return False
        took_s = time.monotonic() - began
        self._log.add(self._world.now(), update.id, head.code, took_s)
        self._answered(update, head.code, head.reason or "", head.headers.get("Retry-After", ""))
        if 200 <= head.code <= 299 and body:
            self._run(params_of(head.headers.get("Content-Type", ""), body))
        return not head.should_close

    def _answered(self, update: Pending, status: int, words: str, retry_after: str) -> None:
        if 200 <= status <= 299:
            self._gone_since = None
            self._succeeded_at = self._world.queue.clock()
            self._schedule.ok(update.id)
            return
        seconds = int(retry_after) if re.fullmatch(r"[0-9]{1,9}", retry_after) else 0
        self._world.webhooks.failed(f"Wrong response from the webhook: {status} {words}".rstrip())
        self._schedule.failed(update.id, seconds)
        now = self._world.queue.clock()
        if status != 410:
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = now
        elif now > self._gone_since + GONE_S:
            self._world.webhooks.change(None)

    def _failed(self, update: Pending, reason: str | None) -> None:
        self._log.add(self._world.now(), update.id, 0, 0.0)
        if reason is not None:
            self._world.webhooks.failed(reason)
        self._schedule.failed(update.id)

    def _run(self, params: Params) -> None:
        method = str(params.pop("method", "")).lower()
        if method and method not in _NOT_EXECUTED and not method.startswith("get"):
            task = asyncio.ensure_future(self._execute(method, params))
            self._executing.add(task)
            task.add_done_callback(self._executing.discard)


class Deliveries:
    """Delivers by whatever webhook is set, while it is `up`."""

    def __init__(self, world: World, execute: Execute, rng: random.Random) -> None:
        self._world = world
        self._execute = execute
        self._rng = rng
        self._deliverer: _Deliverer | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._is_up = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_woken = False
        self.log = DeliveryLog()

    def up(self) -> None:
        """Begin to deliver."""
        self._loop = asyncio.get_running_loop()
        self._is_up = True
        self.change()

    async def down(self) -> None:
        """Close the connections, and deliver nothing until `up`."""
        self._is_up = False
        self.change()
        if self._closing:
            await asyncio.wait(self._closing)

    def wake(self) -> None:
        """Deliver soon: there is an update, or the clock was moved."""
        if self._deliverer is not None and self._loop is not None and not self._is_woken:
            self._is_woken = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._is_woken = False
        if self._deliverer is not None:
            self._deliverer.pump()

    def change(self) -> None:
        """The webhook was set or deleted: cut off what is under way, and begin anew."""
        former, self._deliverer = self._deliverer, None
        if former is not None:
            closing = asyncio.ensure_future(former.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        webhook = self._world.webhooks.current
        if webhook is not None and self._is_up:
            self._deliverer = _Deliverer(webhook, self._world, self.log, self._rng, self._execute)
            self.wake()


def _head(url: str, secret: str) -> bytes:
    parts = urlsplit(url)
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    login, _, host = parts.netloc.rpartition("@")
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}"]
    if login:
        lines.append(f"Authorization: Basic {base64.b64encode(login.encode()).decode()}")
    if secret:
        lines.append(f"X-Telegram-Bot-Api-Secret-Token: {secret}")
    lines += [
        "Content-Type: application/json",
        "Connection: keep-alive",
        "Accept-Encoding: gzip, deflate",
        "",
    ]
    return "\r\n".join(lines).encode()


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "SSL error {certificate verify failed}"
    if isinstance(error, ssl.SSLError):
        return f"SSL error {{{(error.reason or 'unknown').lower().replace('_', ' ')}}}"
    return os.strerror(error.errno) if error.errno else type(error).__name__
