"""Events over HTTP: `POST /events/CHAT` does what `Bot.post` does, for whoever has the token.

200 only when the event is durable. The token is compared before anything else is looked at; without it each request has the
same answer. An id is needed: after an error, or none, the sender repeats the request, and the event is handled once.
"""

import asyncio
import json
import random
import re
from typing import Any, Final, Protocol, Self

import structlog
from aiohttp import web

from engine import StoreError, StoreUnavailable
from telegram.listening import Address, Listener, NotTakenError, bearer_of, is_secret, json_body
from telegram.service.failures import Failures

log = structlog.get_logger(__name__)

BODY_BYTES_MAX: Final = 512 << 10
"""A payload of 64 KiB, each character escaped, and the rest."""

STORE_WITHIN_S: Final = 20.0
GRACE_S: Final = 2.0
RETRY_AFTER_S: Final = 1
CONNECTIONS_MAX: Final = 128
_PATH: Final = re.compile(r"/events/(-?[0-9]{1,19})")
_FIELDS: Final = {"event": True, "id": True, "payload": False, "user_id": False, "topic": False}
"""Fields of the body, and whether they are needed."""

_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Posting(Protocol):
    """What is needed of the Bot."""

    async def post(
        self,
        chat_id: int,
        name: str,
        payload: Any = None,
        *,
        id: str | int | None = None,  # noqa: A002 - as of Bot.post
        user_id: int | None = None,
        topic: int | None = None,
    ) -> None:
        """See Bot.post."""
        ...


class Events:
    """Takes events while it is entered; before the bot runs, and when it stops, they are answered with 503."""

    def __init__(self, address: Address, token: str, bot: Posting) -> None:
        self._bot = bot
        self._token = token.encode()
        self._listener = Listener(address, connections_max=CONNECTIONS_MAX)
        self._failures = Failures("an event cannot be stored, its sender repeats it", random.Random(), log)

    @property
    def address(self) -> Address:
        """Where it listens, with the port that was picked."""
        return self._listener.address

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/{path:.*}", self.answer)
        await self._listener.start(app)
        log.info("events are taken", address=str(self.address))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listener.stop(GRACE_S)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        given = request.headers.getall("Authorization", [])
        if len(given) != 1 or not is_secret(bearer_of(given[0]), self._token):
            return _answer(
                401, "the header Authorization: Bearer EVENTS_TOKEN is needed", {"WWW-Authenticate": "Bearer"}
            )
        try:
            found = _PATH.fullmatch(request.rel_url.raw_path)
            if found is None:
                raise NotTakenError(
                    404, "use POST /events/CHAT, where CHAT is an id like 42 or -1001234567890"
                )
            event = _read(await json_body(request, BODY_BYTES_MAX))
            await self._post(int(found[1]), event)
        except NotTakenError as error:
            return _answer(error.status, str(error), {"Allow": "POST"} if error.status == 405 else {})
        return _answer(200)

    async def _post(self, chat_id: int, event: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(STORE_WITHIN_S):
                await self._bot.post(
                    chat_id,
                    event["event"],
                    event.get("payload"),
                    id=event["id"],
                    user_id=event.get("user_id"),
                    topic=event.get("topic"),
                )
        except (TypeError, ValueError) as error:
            raise NotTakenError(400, str(error)) from None
        except TimeoutError:
            raise self._unavailable(f"the store did not take it within {STORE_WITHIN_S:g} s") from None
        except (StoreUnavailable, StoreError) as error:
            raise self._unavailable(str(error)) from None
        except RuntimeError:
            raise NotTakenError(503, "the bot is starting or stopping: send it again") from None
        self._failures.over()

    def _unavailable(self, reason: str) -> NotTakenError:
        self._failures.failed("store", reason, alarm=True)
        return NotTakenError(503, "not stored, or that is not known: send it again with the same id")


def _read(body: bytes) -> dict[str, Any]:
    """Return the fields of a body; NotTakenError."""
    try:
        fields = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise NotTakenError(400, f"the body is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise NotTakenError(
            400, 'the body is a JSON object, like {"event": "paid", "id": "inv-17", "payload": {}}'
        )
    if unknown := sorted(fields.keys() - _FIELDS.keys()):
        raise NotTakenError(400, f"unknown field {unknown[0]!r:.60}: there are {', '.join(_FIELDS)}")
    for name, is_needed in _FIELDS.items():
        if is_needed and fields.get(name) is None:
            raise NotTakenError(400, f"the field {name!r} is needed")
    if not isinstance(fields["event"], str):
        raise NotTakenError(400, "the field 'event' is a text, the name of @router.event")
    return fields


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _answer(status: int, error: str = "", headers: dict[str, str] | None = None) -> web.Response:
    body = {"ok": False, "error": error} if error else {"ok": True}
    again = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
    return web.json_response(body, status=status, headers={**_HEADERS, **again, **(headers or {})})
