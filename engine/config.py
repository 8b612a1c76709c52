"""The settings of one pool."""

from dataclasses import dataclass

from engine.mistakes import PROGRAMMING_ERRORS


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of one pool, each with its unit and its reason."""

    workers: int = 64
    """Number of handlers at a time. Handlers mostly await I/O; a worker is one task of about 2 KB."""

    handler_timeout_s: float = 60.0
    """A handler is cancelled after this many seconds, so that it cannot hold its lane for ever."""

    attempts_max: int = 5
    """Attempts of one delivery before it becomes a dead letter and its lane continues."""

    programming_errors: tuple[type[BaseException], ...] = PROGRAMMING_ERRORS
    """Errors that make a dead letter at the first attempt, if the program and not a library raised them
    (engine/mistakes.py)."""

    log_failures: bool = True
    """Log what a handler raises, with its traceback. False: an observer reports it (engine/observe.py, Handled)."""

    backoff_s: float = 1.0
    """Pause after the first failure, in seconds; it doubles with each further one. Jitter shortens it by up to half."""

    backoff_max_s: float = 300.0
    """Longest pause in seconds: later updates of the lane wait for it."""

    quantum: int = 10
    """Deliveries from one lane before other ready lanes get their turn."""

    urgent: tuple[str, ...] = ()
    """Key prefixes of lanes with time limits: they wait only briefly for a handler with precedence (engine/settling.py)."""

    def backoff(self, attempt: int, jitter: float, first_s: float | None = None) -> float:
        """Return the pause after failure number `attempt` (from 1), in seconds; `jitter` is in [0, 1).

        `first_s` is the pause after the first one, if not `backoff_s`.
        """
        first_s = self.backoff_s if first_s is None else first_s
        longest = min(max(self.backoff_max_s, first_s), first_s * 2.0 ** min(attempt - 1, 30))
        return longest * (0.5 + 0.5 * jitter)
