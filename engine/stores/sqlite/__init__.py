"""sqlite:FILE: everything in one file, owned by one process."""

from engine.stores.sqlite.store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "open_sqlite"]
