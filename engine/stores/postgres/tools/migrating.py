"""Creates and migrates the tables under a role of its own, so that the bot's role may not change them."""

from engine.stores.postgres.connection import visit
from engine.stores.postgres.schema import migrate


async def migrate_url(url: str, role: str | None) -> str:
    """Create or migrate; return what there is now. StoreError or StoreUnavailable in one line."""
    async with visit(url, "chatlane migrate-schema") as (address, connection):
        known = await migrate(connection, address, role)
    return f"{address.name}, schema {address.schema}: format {known}"
