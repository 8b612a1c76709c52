"""A scripted getUpdates, an inbox in a list, and a run of the poller between them on virtual time."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from structlog.testing import capture_logs

from engine.model import Envelope, Right
from telegram.botapi.errors import Conflict, ServerTrouble
from telegram.botapi.intake import RawUpdate
from telegram.service.poller import Poller
from tests.kit.virtual import run_virtual

Step = list[int] | Exception | Callable[[], Awaitable[list[int]]]


class Poll(NamedTuple):
    at: float
    offset: int
    limit: int
    timeout_s: int
    allowed_updates: Sequence[str] | None


def raw(update_id: int) -> RawUpdate:
    return RawUpdate(update_id, b'{"update_id":%d}' % update_id, {"update_id": update_id})


def server_trouble() -> Exception:
    return ServerTrouble("getUpdates", 502, "Bad Gateway", {})


def conflict() -> Exception:
    return Conflict("getUpdates", 409, "Conflict: terminated by other getUpdates request", {})


def now() -> float:
    return asyncio.get_running_loop().time()


class ScriptedClient:
    """Answers each long poll with the next step of its script; after that, polls wait without end."""

    def __init__(self, *script: Step) -> None:
        self.polls: list[Poll] = []
        self.confirms: list[Poll] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.aborted = 0
        self.confirm_step: Step = []
        self._script = iter(script)

    async def call(self, method: str, /, **params: Any) -> Any:
        self.calls.append((method, params))
        return True

    async def get_updates(
        self, offset: int, *, limit: int, timeout_s: int, allowed_updates: Sequence[str] | None
    ) -> list[RawUpdate]:
        poll = Poll(now(), offset, limit, timeout_s, allowed_updates)
        if timeout_s == 0:
            self.confirms.append(poll)
            step = self.confirm_step
        else:
            self.polls.append(poll)
            step = next(self._script, self._wait_without_end)
        if isinstance(step, Exception):
            raise step
        return [raw(update_id) for update_id in (step if isinstance(step, list) else await step())]

    async def _wait_without_end(self) -> list[int]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        raise AssertionError


class ListInbox:
    """Stores in a list; `troubles` are raised by the first calls of accept; after `full_after` there is no room."""

    def __init__(
        self, *, rooms: Sequence[int] = (), troubles: Sequence[Exception] = (), full_after: int = 10**9
    ) -> None:
        self._full_after = full_after
        self.ids: list[int] = []
        self.aliases: list[tuple[str, str]] = []
        self.accepts: list[tuple[float, list[int]]] = []
        self._rooms = list(rooms)
        self._troubles = list(troubles)
        self.granted = Right(1)
        self.resigned: list[Right] = []

    async def right(self) -> Right:
        return self.granted

    async def resign(self, right: Right) -> None:
        self.resigned.append(right)

    async def room(self) -> int:
        if len(self.ids) >= self._full_after:
            await asyncio.Event().wait()
        return self._rooms.pop(0) if self._rooms else 1000

    async def accept(
        self, right: Right, batch: Sequence[Envelope], aliases: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.aliases += aliases
        ids = [envelope.id for envelope in batch]
        self.accepts.append((now(), ids))
        if self._troubles:
            raise self._troubles.pop(0)
        self.ids += ids


def drive(client: Any, inbox: Any, *, for_s: float, **settings: Any) -> list[Any]:
    """Run a poller for some virtual seconds, stop it, and return what it logged, plus how long stopping took."""

    async def scenario() -> float:
        poller = Poller(client, inbox, rng=random.Random(1), **settings)
        task = asyncio.create_task(poller.run())
        await asyncio.wait({task}, timeout=for_s)
        stopped_at = now()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
            raise AssertionError("the poller ended by itself")
        return now() - stopped_at

    with capture_logs() as logs:
        stopping_s = run_virtual(scenario())
    return [*logs, {"log_level": "test", "stopping_s": stopping_s}]


def levels(logs: list[Any]) -> list[str]:
    return [line["log_level"] for line in logs if line["log_level"] not in {"debug", "test"}]


def gaps(polls: Sequence[Poll]) -> list[float]:
    return [after.at - before.at for before, after in itertools.pairwise(polls)]
