"""The webhook: Telegram sends updates to this process, which appends them to the inbox; it knows neither handlers nor state.

- 200 only when the update is durable. Otherwise Telegram sends it again; ids seen before are ignored, in any order.
- 503 while the store is away or full, another process may append, or the bot stops: never because of a handler.
- The secret is compared before the body is read. Without it each request is answered with the same 404.
- An update that does not parse is stored, and becomes a dead letter: refused, it would hold up its chat at Telegram.
- A request that has the secret and is refused all the same is a line of the log: the proxy or a setting is wrong.
- It begins when this process alone may append: others do not listen. If that right is lost, requests are answered with
  503, and after LOST_AFTER_S the port is closed, until it is regained; then the webhook is set again. It stays set at a stop, so
  Telegram keeps the updates meanwhile.
"""

import asyncio
import random
from contextlib import suppress
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from engine import Right, StoreError, StoreUnavailable
from telegram.botapi.errors import OutcomeUnknown, RetryAfter, TelegramError, Unauthorized
from telegram.botapi.files import InputFile
from telegram.listening import Listener, NotTakenError, is_in, is_secret, json_body, sender_of
from telegram.service.accepting import Accepting
from telegram.service.failures import Failures
from telegram.service.incoming import Inbox
from telegram.settings.webhook import WebhookConfig

BODY_BYTES_MAX: Final = 1 << 20
RETRY_AFTER_S: Final = 1
LOOK_EVERY_S: Final = 60.0
RIGHT_EVERY_S: Final = 1.0
LOST_AFTER_S: Final = 3.0
GRACE_S: Final = 2.0
SECRET: Final = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the header's name
CONNECTIONS_BESIDE: Final = 100
_LOOKED_AT: Final = ("allowed_updates", "max_connections", "has_custom_certificate")
_NOT_FOUND: Final = "404"
"""In Telegram's text of an error: what `answer` says to a wrong secret."""


class Client(Protocol):
    """The one method that the webhook needs of a TgClient."""

    async def call(self, method: str, /, **params: Any) -> Any:
        """Call a method and return its result; TelegramError."""
        ...


class Webhook:
    """Serves the path of the webhook's URL, and keeps it set at Telegram."""

    def __init__(
        self,
        client: Client,
        inbox: Inbox,
        accepting: Accepting,
        config: WebhookConfig,
        *,
        allowed_updates: list[str],
        rng: random.Random | None = None,
        log: Any = None,
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._accepting = accepting
        self._config = config
        self._allowed_updates = allowed_updates
        self._log = structlog.get_logger() if log is None else log
        self._setting = Failures("the webhook cannot be set", rng or random.Random(), self._log)
        self._storing = Failures("store unavailable, Telegram keeps the updates", random.Random(), self._log)
        self._path = urlsplit(config.url or "").path or "/"
        self._secret = config.secret.encode()
        self._is_stopping = False
        self._right: Right | None = None
        self._last_error: tuple[object, object] | None = None
        self._ours: list[object] = []  # what Telegram said of the webhook after we had set it
        self._has_refused = False  # a request with a wrong secret, since the last look
        self._logged_at: dict[int, float] = {}
        self._listener = (
            Listener(config.listen, connections_max=config.connections + CONNECTIONS_BESIDE)
            if config.listen is not None
            else None
        )

    @property
    def address(self) -> str | None:
        """Where it listens, as HOST:PORT."""
        return None if self._listener is None else str(self._listener.address)

    async def run(self) -> None:
        """Serve until cancelled. Raises Unauthorized for an invalid token, OSError if it cannot listen."""
        try:
            while True:
                self._right = await self._wait_for_right()
                await self._open()
                await self._serve()
                self._log.warning("another process may append: this one does not listen until it may again")
                await self._close()
        finally:
            self._is_stopping = True
            await self._close()
            if self._right is not None:
                with suppress(StoreUnavailable, StoreError, TimeoutError):
                    async with asyncio.timeout(GRACE_S):
                        await self._inbox.resign(self._right)

    async def _open(self) -> None:
        if self._listener is not None:
            app = web.Application(client_max_size=BODY_BYTES_MAX)
            app.router.add_route("*", "/{path:.*}", self.answer)
            await self._listener.start(app)
            self._log.info("webhook", listens=self.address)

    async def _close(self) -> None:
        if self._listener is not None:
            await self._listener.stop(GRACE_S)

    async def _wait_for_right(self, within_s: float | None = None) -> Right:
        """Wait until this process may append; TimeoutError if the store says for `within_s` that another one may.

        A store that is away says nothing, and is waited for: Telegram's requests are answered with 503 meanwhile.
        """
        while True:
            try:
                async with asyncio.timeout(within_s):
                    right = await self._inbox.right()
            except StoreUnavailable as error:
                await asyncio.sleep(self._storing.failed("store", str(error), alarm=True))
            else:
                self._storing.over()
                return right

    # -- at Telegram -------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Keep the webhook set; return when another process may append."""
        clock = asyncio.get_running_loop().time
        is_set, look_at = False, clock()
        while True:
            try:
                right = await self._wait_for_right(LOST_AFTER_S)
            except TimeoutError:
                return
            if right != self._right:
                # Lost and regained: meanwhile another process may have polled, or set a webhook of its own.
                self._right, is_set, look_at = right, False, clock()
            if clock() >= look_at and self._config.url is not None:
                is_set, wait_s = await self._keep_set(self._config.url, is_set=is_set)
                look_at = clock() + wait_s
            await asyncio.sleep(min(RIGHT_EVERY_S, max(0.0, look_at - clock()) or RIGHT_EVERY_S))

    async def _keep_set(self, url: str, *, is_set: bool) -> tuple[bool, float]:
        """Set the webhook, if it is not, and look at it; return whether it is set, and when to look again, in seconds."""
        try:
            if not is_set:
                await self._set(url)
            is_set = self._look(await self._client.call("getWebhookInfo"), url, is_new=not is_set)
        except Unauthorized:
            raise
        except TelegramError as error:
            return is_set, self._delay_after_s(error)
        self._setting.over()
        return is_set, LOOK_EVERY_S if is_set else RIGHT_EVERY_S

    def _delay_after_s(self, error: TelegramError) -> float:
        # setWebhook is allowed once a second (telegram-bot-api, Client.cpp).
        delay_s = error.retry_after_s if isinstance(error, RetryAfter) else None
        return self._setting.failed(type(error).__name__, str(error), delay_s=delay_s, alarm=True)

    async def _set(self, url: str) -> None:
        file = self._config.certificate
        await self._client.call(
            "setWebhook",
            url=url,
            secret_token=self._config.secret,
            allowed_updates=self._allowed_updates,
            max_connections=self._config.connections,
            certificate=None if file is None else InputFile(file),
        )

    def _look(self, info: Any, url: str, *, is_new: bool) -> bool:
        """Log Telegram's last error once; return whether the webhook is still ours. `is_new`: we have set it just now."""
        if not isinstance(info, dict):  # of a broken server of one's own
            raise OutcomeUnknown("getWebhookInfo", "its answer is no WebhookInfo")
        error, before = (info.get("last_error_date"), info.get("last_error_message")), self._last_error
        if error[1] and error != before:
            self._log.warning(
                "Telegram cannot deliver updates", reason=error[1], pending=info.get("pending_update_count")
            )
        self._last_error = error
        has_refused, self._has_refused = self._has_refused, False
        seen = [info.get(name) for name in _LOOKED_AT]
        if is_new:
            self._ours = seen
        if info.get("url") != url or seen != self._ours:
            self._log.error("another process has changed the webhook: it is set again")
            return False
        # Telegram does not show its secret. To set it once a minute changes nothing if it was right.
        if not is_new and has_refused and error != before and _NOT_FOUND in str(error[1]):
            self._log.error("Telegram may have another secret of the webhook: it is set again")
            return False
        return True

    # -- one request -------------------------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        is_here = request.rel_url.raw_path == self._path
        if not self._has_secret(request):
            self._has_refused |= is_here
            return _answer(404)
        if not self._is_from_allowed(request):
            sender = sender_of(request, self._config.proxies) or "an unknown address"
            return self._refused(404, f"it comes from {sender}, which is not in WEBHOOK_NETWORKS")
        if not is_here:
            return self._refused(
                404, f"its path is {request.rel_url.raw_path!r:.80}, not that of WEBHOOK_URL"
            )
        if self._is_stopping:
            return _answer(503)
        try:
            body = await json_body(request, BODY_BYTES_MAX)
        except NotTakenError as error:
            return self._refused(error.status, str(error))
        try:
            await self._accepting.accept(body)
        except ValueError as error:
            return self._refused(400, str(error))
        except (StoreUnavailable, StoreError) as error:
            self._storing.failed("store", str(error), alarm=True)
            return _answer(503)
        self._storing.over()
        return _answer(200)

    def _refused(self, status: int, reason: str) -> web.Response:
        """Log why, for each status once a minute: the sender has the secret, so it is Telegram, or the proxy is wrong."""
        now = asyncio.get_running_loop().time()
        if now >= self._logged_at.get(status, now):
            self._logged_at[status] = now + LOOK_EVERY_S
            self._log.warning("a request with the webhook's secret is refused", status=status, reason=reason)
        return _answer(status)

    def _has_secret(self, request: web.Request) -> bool:
        given = request.headers.getall(SECRET, [])
        return is_secret(given[0] if len(given) == 1 else "", self._secret)

    def _is_from_allowed(self, request: web.Request) -> bool:
        networks = self._config.networks
        return not networks or is_in(sender_of(request, self._config.proxies), networks)


def _answer(status: int) -> web.Response:
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return web.Response(status=status, headers=headers)
