"""What the bot asked for: the log of its calls and of its polls, kept so that tests can prove things."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .params import Params, integer

POLLS_MAX = 10_000


class Call(NamedTuple):
    """One Bot API call other than getUpdates; `n` counts from 1, `at` is Unix time.

    `status` is the HTTP status answered, 0 when no whole answer was sent. `delivered` tells whether the
    effect took place: a 429 was not executed, a call whose answer was cut was.
    """

    n: int
    at: float
    method: str
    params: Params
    status: int
    delivered: bool

    @property
    def chat_id(self) -> int | None:
        """The chat that the call names, whatever the encoding was."""
        return integer(self.params, "chat_id") if "chat_id" in self.params else None

    @property
    def text(self) -> str:
        """The text that the call carries, "" for none."""
        return str(self.params.get("text", ""))


class Poll(NamedTuple):
    """One getUpdates request; `at` is when it came, `returned` how many updates it got, -1 for an error."""

    at: float
    offset: int
    limit: int
    timeout: int
    returned: int


class Stats(NamedTuple):
    """Counters since the start. Every update taken is pending, confirmed or expired; dropped ones were not taken."""

    pending: int
    confirmed: int
    expired: int
    dropped: int
    requests: dict[str, int]
    calls: int
    polls: int
    flooded: int = 0
    """Calls refused by flood control since it was turned on."""


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
    """Keeps every call until told to forget; `polls` keeps the latest POLLS_MAX, `requests` counts by method."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.forgotten = 0
        self.polls: deque[Poll] = deque(maxlen=POLLS_MAX)
        self.poll_count = 0
        self.requests: Counter[str] = Counter()
        self._waiters: set[_Waiter] = set()

    @property
    def call_count(self) -> int:
        """How many calls were noted, forgotten ones too: the number of the latest."""
        return self.forgotten + len(self.calls)

    def since(self, n: int, limit: int) -> list[Call]:
        """Up to `limit` of the calls numbered above `n`, oldest first; what was forgotten is not among them."""
        start = max(0, n - self.forgotten)
        return self.calls[start : start + limit]

    def forget(self, through: int) -> None:
        """Drop the calls up to number `through`: a run of hours has to be read and forgotten bit by bit."""
        gone = min(max(0, through - self.forgotten), len(self.calls))
        del self.calls[:gone]
        self.forgotten += gone

    def record(self, at: float, method: str, params: Params, status: int, *, delivered: bool) -> None:
        """Number a call and note it."""
        call = Call(self.call_count + 1, at, method, params, status, delivered)
        self.calls.append(call)
        for waiter in self._waiters:
            waiter.see(call)

    def record_poll(self, poll: Poll) -> None:
        """Note an answered getUpdates."""
        self.polls.append(poll)
        self.poll_count += 1

    async def wait(
        self, count: int, method: str | None, *, delivered: bool | None, timeout_s: float
    ) -> list[Call]:
        """The matching calls, as soon as there are `count`; TimeoutError says how many there were."""
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


def as_row(call: Call) -> list[Any]:
    """A call as the control API sends it; `Call(*row)` is its reverse."""
    return list(call)
