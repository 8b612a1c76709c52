"""The token is in no error, traceback, log line or repr, though a hostile server quotes it in whatever it says."""

import asyncio
import json
import logging
import math
import random
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from pydantic import SecretBytes

import telegram.botapi.errors
from engine import Delivery, Envelope, Lease, Park, Queue, Reject, Retry, Work
from engine.outcome import with_trace
from engine.stores import open_store
from engine.stores.contract import append
from telegram.botapi.calls import encode_call
from telegram.botapi.decoding import decode
from telegram.botapi.errors import (
    NotSent,
    OutcomeUnknown,
    TelegramError,
    Unauthorized,
)
from telegram.botapi.files import InputFile
from telegram.botapi.types import File
from telegram.client import TgClient
from telegram.client.wire import Answer
from telegram.command.main import EXIT_WRONG_SETTING, main
from telegram.command.settings import read_settings
from telegram.dialogue import MessageContext, Router, text
from telegram.operating.asked import Asked
from telegram.operating.audit import Audit, Who
from telegram.operating.commands import Dead, run_command
from telegram.operating.desk import Desk
from telegram.operating.operating import Operating
from telegram.process.watchdog import Watchdog
from telegram.service.bot import Bot, BotConfig
from telegram.service.logs import LogFormat, set_up_logging
from telegram.service.sender import Sender
from tests.kit.hostile import (
    PATH,
    SECRET,
    SPELLINGS,
    TOKEN,
    envelope,
    everything,
    hostile,
    http,
    in_base64,
    leaks,
    result,
    serve,
)
from tests.kit.virtual import run_virtual

SEED = 4
PARTS, CALLS = 4, 2_900  # some calls of each part succeed; at least 2,500 fail
# -- the ways to call -------------------------------------------------------------------------------------------


Call = Callable[[], Awaitable[object]]


async def send(client: TgClient, files: bool) -> None:
    params = {"chat_id": 1, "document": InputFile(b"x" * 99, filename="x")} if files else {"chat_id": 1}
    envelope_ = Envelope(1, "chat:1", "", encode_call("sendDocument", params))
    await Sender(client, jitter=lambda: 0.5)(
        Work(Delivery(Lease(Queue.OUTBOX, "chat:1", 1), envelope_, 1, None))
    )


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
    assert not leaks(Path(__file__).parents[1].joinpath("client", "test_client.py").read_text())


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
    ours = {kind for kind in kinds(TelegramError) if kind.__module__ == telegram.botapi.errors.__name__}
    assert errors.kinds.keys() >= (ours - {telegram.botapi.errors.ApiError}) | {Park, Retry, Reject}


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
    errors, loop, asked = Errors(), asyncio.get_running_loop(), asyncio.Event()
    silent, url = await serve(lambda _: asked.set())

    async def getaddrinfo(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening
        refusing = f"http://127.0.0.1:{taken.getsockname()[1]}"
        unreachable = [
            refusing,
            f"{refusing}{PATH}",
            url.replace("http:", "https:"),  # the answer to a TLS hello is silence
            "https://name.invalid",
            f"https://{SECRET.lower().replace('_', '')}.invalid",
        ]
        async with silent:
            for base_url in unreachable:
                async with TgClient(TOKEN, base_url=base_url, timeout_s=0.05) as client:
                    for call in (client.get_me, partial(client.get_updates, timeout_s=0)):
                        assert isinstance(await errors.of(call), NotSent)
            async with TgClient(TOKEN, base_url=url) as client:
                for call in (client.get_me, partial(client.get_updates, timeout_s=0)):
                    asked.clear()
                    calling = asyncio.create_task(errors.of(call))
                    await asked.wait()
                    real = loop.time
                    monkeypatch.setattr(loop, "time", lambda real=real: real() + 100)
                    assert isinstance(await calling, OutcomeUnknown)


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
            "text": f"see {path}",  # by itself it is a command
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
    await asyncio.sleep(1800)
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
        "polling fails",
        "dead letter",
        "debug",
    ):
        assert event in written
    assert any("started" in line and "***" in line for line in lines)


# -- run.py -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [PATH, SECRET, f"https://api.telegram.org{PATH}".replace(":", "%3A")])
async def test_the_list_of_dead_letters_does_not_tell_the_token(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, said: str
) -> None:
    store = await open_store("memory:", "1")
    await append(store, [Envelope(1, "chat:7", "7", said.encode())])
    told = f"ConnectionError: {said}"
    await store.bury(await store.claim(Queue.INBOX), with_trace(told, OSError(said)))
    desk = Desk(Operating(store, token=TOKEN), Audit(tmp_path / "audit"))
    asked = Asked(partial(desk.ask, who=Who("me", may_write=True, where="")), is_running=False)
    await run_command(Dead(), asked)
    await run_command(Dead(show=1), asked)
    await store.close()
    shown = capsys.readouterr().out
    assert "ConnectionError" in shown
    assert not leaks(shown)


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


class Unwatched(Watchdog):
    """The watchdog's thread would go on until the end of this process, and its guard would wait for it."""

    def start(
        self, *, drain_timeout_s: float, blocked_max_s: float = math.inf, is_supervised: bool = False
    ) -> None:
        pass

    def watch(self, notify: Callable[[signal.Signals], object]) -> None:
        pass

    def unwatch(self, left: Sequence[str] = ()) -> None:
        pass


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
    monkeypatch.setattr("telegram.command.main.tune_garbage_collection", lambda: None)
    base = {"BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": refusing, "STORE_URL": "memory:", "LOG_LEVEL": "debug"}
    for name, value in (base | settings).items():
        monkeypatch.setenv(name, value)
    assert main([], Unwatched()) == EXIT_WRONG_SETTING
    out, err = capsys.readouterr()
    assert says in err
    assert not leaks(err + out)
    if not settings:
        assert not leaks(f"{read_settings([])!r} {read_settings([])}")
