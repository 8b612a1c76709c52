"""All that operators have at a bot that runs: the desk, its socket, and the page."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import structlog

from engine.store import FullStore
from telegram.listening import read_address, read_networks
from telegram.operating.database import is_shared, process_desk, process_name
from telegram.operating.desk import Desk
from telegram.operating.local import LocalDesk, socket_of
from telegram.operating.operating import Operating
from telegram.operating.rates import Rates
from telegram.operating.reaching import audit_of, database_file
from telegram.operating.settings import OperatorSettings
from telegram.operating.shared import SharedDesk
from telegram.process.streams import tell

if TYPE_CHECKING:
    from telegram.metrics.counts import Counts
    from telegram.service.bot import Bot


log = structlog.get_logger(__name__)


def counts_for(settings: OperatorSettings, wall: Callable[[], float]) -> "Counts | None":
    """Return a meter for the page's latencies, if there is a page; the page folds it."""
    if settings.admin_listen is None:
        return None
    from telegram.metrics.counts import Counts  # late: a bot without a page does not need it

    return Counts(wall)


class Office:
    """Open while it is entered. `counts` is the bot's observer, if it has one; `wall` is the clock of updates."""

    def __init__(
        self,
        settings: OperatorSettings,
        store_url: str,
        token: str,
        store: FullStore,
        bot: "Bot",
        *,
        counts: "Counts | None",
        wall: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._file = database_file(store_url)
        self._store_url = store_url
        self._bot_id = token.partition(":")[0]
        self._rates = Rates(store, counts, asyncio.get_running_loop().time)
        self._operating = operating = Operating(
            store,
            bot,
            token=token,
            name=lambda: "" if bot.me is None else bot.me.username or "",
            wall=wall,
            rates=self._rates,
            drain=_stop_this_process,
        )
        self._desk = Desk(operating, audit_of(settings.admin_audit, store_url, self._bot_id), logs=True)
        self._page_desk = self._desk
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._rates)
            if self._file is not None:
                await stack.enter_async_context(LocalDesk(self._desk, socket_of(self._file)))
            if is_shared(self._store_url):
                process = process_name()
                mine = process_desk(self._desk, self._store_url, self._bot_id, process)
                await stack.enter_async_context(mine)
                self._page_desk = await stack.enter_async_context(self._shared(process))
            if self._settings.admin_listen is not None:
                await self._open_page(stack, self._settings.admin_listen)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _shared(self, process: str) -> SharedDesk:
        return SharedDesk(
            self._operating, self._desk.audit, store_url=self._store_url, bot=self._bot_id, process=process
        )

    async def _open_page(self, stack: AsyncExitStack, listen: str) -> None:
        from telegram.operating.page.access import Gate, Sessions, new_secret  # late: most bots have no page
        from telegram.operating.page.server import PageServer

        settings = self._settings
        secret = new_secret() if settings.admin_token is None else settings.admin_token.get_secret_value()
        roles = {secret: True}
        if settings.admin_read_token is not None:
            roles[settings.admin_read_token.get_secret_value()] = False
        address = read_address(listen)
        page = PageServer(
            self._page_desk,
            address,
            Gate(settings.admin_origin, is_loopback=address.is_loopback),
            Sessions(roles, asyncio.get_running_loop().time),
            read_networks(settings.admin_proxies) if settings.admin_proxies else (),
        )
        await stack.enter_async_context(page)
        log.info("the operator's page is served", address=str(page.address))
        if (
            settings.admin_token is None
        ):  # to the terminal, not to the log: the log is kept, and others read it
            tell(f"\n  The operator's page:  http://{page.address}/\n  Its secret:  {secret}\n")


def _stop_this_process() -> None:
    """Do as a supervisor does: the stop has its deadline, whatever blocks the process."""
    os.kill(os.getpid(), signal.SIGTERM) if sys.platform != "win32" else signal.raise_signal(signal.SIGTERM)
