"""Virtual time beside a real server: while one of its answers is awaited, real time passes and virtual time does not."""

import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.kit.virtual import VirtualLoop

_REAL_S: Final = 5.0


class PatientLoop(VirtualLoop):
    """A VirtualLoop that waits for sockets inside `awaiting`."""

    def __init__(self) -> None:
        super().__init__()
        self._awaited = 0
        jump = self._jumping.select

        def select(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if not self._awaited:
                return jump(timeout)
            real_s = 0.0 if timeout is not None and timeout <= 0 else _REAL_S
            return selectors.SelectSelector.select(self._jumping, real_s)

        self._jumping.select = select  # type: ignore[method-assign]

    @contextmanager
    def awaiting(self) -> Iterator[None]:
        """Let no virtual time pass."""
        self._awaited += 1
        try:
            yield
        finally:
            self._awaited -= 1


class Awaited:
    """A connection to the server, whose answers are awaited."""

    def __init__(self, connection: Any, loop: PatientLoop) -> None:
        self._connection = connection
        self._loop = loop

    async def fetchrow(self, *query: Any) -> Any:
        with self._loop.awaiting():
            return await self._connection.fetchrow(*query)

    async def fetch(self, *query: Any) -> Any:
        with self._loop.awaiting():
            return await self._connection.fetch(*query)
