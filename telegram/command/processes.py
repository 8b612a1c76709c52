"""Several processes of one bot on this machine: `--processes N`, and what differs in each of them.

| address                          | in process K (from 0 on)                                                   |
|----------------------------------|----------------------------------------------------------------------------|
| METRICS_LISTEN, ADMIN_LISTEN     | the port + K: each is asked for itself                                     |
| EVENTS_LISTEN                    | the same: each takes events for any chat, and the system divides them      |
| WEBHOOK_LISTEN                   | the same: the one with the right to append listens                         |

Of several bots (tokens.py) each has `processes` of them: the first ones are the first bot's. Bot B (from 0 on) takes events at the
port + B.
"""

import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from engine.store import FullStore
from engine.stores import open_store, revoker
from telegram.command.settings import Settings, WrongSettingError
from telegram.command.tokens import number_of
from telegram.listening import Address, Listener, read_address
from telegram.operating.database import is_shared
from telegram.process.supervised import Place, Supervised
from telegram.process.supervisor import Supervisor
from telegram.process.systemd import Systemd, watchdog_of
from telegram.settings.bot_config import Role

_OWN: Final = ("metrics_listen", "admin_listen")
_PORT_MAX: Final = 65535


def check(settings: Settings) -> None:
    """Raise WrongSettingError if a bot cannot run with several processes, or this role, as it is set up."""
    is_database = is_shared(settings.effective_store_url)
    if settings.role != "both" and (settings.is_sandbox or not is_database):
        raise WrongSettingError(
            "ROLE is for several processes over one database: set STORE_URL=postgres://..."
        )
    count = count_of(settings)
    if count == 1:
        return
    if settings.is_sandbox:
        raise WrongSettingError("PROCESSES: the sandbox has one process")
    if settings.processes > 1 and not is_database:
        raise WrongSettingError(
            "PROCESSES: several processes share a database, a file belongs to one: set STORE_URL=postgres://..."
        )
    if settings.reload:
        raise WrongSettingError(
            "--reload is for one process: use --processes 1, and --only-bot for one of several bots"
        )
    for name in _OWN:
        text = getattr(settings, name)
        if text is not None and read_address(text).port + count - 1 > _PORT_MAX:
            raise WrongSettingError(
                f"{name.upper()}: each process has the next port, and {_PORT_MAX} is the last"
            )


def count_of(settings: Settings) -> int:
    """Return the number of processes, of all bots."""
    return settings.processes * len(settings.tokens)


def settings_of(settings: Settings, place: Place | None) -> Settings:
    """Return the settings of the process at this place, and let it share the ports that all have. WrongSettingError."""
    if place is None:
        return settings
    Listener.shares_ports = True
    bot = 0
    if len(settings.tokens) > 1:
        bot = place.number // settings.processes
        structlog.contextvars.bind_contextvars(bot_id=number_of(settings.of_bot(bot).token))
    numbers = {**dict.fromkeys(_OWN, place.number), "events_listen": bot}
    texts = {name: getattr(settings, name) for name in numbers}
    return settings.of_bot(bot).model_copy(
        update={name: _next(text, numbers[name]) for name, text in texts.items() if text is not None}
    )


def reporter(environ: Mapping[str, str], place: Place | None) -> Systemd:
    """Return what reports the state of this process: to systemd, or to the supervisor that has started it."""
    return Systemd(environ) if place is None else Supervised(place, environ)


async def opening(url: str, bot: str, role: Role, reports: Systemd, wall: Callable[[], float]) -> FullStore:
    """Open the store of a bot of which this is one of several processes, or may be. StoreError."""
    owns = role != "poll"
    return await open_store(url, bot, wall=wall, shared=True, owns=owns, named=reports.session)


async def supervise(settings: Settings, environ: Mapping[str, str]) -> int:
    """Run the processes until a signal; return the exit code. OSError of one line if a port is taken."""
    for address in _addresses(settings):
        _check_free(address)
    bots = [settings.of_bot(index) for index in range(len(settings.tokens))]
    revoking = [_revoker(each) for each in bots]

    def revoke(number: int, session: int) -> Awaitable[bool]:
        return revoking[number // settings.processes](session)

    supervisor = Supervisor(
        [sys.executable, *sys.orig_argv[1:]],
        environ,
        settings.processes,
        revoke,
        bots=len(bots),
        overlaps=is_shared(settings.effective_store_url),
        drain_timeout_s=settings.drain_timeout_s,
        systemd=Systemd(environ),
        watchdog_s=watchdog_of(environ),
        reaps=os.getpid() == 1,
    )
    return await supervisor.run()


def _revoker(settings: Settings) -> Callable[[int], Awaitable[bool]]:
    """Return what ends a session of this bot. A file has none: a process that is dead has it no more."""
    url = settings.effective_store_url
    return revoker(url, number_of(settings.token)) if is_shared(url) else _nothing


async def _nothing(_: int) -> bool:
    return False


def _addresses(settings: Settings) -> list[Address]:
    own = [getattr(settings, name) for name in _OWN]
    texts = [_next(text, number) for text in own if text is not None for number in range(count_of(settings))]
    if settings.events_listen is not None:
        texts += [_next(settings.events_listen, bot) for bot in range(len(settings.tokens))]
    if settings.webhook_url is not None and settings.role != "work":
        texts.append(settings.webhook_listen)
    return [read_address(text) for text in texts]


def _next(text: str, number: int) -> str:
    address = read_address(text)
    return str(address._replace(port=address.port and address.port + number))


def _check_free(address: Address) -> None:
    """Raise OSError if another program listens there: the processes themselves share their ports, and would not notice."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
