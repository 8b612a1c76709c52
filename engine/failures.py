"""Logs what handlers raise: the traceback once for each kind of failure and place, then one line.

A handler that fails for every update of a busy bot would fill the log with the same traceback.
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

import structlog

from engine.model import Delivery
from engine.outcome import described

log = structlog.get_logger(__name__)

_SEEN_MAX: Final = 1_000
"""Kinds of failure that are remembered; after so many others a traceback is logged again."""


class Failures:
    """Remembers which failures were logged with their traceback."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[type[BaseException], str], None] = OrderedDict()

    def log(self, error: BaseException, about: Mapping[str, object]) -> None:
        """Log an error of a handler, with the fields `about`. It does not raise, whatever the error's `__str__` does."""
        place = _place(error.__traceback__)
        kind = (type(error), place)
        is_new = kind not in self._seen
        self._seen[kind] = None
        self._seen.move_to_end(kind)
        if len(self._seen) > _SEEN_MAX:
            self._seen.popitem(last=False)
        try:
            if is_new:
                log.error("handler failed", **about, exc_info=error)
            else:
                log.error("handler failed", **about, error=described(error), at=place)
        except BaseException:  # noqa: BLE001 - the error's __str__ is the author's code
            log.error("handler failed", error=type(error).__name__)  # noqa: TRY400 - the traceback has failed


def about_delivery(delivery: Delivery) -> Mapping[str, object]:
    """Return the fields of a delivery's failure, of a handler without the hook `about`."""
    return {"key": delivery.lease.key, "id": delivery.envelope.id, "attempt": delivery.attempt}


def _place(trace: TracebackType | None) -> str:
    """Return "file:line" where it was raised."""
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
