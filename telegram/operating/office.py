"""All that operators have at a bot that runs: the desk and its socket."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from engine.store import FullStore
from telegram.operating.audit import Audit
from telegram.operating.desk import Desk
from telegram.operating.local import LocalDesk, socket_of
from telegram.operating.operating import Operating
from telegram.operating.rates import Rates
from telegram.operating.reaching import audit_file, database_file
from telegram.operating.settings import OperatorSettings

if TYPE_CHECKING:
    from telegram.metrics.counts import Counts
    from telegram.service.bot import Bot


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
        self._rates = Rates(store, counts, asyncio.get_running_loop().time)
        operating = Operating(
            store,
            bot,
            token=token,
            name=lambda: "" if bot.me is None else bot.me.username or "",
            wall=wall,
            rates=self._rates,
            drain=_stop_this_process,
        )
        self._desk = Desk(operating, Audit(audit_file(settings.admin_audit, store_url)), logs=True)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._rates)
            if self._file is not None:
                await stack.enter_async_context(LocalDesk(self._desk, socket_of(self._file)))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


def _stop_this_process() -> None:
    """Do as a supervisor does: the stop has its deadline, whatever blocks the process."""
    os.kill(os.getpid(), signal.SIGTERM) if sys.platform != "win32" else signal.raise_signal(signal.SIGTERM)
