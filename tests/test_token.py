"""The token is in no error, traceback, log line or repr, though a hostile server quotes it in whatever it says."""

import asyncio
import base64
import json
import logging
import random
import re
import socket
import sys
import threading
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import aiohttp
import pytest
import structlog
from pydantic import SecretBytes

import run
import telegram.errors
from engine import Delivery, Envelope, Lease, Park, Queue, Reject, Retry
from engine.stores import open_store
from telegram.bot import Bot, BotConfig
from telegram.calls import encode_call
from telegram.client import TgClient
from telegram.decoding import decode
from telegram.dialogue import MessageContext, Router, text
from telegram.errors import (
    TEXT_MAX,
    DownloadCut,
    FileUnusable,
    NotSent,
    OutcomeUnknown,
    TelegramError,
    Unauthorized,
    Unreadable,
)
from telegram.files import InputFile
from telegram.logs import LogFormat, set_up_logging
from telegram.sender import Sender
from telegram.types import File
from telegram.wire import Answer
from tests.kit.virtual import run_virtual

SEED = 4
PARTS, CALLS = 4, 2_900  # some calls of each part succeed; at least 2,500 fail
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
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

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


# -- the ways to call -------------------------------------------------------------------------------------------


Call = Callable[[], Awaitable[object]]


async def send(client: TgClient, files: bool) -> None:
    params = {"chat_id": 1, "document": InputFile(b"x" * 99, filename="x")} if files else {"chat_id": 1}
    envelope_ = Envelope(1, "chat:1", "", encode_call("sendDocument", params))
    await Sender(client, jitter=lambda: 0.5)(Delivery(Lease(Queue.OUTBOX, "chat:1", 1), envelope_, 1, None))


async def read(client: TgClient) -> None:
    for update in await client.get_updates(1):
        decode(update.body)


async def slow() -> AsyncIterator[bytes]:
    for _ in range(99):
        await asyncio.sleep(0)
        yield b"x"


def ways(client: TgClient, folder: Path) -> list[Call]:
    here = File(file_id="x", file_unique_id="x", file_path="photos/x.jpg")
    often: list[Call] = [
        client.get_me,
        client.get_updates,
        client.get_updates_in_objects,
        partial(read, client),
        partial(client.call, "getSomething", number=5),
        partial(client.post, "sendMessage", b"{}"),
        partial(client.send_message, chat_id=5, text="hi"),
        client.get_webhook_info,
        client.log_out,
        partial(client.get_chat_administrators, chat_id=5),
        partial(client.get_file, file_id="x"),
        partial(send, client, files=False),
    ]
    rarely: list[Call] = [
        partial(send, client, files=True),
        partial(client.send_document, chat_id=5, document=InputFile(b"x" * 99, filename="x")),
        partial(client.send_document, chat_id=5, document=InputFile(folder / f"bot{TOKEN}" / "missing")),
        lambda: client.send_document(chat_id=5, document=InputFile(slow(), filename="x")),
        partial(client.download, "x", folder / "a"),
        partial(client.download, here, folder / "b", resume=False),
        partial(client.download, here, folder / "c", limit_bytes=10),
    ]
    return [*often * 6, *rarely]


class Errors:
    """Counts what was provoked, and looks into each one at once."""

    def __init__(self) -> None:
        self.kinds: Counter[type[BaseException]] = Counter()

    async def of(self, call: Call) -> BaseException | None:
        """Call, and look at what is raised. No variable here may hold the token: tracebacks begin in this frame."""
        error = None
        try:
            await call()
        except (TelegramError, Park, Retry, Reject) as raised:
            error = raised
        self.look(error)
        return error

    def look(self, error: BaseException | None) -> None:
        if error is not None:
            self.kinds[type(error)] += 1
            told = "\n".join(everything(error))
            assert not leaks(told), told


def kinds(base: type[BaseException]) -> set[type[BaseException]]:
    below = set(base.__subclasses__())
    return below.union(*map(kinds, below))


# -- the tests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_leak_is_seen(spelling: str) -> None:
    said = SPELLINGS[spelling](PATH, 15)
    assert leaks(f"x {said} y")
    assert leaks(f"x {said!r} y")
    assert leaks(json.dumps(said))
    assert leaks(in_base64(PATH))
    assert not leaks(Path(__file__).with_name("test_client.py").read_text())


@pytest.mark.parametrize("part", range(PARTS))
async def test_ten_thousand_errors_do_not_tell_the_token(
    part: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng, errors = random.Random(SEED + part), Errors()
    server, url = await serve(partial(hostile, rng))
    async with server, TgClient(TOKEN, base_url=url) as client:
        called = ways(client, tmp_path)
        with structlog.testing.capture_logs() as logs:
            for _ in range(CALLS):
                await errors.of(rng.choice(called))
        await unconnected(client, errors, rng, monkeypatch)
        shown = [client, client._calls, client._polls, client._downloads, client._files]
        told = [f"{part} {part!r} {vars(part)!r}" for part in shown]
    assert isinstance(await errors.of(client.get_me), NotSent)
    for line in [*told, repr(logs), *capsys.readouterr(), caplog.text]:
        assert not leaks(line), line
    assert errors.kinds.total() >= 10_000 / PARTS
    ours = {kind for kind in kinds(TelegramError) if kind.__module__ == telegram.errors.__name__}
    assert errors.kinds.keys() >= (ours - {telegram.errors.ApiError}) | {Park, Retry, Reject}


async def unconnected(
    client: TgClient, errors: Errors, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an operating system or another version of the library may say when there is no connection."""
    broken: list[Callable[[str], Exception]] = [
        aiohttp.ClientError,
        TimeoutError,
        partial(OSError, 113),
        partial(socket.gaierror, -2),
    ]
    failures = cycle(broken)

    async def connect(*_: object) -> object:
        raise next(failures)(rng.choice(list(SPELLINGS.values()))(PATH, rng.randint(4, 30)))

    with monkeypatch.context() as patched:
        patched.setattr(aiohttp.TCPConnector, "connect", connect)
        for _ in range(100):
            assert isinstance(await errors.of(client.get_me), NotSent)


async def test_failures_of_the_network_do_not_tell_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = Errors()
    silent, url = await serve(lambda _: None)

    async def getaddrinfo(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening
        refusing = f"http://127.0.0.1:{taken.getsockname()[1]}"
        cases = [
            (refusing, NotSent),
            (f"{refusing}{PATH}", NotSent),
            (url.replace("http:", "https:"), NotSent),  # the answer to a TLS hello is silence
            ("https://name.invalid", NotSent),
            (f"https://{SECRET.lower().replace('_', '')}.invalid", NotSent),
            (url, OutcomeUnknown),
        ]
        async with silent:
            for base_url, kind in cases:
                async with TgClient(TOKEN, base_url=base_url, timeout_s=0.05) as client:
                    for call in (client.get_me, partial(client.get_updates, timeout_s=0)):
                        assert isinstance(await errors.of(call), kind)


async def test_a_server_without_tls_does_not_tell_the_token() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(400, envelope(400, PATH)))
        writer.close()

    errors = Errors()
    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with TgClient(TOKEN, base_url=url) as client:
            assert "SSL" in str(await errors.of(client.get_me))


# -- a whole bot, and what it logs ------------------------------------------------------------------------------


@pytest.fixture
def own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging that a test may set up: afterwards it is as it was."""
    configure, root = structlog.configure, logging.getLogger()
    before, level = root.handlers[:], root.level

    def uncached(**settings: Any) -> None:  # a logger that was used once would keep these settings for ever
        configure(**settings | {"cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", uncached)
    root.handlers.clear()  # else basicConfig(force=True) closes them
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


class HostileWire:
    """Stands for the wires of a client on virtual time, with answers that quote what they were asked."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._update_id = 0
        self.failures = 0
        self.revoked = False

    async def send(self, method: str, request: SecretBytes, timeout_s: float, body: object = None) -> Answer:
        await asyncio.sleep(1)
        path = request.get_secret_value().split(b" ")[1].decode()
        if self.revoked and method == "getUpdates":
            return Answer(401, envelope(401, path).encode(), None)
        if self._rng.random() < 0.5 and (method == "sendMessage" or self.failures > 20):
            return Answer(200, self._good(method, path).encode(), None)
        self.failures += 1
        if not self.failures % 9:
            raise self._rng.choice([NotSent, OutcomeUnknown])(method, "cut")
        said = self._rng.choice(list(SPELLINGS.values()))(path, self._rng.randint(4, 30))
        code = self._rng.choice([400, 403, 409, 413, 429, 500, 502] if method != "getMe" else [403, 500])
        return Answer(code, envelope(code, said, parameters={"retry_after": 3}).encode(), None)

    def _good(self, method: str, path: str) -> str:
        """A success that quotes, too: here the log itself has to strike it out."""
        if method == "getMe":
            return result(
                {"id": 1, "is_bot": True, "first_name": path, "username": f"{path[:30]}...{path[-30:]}"}
            )
        if method != "getUpdates":
            return result(True)
        self._update_id += 3
        message = {
            "message_id": 1,
            "date": 1,
            "chat": {"id": self._update_id % 50, "type": "private"},
            "text": path,
        }
        numbers = range(self._update_id - 2, self._update_id + 1)
        return result(
            [{"update_id": numbers[0], path: 1}, *({"update_id": n, "message": message} for n in numbers[1:])]
        )

    async def close(self) -> None:
        """Has nothing to close."""


def talkative() -> Router:
    router = Router()

    @router.message(text)
    async def answer(ctx: MessageContext) -> None:
        if ctx.update.update_id % 5 == 0:
            raise RuntimeError(f"cannot fetch {ctx.text} ({ctx.text[:30]}...)")
        ctx.reply("hi")

    return router


async def live(wire: HostileWire, errors: Errors) -> list[str]:
    """A bot's life with that server, until its token is revoked; returns its dead calls' reasons."""
    client = TgClient(TOKEN)
    client._calls = client._polls = wire  # type: ignore[assignment]
    store = await open_store("memory:", "1")
    bot = Bot(client, store, talkative(), BotConfig(attempts_max=2), rng=random.Random(SEED))
    await bot.start()
    await asyncio.sleep(900)
    wire.revoked = True
    with pytest.raises(Unauthorized) as caught:
        await bot.wait()
    errors.look(caught.value)
    return [letter.reason for letter in await store.dead_letters(10_000) if letter.queue is Queue.OUTBOX]


@pytest.mark.usefixtures("own_logging")
@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_bot_does_not_log_the_token(capsys: pytest.CaptureFixture[str], format_: LogFormat) -> None:
    set_up_logging("debug", format_, TOKEN)
    wire, errors = HostileWire(random.Random(SEED)), Errors()
    reasons = run_virtual(live(wire, errors))
    logging.getLogger("library").error("cannot post to %s", PATH, exc_info=ValueError(PATH))
    logging.getLogger("library").error("%d is no number", PATH)  # a wrong call of the library's
    written = capsys.readouterr().err
    lines = written.splitlines()
    for told in [*reasons, *lines, written]:
        assert not leaks(told), told
    assert wire.failures > 500
    assert len(reasons) > 50
    for event in (
        "trying again",
        "handler failed",
        "RuntimeError",
        "polling is in trouble",
        "dead letter",
        "debug",
    ):
        assert event in written
    assert any("started" in line and "***" in line for line in lines)


# -- run.py -----------------------------------------------------------------------------------------------------


class Refusing(BaseHTTPRequestHandler):
    """Refuses the token, and quotes it."""

    def do_POST(self) -> None:
        body = envelope(401, f"no bot at {self.path}").encode()
        self.send_response(401, self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("own_logging")
@pytest.mark.parametrize(
    ("says", "settings"),
    [
        ("malformed bot token", {"BOT_TOKEN": f"{TOKEN} "}),
        ("malformed bot token", {"BOT_TOKEN": SECRET}),
        ("malformed bot token", {"BOT_TOKEN": PATH}),
        ("malformed base URL", {"TELEGRAM_API_URL": f"https://u:{SECRET}@127.0.0.1"}),
        ("malformed base URL", {"TELEGRAM_API_URL": f"https://127.0.0.1/?{TOKEN}"}),
        ("malformed base URL", {"TELEGRAM_API_URL": TOKEN}),
        ("WORKERS: ", {"WORKERS": TOKEN}),
        ("LOG_LEVEL: ", {"LOG_LEVEL": TOKEN}),
        ("STORE_URL", {"STORE_URL": f"sqlite:/nowhere/{TOKEN}/bot.db"}),
        ("module", {"HANDLERS": f"nowhere:{TOKEN}"}),
        ("refuses BOT_TOKEN", {}),
    ],
)
def test_run_does_not_tell_the_token(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    refusing: str,
    says: str,
    settings: dict[str, str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(run, "tune_garbage_collection", lambda: None)
    base = {"BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": refusing, "STORE_URL": "memory:", "LOG_LEVEL": "debug"}
    for name, value in (base | settings).items():
        monkeypatch.setenv(name, value)
    assert run.main([]) == run.EXIT_WRONG_SETTING
    out, err = capsys.readouterr()
    assert says in err
    assert not leaks(err + out)
    if not settings:
        assert not leaks(f"{run.read_settings([])!r} {run.read_settings([])}")
