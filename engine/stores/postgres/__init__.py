"""postgres://: a database; several processes share the lanes of a bot."""

from engine.stores.postgres.store import PostgresStore, open_postgres

__all__ = ["PostgresStore", "open_postgres"]
