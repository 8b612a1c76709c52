"""A transaction in which a handler runs SQL of its own, and whose commit is that of its update (`Effects.within`)."""

from types import TracebackType
from typing import Any, Protocol, Self


class Transaction(Protocol):
    """Open while it is entered: `async with`. Its statements see each other, and what others have committed.

    If the block ends with an error, it is rolled back. Otherwise it is committed together with the effects of the handler, or
    rolled back if they are not committed. The methods are those of asyncpg's connection, and raise the driver's errors:
    RuntimeError for a statement that would end the transaction and outside of the block, TransactionFailed if it is lost.
    """

    async def execute(self, text: str, /, *values: Any) -> str:
        """Run one statement; return its tag, such as "UPDATE 1"."""

    async def fetch(self, text: str, /, *values: Any) -> list[Any]:
        """Run one statement; return its rows."""

    async def fetchrow(self, text: str, /, *values: Any) -> Any:
        """Run one statement; return its first row, or None."""

    async def fetchval(self, text: str, /, *values: Any) -> Any:
        """Run one statement; return the first value of its first row, or None."""

    @property
    def connection(self) -> Any:
        """The driver's connection, for what is not here; it must not end the transaction. It is used once, and closed."""

    async def __aenter__(self) -> Self:
        """Begin."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Check that it can be committed, or roll it back."""

    def abandon(self) -> None:
        """Roll it back, unless a commit has it by now. At once: without waiting."""
