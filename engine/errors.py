"""Exceptions, by what the engine does about them."""

from typing import NamedTuple

from engine.checks import check_delay


class Retries(NamedTuple):
    """How a failed delivery is handled again; None: as in EngineConfig."""

    attempts_max: int | None = None
    backoff_s: float | None = None


class Retry(Exception):  # noqa: N818 - an outcome that a handler asks for, not an error
    """Run this delivery again later: counts an attempt and parks the lane; after the last attempt, a dead letter.

    `after_s` is in seconds; None leaves the delay to the engine's backoff. ValueError if it is not in 0..DELAY_MAX_S.
    """

    reason = ""  # for a subclass that does not call __init__
    after_s: float | None = None
    retries: Retries | None = None  # set by the engine

    def __init__(self, reason: str, *, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = str(reason)  # callers pass exceptions, too
        self.after_s = None if after_s is None else check_delay(after_s)


class Park(Exception):  # noqa: N818 - an outcome that a handler asks for, not an error
    """Put this delivery back and park the lane for `delay_s` seconds (ValueError outside 0..DELAY_MAX_S); no attempt."""

    reason = ""
    delay_s = 1.0

    def __init__(self, reason: str, *, delay_s: float) -> None:
        super().__init__(reason)
        self.reason = str(reason)
        self.delay_s = check_delay(delay_s)


class Reject(Exception):  # noqa: N818 - an outcome that a handler asks for, not an error
    """Give this delivery up at once: it becomes a dead letter with `reason`."""

    reason = ""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = str(reason)


class LeaseLost(Exception):  # noqa: N818 - a fact about the holder
    """The lease is not (or no longer) in force: nothing was changed, and another holder may handle the lane."""


class RightLost(Exception):  # noqa: N818 - a fact about the holder
    """The right to append is not (or no longer) in force: nothing was changed, and nothing may be confirmed."""


class StateChanged(Exception):  # noqa: N818 - a fact about a state
    """A state is not what it `was` (any longer): nothing was changed, and the lease is still in force."""


class NotPeeked(ValueError):  # noqa: N818 - a handler's mistake
    """`Effects.also` is more than was peeked under this lease: nothing was changed, the lease is still in force."""


class TooManyTimers(Exception):  # noqa: N818 - a fact about a lane
    """The lane would have more timers than `Limits.lane_timers_max`: nothing was changed, the lease is still in force."""

    def __init__(self, key: str, most: int) -> None:
        super().__init__(f"the lane {key} would have more than {most} timers")


class SqlFailed(Exception):  # noqa: N818 - a fact about a statement
    """The database refused a statement of the author's own SQL: nothing was changed, the lease is still in force.

    The text has no values. `statement` is the text of the statement.
    """

    def __init__(self, reason: str, statement: str = "") -> None:
        super().__init__(reason)
        self.statement = statement


class SqlMismatch(SqlFailed):
    """A statement has changed another number of rows than expected: `count`. Nothing was changed."""

    def __init__(self, reason: str, statement: str = "", count: int = 0) -> None:
        super().__init__(reason, statement)
        self.count = count


class TransactionFailed(Retry):
    """The transaction of a handler is rolled back, for no fault of the handler's: nothing was changed, and it runs again."""


class StoreUnavailable(Exception):  # noqa: N818 - a passing state of the store
    """The store cannot do it now (disk full, I/O error, connection lost): nothing is confirmed, repeat the request."""


class StoreError(Exception):
    """The store cannot be used until a person repairs something; the text says what, in one line."""


class StoreAwayError(StoreError):
    """The store cannot be reached at the start. It may come back without a person: a server that starts after the bot, say."""
