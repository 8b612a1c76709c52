"""A server that quotes the token in whatever it says, and the judge of whether any of it can be read."""

import asyncio
import base64
import json
import random
import re
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast
from urllib.parse import unquote

from telegram.botapi.errors import (
    TEXT_MAX,
    DownloadCut,
    FileUnusable,
    Unreadable,
)

SECRET = "AAFk3x_9Qw-Zt7LmB2vR8yNdHc5GsJ1uEoP"
TOKEN = f"7291834650:{SECRET}"
PATH = f"/bot{TOKEN}/getMe"


# -- what a leak is --------------------------------------------------------------------------------------------


def windows(whole: str, length: int, step: int = 1) -> set[str]:
    return {whole[at : at + length] for at in range(0, len(whole) - length + 1, step)}


PIECES = windows(SECRET.lower(), 12)
# Of base64 of whatever the secret stands in: three alignments, without the ends that depend on the neighbours.
# Twelve bytes of it are sixteen letters, and these hold one of the eight that are looked for.
BASE64 = {
    piece
    for shift in range(3)
    for piece in windows(base64.b64encode(b" " * shift + SECRET.encode()).decode()[4:-4], 8, 8)
}
ESCAPES = re.compile(rb"\\(?:[nrt0]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})")
GLUE = bytes(byte for byte in range(256) if not ((chr(byte).isalnum() and byte < 128) or byte in b"_-"))


def leaks(told: str) -> set[str]:
    """The pieces of the secret that can be read: as they are, in crumbs, escaped, as %41, or in base64."""
    readable = unquote(told)
    squeezed = ESCAPES.sub(b"", readable.encode("ascii", "ignore")).translate(None, GLUE).decode().lower()
    found = {piece for piece in PIECES if piece in squeezed}
    return found | {piece for piece in BASE64 if piece in told}


def everything(error: BaseException | None) -> Iterator[str]:
    """Whatever of an error and of those behind it could be shown: more than any rendering of a traceback does."""
    if error is None:
        return
    yield f"{error} {error!r} {error.args!r} {vars(error)!r}"
    # Data is not an error: variables hold the update, what a download brought, the path that a local server gave.
    shows_variables = not isinstance(error, Unreadable | DownloadCut | FileUnusable)
    shown = traceback.TracebackException.from_exception(error, capture_locals=shows_variables)
    for frame in shown.stack:  # its format() would spend most of the time on the carets
        yield f"{frame.name} {frame.line} {frame.locals}"
    yield from shown.format_exception_only()
    for behind in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        yield from everything(behind)


# -- a server that quotes ---------------------------------------------------------------------------------------


def crumbs(path: str, length: int, glue: str) -> str:
    return glue.join(path[at : at + length] for at in range(0, len(path), length))


SPELLINGS: dict[str, Callable[[str, int], str]] = {
    "path": lambda path, _: path,
    "URL": lambda path, _: f"cannot serve https://api.telegram.org{path}?x=1",
    "secret": lambda path, _: path.split(":")[1].split("/")[0],
    "%3A": lambda path, _: path.replace(":", "%3A"),
    "%3a": lambda path, _: path.replace(":", "%3a"),
    "%253A": lambda path, _: path.replace(":", "%253A"),
    "%2D": lambda path, _: path.replace("-", "%2D").replace("_", "%5f"),
    "every %": lambda path, _: "".join(f"%{ord(letter):02x}" for letter in path),
    "BOT": lambda path, _: path.replace("bot", "BOT"),
    "Bot": lambda path, _: path.replace("bot", "Bot"),
    "upper case": lambda path, _: path.upper(),
    "lower case": lambda path, _: path.lower(),
    "twice": lambda path, _: f"{path} and {path}",
    "thrice in a row": lambda path, _: path.split("/")[1] * 3,
    "a number and a colon": lambda path, _: f"12345:{path}",
    "lines": lambda path, number: crumbs(path, number, "\r\n"),
    "spaces": lambda path, number: crumbs(path, number, " "),
    "NUL": lambda path, number: crumbs(path, number, "\0"),
    "zero width": lambda path, number: crumbs(path, number, "\u200b"),
    "dots": lambda path, number: crumbs(path, number, "..."),
    "first part": lambda path, number: path[: path.index(":") + number],
    "last part": lambda path, number: path[path.index(":") + number :],
    "middle": lambda path, number: path[: path.index(":") + number] + "..." + path[-number:],
    "where texts are cut": lambda path, number: "x" * (TEXT_MAX - 3 * number) + path,
    "repr": lambda path, _: repr(f"GET {path}\r\n".encode()),
    "JSON": lambda path, _: json.dumps({"path": path, "again": [path]}),
}


class Reply(NamedTuple):
    raw: bytes
    then: str = "keep"  # else close, abort


def http(status: int, body: str, headers: str = "", reason: str = "x") -> bytes:
    content = body.encode("utf-8", "replace")
    head = f"HTTP/1.1 {status} {reason}\r\n{headers}Content-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def envelope(status: int, said: str, **more: object) -> str:
    return json.dumps({"ok": False, "error_code": status, "description": said} | more)


def result(said: object) -> str:
    return json.dumps({"ok": True, "result": said})


def updates(said: str) -> str:
    return result(
        [{"update_id": 1, said: {"x": said}}, {"update_id": said}, {"update_id": 3, "message": said}]
    )


def in_base64(said: str) -> str:
    return base64.b64encode(said.encode()).decode()


ANSWERS: tuple[Callable[[int, str], Reply], ...] = (
    # A description is the one thing of a server that is told, so most answers have one.
    *[lambda status, said: Reply(http(status, envelope(status, said)))] * 9,
    lambda status, said: Reply(http(200, envelope(status, said))),
    lambda status, said: Reply(http(status, envelope(400, f"Logged out {said}"))),
    lambda status, said: Reply(http(429, envelope(429, said, parameters={"retry_after": said, said: 1}))),
    lambda status, said: Reply(http(429, envelope(429, said, parameters={"retry_after": 10**99}))),
    lambda status, said: Reply(http(status, envelope(status, said, parameters=said, error_code=said))),
    lambda status, said: Reply(http(status, json.dumps({"ok": False, "description": {said: [said]}}))),
    lambda status, said: Reply(http(status, f"<html><h1>{said}</h1>{in_base64(said)}</html>")),
    lambda status, said: Reply(http(status, in_base64(said))),
    lambda status, said: Reply(http(302, said, f"Location: {said}\r\n")),
    lambda status, said: Reply(http(status, "", f"Server: {said}\r\nX-Path: {in_base64(said)}\r\n")),
    lambda status, said: Reply(http(429, "", f"Retry-After: {said}\r\nSet-Cookie: a={said}\r\n")),
    lambda status, said: Reply(http(status, "", reason=said)),
    lambda status, said: Reply(http(200, f"{said} and more", f"X-Path: {said}\r\n", said)[:-9], "close"),
    lambda status, said: Reply(http(status, envelope(status, said)[:-20])),
    lambda status, said: Reply(http(status, f'{{"ok":false,"{said}')),
    lambda status, said: Reply(http(200, result(said))),
    lambda status, said: Reply(http(200, result({"id": said, "date": [said], said: said}))),
    lambda status, said: Reply(http(200, updates(said))),
    lambda status, said: Reply(http(200, result([said, {said: said}]))),
    lambda status, said: Reply(http(status, said)[:-9], "close"),
    lambda status, said: Reply(http(200, result(said))[:-3], "abort"),
    lambda status, said: Reply(b"HTTP/1.1 200 x\r\nContent-Length: 99999\r\n\r\n" + said.encode(), "close"),
    lambda status, said: Reply(f"HTTP/1.1 200 x\r\nContent-Length: {said}\r\n\r\n".encode(), "close"),
    lambda status, said: Reply(
        b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n" + said.encode(), "close"
    ),
    lambda status, said: Reply(
        f"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n{len(said):x}\r\n{said}\r\n".encode(), "abort"
    ),
    lambda status, said: Reply(http(status, said, "Content-Encoding: gzip\r\n"), "close"),
    lambda status, said: Reply(f"{said}\r\n\r\n".encode(), "close"),
    lambda status, said: Reply(f"HTTP/1.1 {said}\r\n\r\n".encode(), "close"),
    lambda status, said: Reply(f"HTTP/1.1 200 x\r\n{said}\r\n{said}\0: {said}\r\n\r\n".encode(), "close"),
    lambda status, said: Reply(b"HTTP/1.1 103 x\r\nLink: " + said.encode() + b"\r\n\r\n", "abort"),
    lambda status, said: Reply(b"", "close"),
    lambda status, said: Reply(b"", "abort"),
)


class Hostile(asyncio.Protocol):
    """One connection of the server. `script` makes a reply of a request's path; a raised ConnectionError hangs up."""

    def __init__(self, script: Callable[[str], Reply | None]) -> None:
        self._script = script
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no instances of it

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, whole, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if b"HTTP/1.1" not in head or not whole or (length and len(body) < int(length[1])):
            return  # a body without a length is answered at its beginning
        self._received = b""
        reply = self._script(head.split(b" ")[1].decode())
        if reply is None:
            return  # silence
        self._transport.write(reply.raw)
        if reply.then == "abort":
            self._transport.abort()
        elif reply.then == "close":
            self._transport.close()


def hostile(rng: random.Random, path: str) -> Reply:
    said = rng.choice(list(SPELLINGS.values()))(path, rng.randint(4, 30))
    status = rng.choice((rng.randint(200, 599), rng.choice((400, 401, 403, 409, 429, 502))))
    return rng.choice(ANSWERS)(status, said)


async def serve(script: Callable[[str], Reply | None]) -> tuple[asyncio.Server, str]:
    server = await asyncio.get_running_loop().create_server(lambda: Hostile(script), "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
