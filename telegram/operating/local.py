"""The desk behind a socket beside the database file: how the command line reaches a bot that runs.

Only the user of the process (and root) can connect: the file has the mode 0600 before anybody can, and the user of each
connection is checked where the system tells it. A file that a killed process left is replaced: whoever has the store's lock
is the only owner. The protocol is HTTP with JSON: POST /NAME.
"""

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import structlog
from aiohttp import web

from engine import StoreUnavailable
from telegram.operating.audit import Who
from telegram.operating.desk import TIME_S, Desk, NotAllowed, read_params
from telegram.operating.letters import Json

log = structlog.get_logger(__name__)

SUFFIX: Final = "-operator"
_ASKED_MAX: Final = 256 << 10
_PATH_MAX: Final = 100  # bytes; the system's limit is 104 to 108 (unix(7), sun_path)
_BACKLOG: Final = 16
_CLOSE_S: Final = 0.2


class NotRunning(Exception):  # noqa: N818 - an answer
    """No bot has this socket."""


class Refused(Exception):  # noqa: N818 - an answer
    """The bot's answer is no: the text says why, in one line."""


def socket_of(database: Path) -> Path:
    """Return the path of the socket of a database file."""
    return database.with_name(f"{database.name}{SUFFIX}")


class LocalDesk:
    """Serves the desk while it is entered. What prevents it is a warning: the bot works without it."""

    def __init__(self, desk: Desk, path: Path) -> None:
        self._desk = desk
        self._path = path
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_ASKED_MAX)
        app.router.add_post("/{name}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_S)
        await runner.setup()
        try:
            listening = _listening(self._path)
            await web.SockSite(runner, listening, backlog=_BACKLOG).start()
        except (OSError, AttributeError) as error:  # AttributeError: a system without such sockets
            await runner.cleanup()
            reason = getattr(error, "strerror", None) or str(error)
            log.warning("commands cannot reach this bot while it runs", socket=str(self._path), reason=reason)
        else:
            self._runner = runner
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            with suppress(OSError):
                self._path.unlink()
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        user = _user_of(request)
        if user not in {None, 0, os.geteuid()}:
            return _said("this socket is for the user of the bot", 403)
        who = Who(f"command line, user {'unknown' if user is None else user}", may_write=True, where="socket")
        name = request.match_info["name"]
        if name not in self._desk.actions:
            return _said(f"{name[:40]!r} is not known: the bot runs another version than this command", 404)
        try:
            params = read_params(await request.read())
            return web.json_response(await self._desk.ask(name, params, who))
        except NotAllowed as error:
            return _said(str(error), 409)
        except ValueError as error:
            return _said(str(error), 400)
        except StoreUnavailable as error:
            return _said(str(error), 503)


async def ask_running(path: Path, name: str, params: dict[str, Any]) -> Json:
    """Ask the bot that has this socket. NotRunning if none has, Refused if it says no."""
    with _Short(path) as short:
        connector = aiohttp.UnixConnector(short)
        timeout = aiohttp.ClientTimeout(total=2 * TIME_S)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.post(f"http://bot/{name}", json=params) as response,
            ):
                answer: Json = await response.json()
                if response.status != 200:
                    raise Refused(str(answer.get("error", response.status)))
                return answer
        except (aiohttp.ClientConnectorError, FileNotFoundError):
            raise NotRunning from None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            raise Refused("the bot does not answer: it may be stopping") from None


def _listening(path: Path) -> socket.socket:
    with _Short(path) as short:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with suppress(FileNotFoundError):
                path.unlink()
            listening.bind(short)
            path.chmod(0o600)  # before `listen`: until then no one can connect
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
    return listening


class _Short:
    """A path to the same socket that is short enough for the system: by the folder's descriptor, where that exists."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder: int | None = None

    def __enter__(self) -> str:
        text = str(self._path)
        if len(os.fsencode(text)) <= _PATH_MAX or not Path("/proc/self/fd").exists():
            return text
        self._folder = os.open(self._path.parent, os.O_RDONLY)
        return f"/proc/self/fd/{self._folder}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            os.close(self._folder)


def _user_of(request: web.Request) -> int | None:
    """Return the user id at the other end (unix(7), SO_PEERCRED); None where the system does not tell."""
    connection = request.get_extra_info("socket")
    option = getattr(socket, "SO_PEERCRED", None)
    if connection is None or option is None:
        return None
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return int(user)


def _said(error: str, status: int) -> web.Response:
    return web.json_response({"error": error}, status=status)
