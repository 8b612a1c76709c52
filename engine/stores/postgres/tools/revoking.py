"""Ending the session of a process of which another one knows that it is dead."""

from typing import Final

from engine.stores.postgres.connection import visit
from engine.stores.postgres.keeper import MOVED, NOTIFY
from engine.stores.postgres.session import channel_of

_APPLICATION: Final = "chatlane supervisor"
_DELETE: Final = "DELETE FROM {0}.session WHERE id = $1 AND bot = $2 RETURNING holder"


async def revoke_session(url: str, bot: str, session: int) -> bool:
    """Delete the session, and let others take what it owned; False if it is gone. StoreUnavailable, StoreError.

    Only for a process that has ended. As a reaper's, the DELETE waits for the groups of the dead process that the server
    still executes: each has locked the row (session.py). One that arrives later changes nothing.
    """
    async with visit(url, _APPLICATION) as (address, connection):
        holder = await connection.fetchval(_DELETE.format(address.schema), session, int(bot))
        if holder is not None:
            await connection.execute(NOTIFY, channel_of(address.schema, int(bot)), MOVED)
    return holder is not None
