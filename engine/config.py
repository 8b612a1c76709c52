"""The settings of one pool."""

from dataclasses import dataclass

from engine.mistakes import PROGRAMMING_ERRORS


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of one pool, each with its unit and its reason."""

    workers: int = 64
    """Handlers at a time. Handlers mostly wait for something; a worker is one task of about 2 KB."""

    handler_timeout_s: float = 60.0
    """A handler is cancelled after this long, so that no lane is held for ever."""

    attempts_max: int = 5
    """Failures of one delivery before it goes to the dead letters and its lane goes on."""

    programming_errors: tuple[type[BaseException], ...] = PROGRAMMING_ERRORS
    """What is given up at the first attempt, if the program raised it and not a library (engine/mistakes.py)."""

    backoff_s: float = 1.0
    """Pause after the first failure; it doubles with each one."""

    backoff_max_s: float = 300.0
    """Longest pause: people wait behind it in this lane."""

    quantum: int = 10
    """Deliveries from one lane before other ready lanes get their turn."""

    urgent: tuple[str, ...] = ()
    """Lanes whose keys begin so have time limits: they wait only briefly for a handler that goes first
    (engine/settling.py)."""

    renew_every_s: float = 5.0
    """A third of the stores' lease time: two renewals may fail before a lease can be taken over."""

    def backoff(self, attempt: int, jitter: float) -> float:
        """Return the pause after the n-th failure, in seconds; `jitter` is in [0, 1)."""
        longest = min(self.backoff_max_s, self.backoff_s * 2.0 ** min(attempt - 1, 30))
        return longest * (0.5 + 0.5 * jitter)
