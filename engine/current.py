"""The delivery that the current code works on, for logs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from engine.model import Delivery

current_delivery: Final[ContextVar[Delivery | None]] = ContextVar("current_delivery", default=None)
"""The delivery that the running handler handles, or that a line of the log is about."""


@contextmanager
def about(delivery: Delivery) -> Iterator[None]:
    """Let lines of the log be about a delivery whose handler does not run. Without an await inside."""
    token = current_delivery.set(delivery)
    try:
        yield
    finally:
        current_delivery.reset(token)
