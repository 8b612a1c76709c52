"""postgres://: a database; one process at a time holds a bot, others stand by."""

from engine.stores.postgres.store import PostgresStore, open_postgres

__all__ = ["PostgresStore", "open_postgres"]
