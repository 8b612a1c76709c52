"""What a handler gets (Work), and what it is (Handler, FullHandler): the only boundary between the engine and handlers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

import structlog

from engine.checks import check_delay
from engine.errors import Retries, SqlFailed
from engine.model import Call, Delivery, Effects, Envelope, Lease
from engine.store import LookAhead

if TYPE_CHECKING:
    from engine.transaction import Transaction

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Runner(Protocol):
    """What runs the handler: it has the store, and bounds how long handlers run."""

    @property
    def store(self) -> LookAhead:
        """The store of the delivery."""
        ...

    def allow(self, delivery: Delivery, seconds: float) -> None:
        """Give the handler of `delivery` a time-out of `seconds` from its start; ignored if it does not run."""
        ...

    def go_on(self, delivery: Delivery, seconds: float) -> TimeoutError | None:
        """Let the handler of `delivery` go on for `seconds` after its time-out, as `Work.go_on`."""
        ...


class Work:
    """One delivery, and what its handler may ask while it runs.

    Without a runner (a unit test), nothing is pending behind the delivery and no other state exists. The methods may be
    called until the handler has ended; later, `extend` has no effect, and `peek` and `look` raise LeaseLost.
    """

    __slots__ = ("_runner", "delivery", "retries", "within")

    def __init__(self, delivery: Delivery, runner: Runner | None = None) -> None:
        self.delivery = delivery
        self._runner = runner
        self.retries: Retries | None = None
        """How this delivery is handled again if it fails or is cut off; a handler may set it while it runs."""

        self.within: Transaction | None = None
        """A transaction that the handler has begun: it is rolled back unless it is that of the effects."""

    @property
    def envelope(self) -> Envelope:
        """The update, timer or call."""
        return self.delivery.envelope

    @property
    def attempt(self) -> int:
        """Attempt number, starting at 1."""
        return self.delivery.attempt

    @property
    def state(self) -> bytes | None:
        """The conversation state of the delivery's scope."""
        return self.delivery.state

    @property
    def lease(self) -> Lease:
        """The lease of the delivery's lane."""
        return self.delivery.lease

    @property
    def store(self) -> LookAhead | None:
        """The store; None without a runner."""
        return None if self._runner is None else self._runner.store

    def extend(self, seconds: float) -> None:
        """Set the handler's time-out to `seconds` from its start, instead of `EngineConfig.handler_timeout_s`.

        ValueError for anything but a number from 0 to DELAY_MAX_S.
        """
        seconds = check_delay(seconds)
        if self._runner is not None:
            self._runner.allow(self.delivery, seconds)

    def go_on(self, seconds: float) -> TimeoutError | None:
        """Take over after a time-out: the handler has `seconds` more, and what it returns or raises is its outcome.

        To be called when it has been cancelled; returns the time-out as an error. None if it was not cancelled for its time
        alone, but for a stop or a lost lease: then what it returns or raises is ignored.
        """
        return None if self._runner is None else self._runner.go_on(self.delivery, check_delay(seconds))

    @property
    def _reads(self) -> LookAhead:
        return _NOTHING if self._runner is None else self._runner.store

    # Not `async def`: each would be one more coroutine per call.

    def peek(self, limit: int) -> Awaitable[list[Envelope]]:
        """Return at most `limit` updates directly behind the head, up to a timer or another scope.

        `Effects.also` may ack them.
        """
        return self._reads.peek(self.delivery, limit)

    def look(self, limit: int) -> Awaitable[list[Envelope]]:
        """Return the updates among the next `limit` entries behind the head, of any scope. They cannot be acked."""
        return self._reads.look(self.delivery, limit)

    def state_of(self, key: str, scope: str) -> Awaitable[bytes | None]:
        """Return the current state of another conversation, None if there is none; `Effects.states` changes it."""
        return self._reads.state(key, scope)


class _Nothing:
    async def peek(self, _: Delivery, limit: int) -> list[Envelope]:  # noqa: ARG002 - the protocol's
        return []

    async def look(self, _: Delivery, limit: int) -> list[Envelope]:  # noqa: ARG002
        return []

    async def state(self, key: str, scope: str) -> bytes | None:  # noqa: ARG002
        return None


_NOTHING: Final = _Nothing()

Handler: TypeAlias = Callable[[Work], Awaitable[Effects]]
"""Handles one delivery: returns its effects, or raises Retry, Park or Reject for another outcome."""


class FullHandler(Protocol):
    """A handler with hooks. All are optional for an Engine: it uses those that its handler has.

    They are called on the event loop, and must not block. What they raise is logged and changes nothing else.
    """

    async def __call__(self, work: Work) -> Effects:
        """Handle one delivery."""
        ...

    def failed(self, delivery: Delivery, given_up: bool) -> tuple[Call, ...]:
        """Return the calls to send for a failed delivery: after each counted failure, and (`given_up`) on giving up."""
        ...

    async def sql_failed(self, work: Work, error: SqlFailed) -> Effects:
        """Decide about a delivery whose effects were not committed because its own SQL was refused: as a handler.

        Without this hook it counts as a failure of the handler with this error.
        """
        ...

    def about(self, delivery: Delivery) -> Mapping[str, object]:
        """Return the fields of the log line about a failed delivery."""
        ...

    def arrived(self, batch: Sequence[Envelope]) -> object:
        """Note the updates that an append has brought, each with the key of its lane (Store.watch). Inbox only."""
        ...


def guarded(hook: Callable[[T], object], failed: str) -> Callable[[T], None]:
    """Return a function that calls the hook and logs what it raises, with the message `failed`: its caller has not failed."""

    def call(value: T) -> None:
        try:
            hook(value)
        except BaseException:
            log.exception(failed)

    return call
