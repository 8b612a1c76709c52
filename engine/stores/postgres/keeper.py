"""What a session does all the time: renew, reap others that are dead, ring others' bells and hear its own."""

import asyncio
import time
from contextlib import suppress
from typing import Any, Final, Protocol

import structlog

from engine.stores.postgres.connection import Connection, Doubt
from engine.stores.postgres.errors import described, outcome_of
from engine.stores.postgres.session import Held, Session
from engine.stores.postgres.window import Window

log = structlog.get_logger(__name__)

_JUMP_S: Final = 1.0
"""The server's clock was set forward if by it more time has passed since the last renewal, and so much."""

_CUT_AT: Final = 0.7
"""After this part of the session's time without a renewal the handlers are cut: others may take over soon."""
MOVED: Final = "moved"
"""Payload of a bell: shares, or the right to append, may be free."""

NOTIFY: Final = "SELECT pg_notify($1, $2)"


class Heard(Protocol):
    """Called when the bell rings."""

    def __call__(self, *, moved: bool) -> None:
        """`moved`: shares, or the right to append, may be free."""


_SINCE_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", None)


def _since_boot() -> float:
    """Return seconds, with those in which the machine was suspended where they are known: the event loop's have not."""
    return time.monotonic() if _SINCE_BOOT is None else time.clock_gettime(_SINCE_BOOT)


class Keeper:
    """One connection, and one task on it."""

    def __init__(
        self,
        session: Session,
        connection: Connection,
        held: Held,
        heard: Heard,
        doubt: Doubt,
        former: "Keeper | None" = None,
    ) -> None:
        """`former`: that of the connection that was lost."""
        self._session = session
        self._connection = connection
        self._held = held
        self._channel = session.channel
        self._on_bell = heard
        self._doubt = doubt
        self.window = Window()
        """From which number on mail is read."""

        self._former = former
        self._reaps_from = 0.0
        self._asked_at = 0.0  # when the last renewal was requested that the server has confirmed
        self._asked_since_boot = 0.0
        self._wanted = asyncio.Event()  # something is to be done before the next renewal
        self.moved = False
        """Shares may be free, or there are other sessions than at the last renewal; who looks resets it."""

        self._rings: set[str] = set()  # payloads of the bells to ring
        self._task: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    async def start(self, every_s: float | None) -> None:
        """Renew for the first time, and begin; the driver's errors. `every_s` None: it is not renewed at all."""
        await self._connection.add_listener(self._channel, self._heard)
        if every_s is not None:
            await self._renew_only()
        if self._former is not None:
            self._former.forget()
            # Others may have lost their connections, too, and come back within their time.
            self._reaps_from = asyncio.get_running_loop().time() + self._session.ttl_s
            self._former = None
        self._task = asyncio.create_task(self._keep(every_s), name="renewing the session")
        self.ring(moved=True)

    def ring(self, *, moved: bool) -> None:
        """Let all sessions look for mail; with `moved`, also for shares."""
        self._rings.add(MOVED if moved else "")
        self._wanted.set()

    async def leave(self) -> None:
        """End the session, and let others take what it owned."""
        await self._end_task()
        await self._session.leave(self._connection)
        await self._connection.execute(NOTIFY, self._channel, MOVED)

    @property
    def is_at_work(self) -> bool:
        """Whether the session is being renewed."""
        return self._task is not None and not self._task.done()

    def is_in_time(self) -> bool:
        """Return whether no other process can have taken over; if one can, end at once what runs.

        A process that was stopped, and goes on, may do anything before its alarm.
        """
        if self._alarm is None:
            return True
        age_s = max(
            asyncio.get_running_loop().time() - self._asked_at, _since_boot() - self._asked_since_boot
        )
        if age_s < self._time_s:
            return True
        self._cut()
        return False

    def stop(self) -> None:
        """Stop renewing, without I/O: what runs is ended when its time is over, unless `forget` is called before."""
        if self._task is not None:
            self._task.cancel()

    def forget(self) -> None:
        """End nothing any more: the session is renewed by another keeper, or over."""
        if self._alarm is not None:
            self._alarm.cancel()

    async def _end_task(self) -> None:
        self.stop()
        self.forget()
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task

    def _heard(self, _: Any, __: int, ___: str, payload: str) -> None:
        self.moved = self.moved or payload == MOVED
        self._on_bell(moved=payload == MOVED)

    async def _keep(self, every_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        due_at = None if every_s is None else loop.time() + every_s
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due_at):
                    await self._wanted.wait()
            if not self._rings:
                self._wanted.clear()
            try:
                if due_at is not None and every_s is not None and loop.time() >= due_at:
                    due_at = loop.time() + every_s
                    await self._renew()
                if self._rings:  # one: a renewal may be due again
                    await self._connection.execute(NOTIFY, self._channel, self._rings.pop())
            except Exception as error:  # noqa: BLE001 - whatever the driver raises
                known, is_in_doubt = outcome_of(error)
                if is_in_doubt or self._connection.is_closed():
                    self._doubt(f"the session cannot be renewed: {described(error)}")
                    return
                # It is tried again: `_alarm` is the limit of a renewal, and a look finds what a bell has missed.
                log.warning("the session is not renewed, or no bell is rung", reason=str(known))

    async def _renew(self) -> None:
        await self._renew_only()
        if asyncio.get_running_loop().time() >= self._reaps_from:
            for holder in await self._session.reap(self._connection, self._held):
                log.warning("a process has ended without giving up its chats: others continue", was=holder)
                self.ring(moved=True)
        self._on_bell(moved=False)

    async def _renew_only(self) -> None:
        loop = asyncio.get_running_loop()
        asked_at, asked_since_boot = loop.time(), _since_boot()
        before, last = self._session.renewed_at, self._asked_since_boot
        self.window.renewed(*await self._session.renew(self._connection, self._held))
        if self._alarm is not None and self._session.renewed_at - before > _since_boot() - last + _JUMP_S:
            # Others renew their sessions by the new time within a second or so.
            log.warning("the clock of the database was set forward: no process is given up for a while")
            self._reaps_from = loop.time() + self._session.ttl_s
        self._asked_at, self._asked_since_boot = asked_at, asked_since_boot
        self.forget()
        self._alarm = loop.call_at(asked_at + self._time_s, self._cut)

    @property
    def _time_s(self) -> float:
        return _CUT_AT * self._session.ttl_s

    def _cut(self) -> None:
        """End what runs before other processes may take over: all is read anew."""
        self._doubt("the session could not be renewed in time", is_over=True)
