"""The body of a request whose sender has the secret: JSON, with bounded size and time."""

import asyncio
import hmac
from typing import Final

from aiohttp import web

BODY_WITHIN_S: Final = 10.0


class NotTakenError(Exception):
    """The request is to be answered with `status`; the text says why, in one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def is_secret(given: str, secret: bytes) -> bool:
    """Return whether `given` is the secret, compared in constant time, whatever it is."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret)


def bearer_of(header: str) -> str:
    """Return the token of an Authorization header; "" for another scheme. The scheme's case does not matter (RFC 9110, 11.1)."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def json_body(request: web.Request, bytes_max: int) -> bytes:
    """Return the body of a POST with JSON; NotTakenError. The application's `client_max_size` is to be `bytes_max`, too."""
    if request.method != "POST":
        raise NotTakenError(405, "use POST")
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise NotTakenError(415, "send Content-Type: application/json, without a Content-Encoding")
    return await read_body(request, bytes_max)


async def read_body(request: web.Request, bytes_max: int) -> bytes:
    """Return the body of a request, within BODY_WITHIN_S; NotTakenError."""
    too_long = NotTakenError(413, f"the body has more than {bytes_max} bytes")
    if (request.content_length or 0) > bytes_max:
        raise too_long
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            return await request.read()
    except TimeoutError:
        raise NotTakenError(408, f"the body did not arrive within {BODY_WITHIN_S:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise too_long from None
    except (ConnectionError, web.RequestPayloadError):
        raise NotTakenError(400, "the body ended before its end") from None
