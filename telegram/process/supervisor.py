"""`--processes N`: starts N processes of the bot on this machine, and keeps them running.

* A process that dies is replaced, after a delay that grows while that repeats. Its session in the store is ended at once
  (`revoke`), so that the others continue with its chats; it has reported the session's number before that began.
* SIGTERM or SIGINT stops all of them, a second one at once. SIGHUP replaces them one after the other: a new process is ready
  before the old one stops. But SIGHUP because the terminal was closed stops them, unless `nohup` was asked for.
* If all end with EXIT_WRONG_SETTING, all is over: a person has to change something. Of several bots, one that cannot start
  does not concern the others.
* If this process is killed, the others read the end of their streams (supervised.py), and stop.
* As process 1 of a container it reaps what dead processes leave behind: each has a guard (guard.py).
"""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from engine.errors import StoreError, StoreUnavailable
from telegram.process.child import Child, described, first, reap_others
from telegram.process.supervised import Place, environment_of
from telegram.process.systemd import Systemd
from telegram.process.terminal import Terminal

log = structlog.get_logger(__name__)

EXIT_WRONG_SETTING: Final = 2
DELAY_S: Final = 0.5
DELAY_MAX_S: Final = 30.0
STEADY_S: Final = 10.0
"""A process that has worked for this long is started again after DELAY_S, whatever was before."""

REVOKE_FOR_S: Final = 20.0
"""How long it is tried to end the session of a dead process; by then the others have noticed themselves."""

_REVOKE_EVERY_S: Final = 0.2
_REVOKE_AT_END_S: Final = 2.0
_SPARE_S: Final = 5.0
"""How long after its time a process that should stop is killed; it has ended itself before that (watchdog.py)."""

_FORCED_S: Final = 3.0
_REST_S: Final = 0.1
_LOOK_EVERY_S: Final = 1.0
_SLOW_S: Final = 30.0
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)

Revoke = Callable[[int, int], Awaitable[object]]
"""Called with the number of a dead process and one of its sessions, which it ends; StoreUnavailable, StoreError."""


class Supervisor:
    """`count` processes of `command` for each of `bots`. `watchdog_s`: one that is silent for so long is killed; None: none is.

    Unless it `overlaps`, an old process is stopped before its new one starts: they would share a file. `reaps`: this is
    process 1 of a container, to which the system gives the children of dead processes.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        count: int,
        revoke: Revoke,
        *,
        bots: int = 1,
        overlaps: bool = True,
        drain_timeout_s: float,
        systemd: Systemd,
        watchdog_s: float | None = None,
        reaps: bool = False,
    ) -> None:
        self._command = [*command]
        self._environ = dict(environ)
        self._overlaps = overlaps
        self._per_bot, self._count = count, count * bots
        self._asked: range = range(0)  # numbers of the processes that were started
        self._wrong: set[int] = set()  # those of them whose last one has ended with EXIT_WRONG_SETTING
        self._revoke = revoke
        self._drain_timeout_s = drain_timeout_s
        self._systemd = systemd
        self._watchdog_s = watchdog_s
        self._reaps = reaps
        self._terminal = Terminal()
        self._starting = 0
        self._current: dict[int, Child] = {}
        self._children: set[Child] = set()  # those that run: also the old ones that are replaced
        self._freeing: set[asyncio.Task[None]] = set()
        self._failures = [0] * self._count
        self._signals: list[int] = []
        self._is_over = asyncio.Event()
        self._is_forced = asyncio.Event()
        self._roll = asyncio.Event()
        self._exit_code = 0
        self._group: asyncio.TaskGroup

    async def run(self) -> int:
        """Return the exit code, after all have ended."""
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, self._hear, number)
        is_kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup
        loop.add_signal_handler(signal.SIGHUP, self._hear_hangup, is_kept)
        try:
            async with self._systemd, asyncio.TaskGroup() as self._group:
                working = [self._group.create_task(each) for each in (self._start(), self._look())]
                await self._is_over.wait()
                self._systemd.stopping()
                for task in working:
                    task.cancel()
                await self._end()
                await self._end_freeing()
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:  # after an error in here the processes read the end of their streams, and stop
            for number in (*_STOPPING, signal.SIGHUP):
                loop.remove_signal_handler(number)
        return self._exit_code

    def _hear(self, number: int) -> None:
        self._signals.append(number)
        if len(self._signals) > 1:
            self._is_forced.set()
            self._exit_code = 128 + number
        self._is_over.set()

    def _hear_hangup(self, is_kept: bool) -> None:
        if not self._terminal.is_being_closed():
            self._roll.set()
        elif not is_kept:
            self._is_over.set()

    async def _start(self) -> None:
        """Start the first one of each bot, then the others, so that a wrong setting is reported once; then replace them at each SIGHUP."""
        firsts = range(0, self._count, self._per_bot)
        for numbers in (firsts, [each for each in range(self._count) if each not in firsts]):
            self._asked = range(self._count) if self._current else firsts
            for number in numbers:
                self._current[number] = await self._spawn(number)
            for number in numbers:
                await self._ready(number)
        self._systemd.ready()
        if not self._wrong:
            log.info("all processes work", processes=self._count)
        while True:
            await self._roll.wait()
            self._roll.clear()
            await self._replace_all()

    async def _ready(self, number: int) -> None:
        """Wait until the process with this number is ready, or one that was started in its stead; not for a wrong setting."""
        while not self._current[number].works and number not in self._wrong:
            child = self._current[number]
            await child.ready_or_ended(_SLOW_S)
            if child.ended.done():
                await asyncio.sleep(DELAY_S)

    # -- one process -------------------------------------------------------------------------------------------------

    async def _spawn(self, number: int) -> Child:
        ours, its = socket.socketpair()
        ours.setblocking(False)
        self._starting += 1
        try:
            with its:
                place = Place(number, its.fileno())
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env=environment_of(self._environ, place),
                    pass_fds=(place.fd,),
                    start_new_session=True,  # Ctrl+C in a terminal is for the supervisor
                )
        except BaseException:
            ours.close()
            raise
        finally:
            self._starting -= 1
        child = Child(number, process, ours)
        self._children.add(child)
        self._group.create_task(self._watch(child))
        log.info("process started", process=number, pid=process.pid)
        if self._is_over.is_set():  # while it was started
            child.ask_to_stop(signal.SIGTERM)
        return child

    async def _watch(self, child: Child) -> None:
        """Hear what a process reports, until it has ended; see to what it leaves behind."""
        listening = asyncio.create_task(child.listen())
        try:
            code = await child.process.wait()
            await asyncio.wait({listening}, timeout=_REST_S)  # a fork of it may hold the stream open
        finally:
            listening.cancel()
            child.stream.close()
        self._children.discard(child)
        child.ended.set_result(code)
        if code:
            freeing = self._group.create_task(self._free(child))
            self._freeing.add(freeing)
            freeing.add_done_callback(self._freeing.discard)
        # One that was asked before it could hear has ended by the signal.
        is_well = child.is_asked_to_stop and code in {0, -signal.SIGTERM}
        if not is_well:
            log.warning("process ended", process=child.number, pid=child.process.pid, **described(code))
        (self._wrong.add if code == EXIT_WRONG_SETTING else self._wrong.discard)(child.number)
        if self._current.get(child.number) is not child or self._is_over.is_set():
            if not is_well and self._is_over.is_set():
                self._exit_code = self._exit_code or 1
            return
        if self._wrong.issuperset(self._asked) and not any(each.works for each in self._children):
            self._exit_code = code
            self._is_over.set()
            return
        await self._start_again(child)

    async def _start_again(self, child: Child) -> None:
        number, now = child.number, asyncio.get_running_loop().time()
        if child.ready_at is not None and now - child.ready_at > STEADY_S:
            self._failures[number] = 0
        new = None
        while new is None:
            pause_s = delay_s(self._failures[number])
            self._failures[number] += 1
            await first(asyncio.sleep(pause_s), self._is_over.wait())
            if self._current[number] is not child or self._is_over.is_set():
                return
            new = await self._spawned(number)
        if self._current[number] is child:
            self._current[number] = new
            child.replaced.set()
        else:  # another one has taken its place meanwhile
            new.ask_to_stop(signal.SIGTERM)

    async def _spawned(self, number: int) -> Child | None:
        """Start a process beside others; None: that cannot be done now (an environment that is replaced, no memory)."""
        try:
            return await self._spawn(number)
        except OSError as error:
            reason = error.strerror or str(error)
            log.error("a process cannot be started", process=number, reason=reason)  # noqa: TRY400
            return None

    async def _free(self, child: Child) -> None:
        """End what a dead process has in the store. Whatever prevents it does not concern the other processes."""
        try:
            async with asyncio.timeout(REVOKE_FOR_S):
                for session in child.sessions:
                    await self._end_session(session, child.number)
        except TimeoutError:
            log.warning("others continue later: the store cannot be reached", process=child.number)
        except Exception:
            log.exception("others continue later", process=child.number)

    async def _end_session(self, session: int, number: int) -> None:
        while True:
            try:
                if await self._revoke(number, session):
                    log.info("others continue with the chats of a process that has ended", process=number)
                return
            except (StoreUnavailable, StoreError) as error:
                log.debug("a session cannot be ended now", process=number, reason=str(error))
            await asyncio.sleep(_REVOKE_EVERY_S)

    async def _end_freeing(self) -> None:
        """Let the sessions of the last dead processes be ended, so that other machines continue at once; not for long."""
        if self._freeing:
            _, late = await asyncio.wait({*self._freeing}, timeout=_REVOKE_AT_END_S)
            for task in late:
                task.cancel()

    # -- all of them -------------------------------------------------------------------------------------------------

    async def _replace_all(self) -> None:
        """Replace the processes one after the other; the old ones continue if a new one does not become ready."""
        log.info("replacing the processes", processes=self._count)
        failed: set[int] = set()  # bots
        for number in range(self._count):
            if not self._overlaps:
                await self._stop_first(number)
                continue
            if number // self._per_bot in failed:
                continue
            new = await self._spawned(number)
            if new is not None:
                await new.ready_or_ended(_SLOW_S)
            if new is None or not new.works:
                log.error("there is no new process: the others are not replaced", process=number)
                failed.add(number // self._per_bot)
                continue
            old, self._current[number] = self._current[number], new
            self._failures[number] = 0
            await self._stop([old])
        if not failed and not self._wrong:
            log.info("all processes are replaced")

    async def _stop_first(self, number: int) -> None:
        """Stop a process; the next one is started as after one that has ended by itself."""
        old = self._current[number]
        await self._stop([old])
        await old.replaced.wait()
        await self._current[number].ready_or_ended(_SLOW_S)

    async def _stop(self, children: Sequence[Child]) -> None:
        """Let them stop; one that does not end in time is killed."""
        waiting = [child.ended for child in children if not child.ended.done()]
        for child in children:
            child.ask_to_stop(signal.SIGTERM)
        if waiting:
            await asyncio.wait(waiting, timeout=self._drain_timeout_s + _SPARE_S)
        for child in children:
            if not child.ended.done():
                log.error("a process would not stop, and is killed", process=child.number)
                child.kill()

    async def _end(self) -> None:
        """Stop all; after a second signal at once."""
        children = [*self._children]
        stopping = asyncio.create_task(self._stop(children))
        forced = asyncio.create_task(self._is_forced.wait())
        await asyncio.wait({stopping, forced}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            stopping.cancel()
            for child in children:
                child.ask_to_stop(signal.SIGINT)
            await asyncio.wait([child.ended for child in children], timeout=_FORCED_S)
            for child in children:
                child.kill()
        forced.cancel()

    async def _look(self) -> None:
        """Kill a process that is silent for too long; reap what is not ours; look whether the terminal is there."""
        clock = asyncio.get_running_loop().time
        while self._reaps or self._watchdog_s is not None or self._terminal.is_there:
            self._terminal.look()
            before = clock()
            await asyncio.sleep(_LOOK_EVERY_S)
            stalled_s = clock() - before - _LOOK_EVERY_S  # this process itself was stopped, and has not heard
            if self._reaps and not self._starting:
                reap_others({child.process.pid for child in self._children})
            for child in self._children:
                child.heard_at += max(0.0, stalled_s)
                if self._watchdog_s is not None and clock() - child.heard_at > self._watchdog_s:
                    log.error("a process is silent, and is killed", process=child.number)
                    child.kill()
                    child.heard_at = clock()


def delay_s(failures: int) -> float:
    """Return the delay, in seconds, before a process is started again that has ended so many times before."""
    return min(DELAY_MAX_S, DELAY_S * 2.0 ** min(failures, 16))
