"""The monitoring of one process: the listener and its pages, and the tasks that measure. Off without METRICS_LISTEN."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Self

import structlog
from aiohttp import web

from telegram.listening import Address, Listener
from telegram.metrics.counts import Counts
from telegram.metrics.exposition import CONTENT_TYPE, Exposition
from telegram.metrics.health import Asked, Health, Probed, Watched
from telegram.metrics.pages import application

log = structlog.get_logger(__name__)

CONNECTIONS_MAX: Final = 32
GRACE_S: Final = 0.5
"""Time for requests in progress when the monitoring ends."""


class Monitoring:
    """Serves /healthz, /readyz and /metrics while it is entered; give its `counts` to the bot, as the meter.

    /healthz needs no token and has no content; /readyz without the token has a status only; /metrics needs it. `wall` returns
    Unix time by the clock of updates, `clock` seconds: not the event loop's (engine/meter.py).
    """

    def __init__(
        self,
        address: Address,
        token: str,
        client: Asked,
        wall: Callable[[], float],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._wall = wall
        self.counts = Counts(wall, clock)
        """The bot's meter."""

        self.health = Health(self.counts, clock)
        """Who made the store and the bot sets them here."""

        self._exposition = Exposition(self.counts, self.health)
        pages = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
        self._app = application(pages, token)
        self._listener = Listener(address, connections_max=CONNECTIONS_MAX)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def address(self) -> Address:
        """Where it listens, with the port that was picked."""
        return self._listener.address

    async def __aenter__(self) -> Self:
        await self._listener.start(self._app)
        log.info("metrics are served", address=str(self.address))
        self._start(self.health.measure_lag(), "loop lag")
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.stop(GRACE_S)

    def serve(self, store: Probed, bot: Watched) -> None:
        """Note that this process has the store, and its bot is about to start."""
        self.health.store, self.health.bot = store, bot
        self._start(self.health.ask_telegram(self._client), "webhook info")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _healthz(self, _: bool) -> web.Response:
        return web.Response()

    async def _readyz(self, has_token: bool) -> web.Response:
        problems = await self.health.problems()
        body = json.dumps(problems) if has_token else ""
        return web.Response(text=body, status=503 if problems else 200, content_type="application/json")

    async def _metrics(self, has_token: bool) -> web.Response:
        if not has_token:
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        body = await self._exposition.text(self._wall())
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
