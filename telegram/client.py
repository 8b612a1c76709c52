"""The only way out to Telegram: methods of the Bot API become requests, answers become values or telegram.errors."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

import structlog
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python
from yarl import URL

from telegram.calls import encode_json
from telegram.errors import ServerTrouble, Unreadable, api_error, parse
from telegram.intake import BrokenReply, RawUpdate, split
from telegram.types import Message, Update, User, decode
from telegram.wire import Answer, Wire

# A poll that is being cut must not make the next one wait. Calls have their own pool, so they never delay a poll.
_POLL_CONNECTIONS = 2
# Telegram Bot API server: at most 80 characters, the id below 2**54; the secret's length is not promised.
_TOKEN = re.compile(r"([1-9][0-9]{0,16}):([A-Za-z0-9_-]{1,64})")

_Model = TypeVar("_Model", bound=BaseModel)
log = structlog.get_logger()


class TgClient:
    """A bot's calls to the Bot API. Every failure is a TelegramError; nothing is retried here.

    Use it as `async with TgClient(token) as client`, or close() it; it belongs to one event loop.
    """

    def __init__(
        self,
        token: str,
        *,
        base_url: str = "https://api.telegram.org",
        connections: int = 100,
        timeout_s: float = 30.0,
    ) -> None:
        """Raise ValueError, without quoting the token, for a malformed token or URL.

        `timeout_s` bounds the wait for a connection, and again the wait for the whole answer.
        """
        found = _TOKEN.fullmatch(token)
        if found is None or len(token) > 80 or int(found[1]) >= 2**54:
            raise ValueError("malformed bot token: it looks like 123456789:AbCdEf, as @BotFather gives it")
        if connections < 1 or timeout_s <= 0:
            raise ValueError("connections and timeout_s must be positive")
        url = _checked(base_url)
        self.bot_id = int(found[1])
        self._token = token
        self._timeout_s = timeout_s
        self._target = f"POST {url.raw_path.rstrip('/')}/bot{token}/".encode()
        self._headers = (
            f" HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._calls = Wire(url.origin(), connections, timeout_s)
        self._polls = Wire(url.origin(), _POLL_CONNECTIONS, timeout_s)

    def __repr__(self) -> str:
        return f"<TgClient of bot {self.bot_id}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Cut what is still running (outcome unknown) and close every connection; later calls are NotSent."""
        await self._polls.close()
        await self._calls.close()

    async def get_me(self) -> User:
        """Ask who this bot is; Unauthorized when the token is no good."""
        return _as(User, "getMe", await self.call("getMe"))

    async def get_updates(
        self,
        offset: int | None = None,
        *,
        limit: int = 100,
        timeout_s: int = 50,
        allowed_updates: Sequence[str] | None = None,
    ) -> list[RawUpdate]:
        """Wait up to `timeout_s` (at most 50, else Telegram clamps it) for updates, each with its exact bytes.

        A higher offset makes Telegram forget what is below it as soon as the request arrives.
        """
        body = _json(offset=offset, limit=limit, timeout=timeout_s, allowed_updates=allowed_updates)
        request = self._request("getUpdates", body)
        answer = await self._polls.send("getUpdates", request, self._timeout_s + timeout_s)
        if answer.status == 200:
            with suppress(BrokenReply):
                return split(answer.body, offset=offset or 0)
        raise api_error("getUpdates", *answer, token=self._token)

    async def get_updates_in_objects(
        self,
        offset: int | None = None,
        *,
        limit: int = 100,
        timeout_s: int = 50,
        allowed_updates: Sequence[str] | None = None,
    ) -> list[Update]:
        """Do as get_updates, typed; an unreadable update is skipped with a warning."""
        updates = []
        for raw in await self.get_updates(
            offset, limit=limit, timeout_s=timeout_s, allowed_updates=allowed_updates
        ):
            try:
                updates.append(decode(raw.body))
            except Unreadable:
                log.warning("unreadable update skipped", update_id=raw.update_id)
        return updates

    async def send_message(self, chat_id: int | str, text: str, **params: Any) -> Message:
        """Send a text; further parameters as in the Bot API, with models or plain values."""
        result = await self.call("sendMessage", chat_id=chat_id, text=text, **params)
        return _as(Message, "sendMessage", result)

    async def call(self, method: str, /, **params: Any) -> Any:
        """Call any method and give its `result`; None stands for a parameter that is not given.

        ValueError or TypeError, before anything is sent, for what JSON or UTF-8 cannot hold.
        """
        request = self._request(method, _json(**params))
        answer = await self._calls.send(method, request, self._timeout_s)
        return self._result(method, answer)

    async def post(self, method: str, body: bytes) -> None:
        """Call `method` with a body that is JSON already; returning means that Telegram said ok."""
        answer = await self._calls.send(method, self._request(method, body), self._timeout_s)
        # The server's own spelling needs no parsing; any other, or one that was cut, goes the long way.
        is_plain = answer.body.startswith(b'{"ok":true') and answer.body.endswith(b"}")
        if answer.status != 200 or not is_plain:
            self._result(method, answer)

    def _request(self, method: str, body: bytes) -> bytes:
        if not (method.isascii() and method.isalnum()):
            raise ValueError("the name of a Bot API method has letters and digits only")
        return b"%b%b%b%d\r\n\r\n%b" % (self._target, method.encode(), self._headers, len(body), body)

    def _result(self, method: str, answer: Answer) -> Any:
        found = parse(answer.body) if answer.status == 200 else None
        if isinstance(found, dict) and found.get("ok") is True and "result" in found:
            return found["result"]
        raise api_error(method, *answer, token=self._token)


def _checked(base_url: str) -> URL:
    with suppress(ValueError, TypeError):
        url = URL(base_url)
        bare = url.origin().with_path(url.raw_path, encoded=True)  # no user, password, query, fragment
        if url == bare and url.scheme in {"http", "https"}:
            return url
    raise ValueError("malformed base URL: it looks like https://host, https://host:port or https://host/path")


def _json(**params: Any) -> bytes:
    given = {name: value for name, value in params.items() if value is not None}
    return encode_json(to_jsonable_python(given, by_alias=True, exclude_none=True))


def _as(model: type[_Model], method: str, result: Any) -> _Model:
    with suppress(ValidationError):
        return model.model_validate(result)
    # Raised out here: as a context, pydantic's error would carry the result along.
    raise ServerTrouble(method, 200, f"HTTP 200, the result is no {model.__name__}")
