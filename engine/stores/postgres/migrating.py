"""Creates and migrates the tables under a role of its own, so that the bot's role may not change them."""

from engine.stores.postgres.address import read_address
from engine.stores.postgres.connection import connect
from engine.stores.postgres.errors import at_opening
from engine.stores.postgres.schema import migrate


async def migrate_url(url: str, role: str | None) -> str:
    """Create or migrate; return what there is now. StoreError or StoreUnavailable in one line."""
    address = read_address(url)
    try:
        connection = await connect(address, "chatlane migrate-schema")
        try:
            known = await migrate(connection, address, role)
        finally:
            connection.terminate()
    except Exception as error:  # noqa: BLE001 - whatever the driver raises
        raise at_opening(address.name, error) from None
    return f"{address.name}, schema {address.schema}: format {known}"
