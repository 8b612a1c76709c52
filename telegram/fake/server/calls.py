"""The log of the bot's calls and polls, and of the deliveries to its webhook, for assertions in tests."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from telegram.fake.protocol.params import Params, integer

POLLS_MAX = 10_000
DELIVERIES_MAX = 200_000


class Call(NamedTuple):
    """A Bot API call other than getUpdates; `n` counts from 1, `at` is Unix time.

    `status` is the HTTP status of the answer, 0 if it was not sent completely. `delivered`: whether the call was
    executed; after a 429 it was not, after a cut answer it was.
    """

    n: int
    at: float
    method: str
    params: Params
    status: int
    delivered: bool

    @property
    def chat_id(self) -> int | None:
        """The `chat_id` of the call as an integer; None without one."""
        return integer(self.params, "chat_id") if "chat_id" in self.params else None

    @property
    def text(self) -> str:
        """The `text` of the call; "" without one."""
        return str(self.params.get("text", ""))


class Poll(NamedTuple):
    """A getUpdates request; `at`: Unix time of its arrival, `returned`: number of updates, -1 for an error."""

    at: float
    offset: int
    limit: int
    timeout: int
    returned: int


class Stats(NamedTuple):
    """Counters since the start. Each queued update is pending, confirmed or expired; a dropped one was not queued."""

    pending: int
    confirmed: int
    expired: int
    dropped: int
    requests: dict[str, int]
    calls: int
    polls: int
    flooded: int = 0
    """Calls refused by flood control since it was enabled."""


@dataclass(slots=True, eq=False)
class _Waiter:
    count: int
    method: str | None
    delivered: bool | None
    done: "asyncio.Future[None]"
    found: list[Call] = field(default_factory=list)

    def see(self, call: Call) -> None:
        if self.method not in (None, call.method) or self.delivered not in (None, call.delivered):
            return
        self.found.append(call)
        if len(self.found) >= self.count and not self.done.done():
            self.done.set_result(None)


class CallLog:
    """Keeps all calls until `forget`; `polls` has the latest POLLS_MAX, `requests` counts by method."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.forgotten = 0
        self.polls: deque[Poll] = deque(maxlen=POLLS_MAX)
        self.poll_count = 0
        self.requests: Counter[str] = Counter()
        self._waiters: set[_Waiter] = set()

    @property
    def call_count(self) -> int:
        """Number of recorded calls, including forgotten ones: `n` of the latest."""
        return self.forgotten + len(self.calls)

    def since(self, n: int, limit: int) -> list[Call]:
        """Return up to `limit` calls with a number above `n`, oldest first, without forgotten ones."""
        start = max(0, n - self.forgotten)
        return self.calls[start : start + limit]

    def forget(self, through: int) -> None:
        """Drop the calls up to number `through`, to bound the memory of long runs."""
        gone = min(max(0, through - self.forgotten), len(self.calls))
        del self.calls[:gone]
        self.forgotten += gone

    def record(self, at: float, method: str, params: Params, status: int, *, delivered: bool) -> None:
        """Record a call with the next number."""
        call = Call(self.call_count + 1, at, method, params, status, delivered)
        self.calls.append(call)
        for waiter in self._waiters:
            waiter.see(call)

    def record_poll(self, poll: Poll) -> None:
        """Record an answered getUpdates."""
        self.polls.append(poll)
        self.poll_count += 1

    async def wait(
        self, count: int, method: str | None, *, delivered: bool | None, timeout_s: float
    ) -> list[Call]:
        """Wait for `count` matching calls and return them; TimeoutError contains the number found."""
        waiter = _Waiter(count, method, delivered, asyncio.get_running_loop().create_future())
        for call in self.calls:
            waiter.see(call)
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.done
        except TimeoutError:
            raise TimeoutError(
                f"{len(waiter.found)} of {count} calls of {method or 'any method'} within {timeout_s} s"
            ) from None
        finally:
            self._waiters.discard(waiter)
        return waiter.found


class Delivery(NamedTuple):
    """One request to the webhook; `n` counts from 1, `at` is the Unix time of its answer.

    `status` is that of the answer, 0 without one; `took_s`: from the request to the answer.
    """

    n: int
    at: float
    update_id: int
    status: int
    took_s: float


class DeliveryLog:
    """The latest DELIVERIES_MAX deliveries."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: deque[Delivery] = deque(maxlen=DELIVERIES_MAX)

    def add(self, at: float, update_id: int, status: int, took_s: float) -> None:
        """Record a delivery."""
        self.count += 1
        self._kept.append(Delivery(self.count, at, update_id, status, took_s))

    def since(self, n: int, limit: int) -> list[Delivery]:
        """Return up to `limit` deliveries with a number above `n`, oldest first."""
        first = self._kept[0].n if self._kept else 1
        return [self._kept[i] for i in range(max(0, n + 1 - first), len(self._kept))][:limit]


def as_row(entry: Call | Delivery) -> list[Any]:
    """Return an entry as the control API sends it; `Call(*row)` or `Delivery(*row)` reverses it."""
    return list(entry)
