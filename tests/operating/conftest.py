"""A PostgreSQL server for the commands that go through a database."""

from tests.stores.conftest import database, new_bot

__all__ = ["database", "new_bot"]
