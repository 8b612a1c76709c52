"""A PostgreSQL server for the tests of this folder: one for all of them, a bot for each."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count

import pytest

from tests.kit.database import WHERE_FROM, Server, can_start


@pytest.fixture(scope="session")
def database() -> Iterator[Server]:
    """A server of our own."""
    if not can_start():
        pytest.skip(WHERE_FROM)
    server = Server()
    yield server
    server.remove()


_numbers = count(1)


@pytest.fixture
def new_bot() -> Callable[[], str]:
    """Return a function that returns the number of a bot that no other test has."""
    return lambda: str(next(_numbers))


@pytest.fixture
async def closing() -> AsyncIterator[AsyncExitStack]:
    """What is to be closed at the end of the test."""
    async with AsyncExitStack() as stack:
        yield stack
