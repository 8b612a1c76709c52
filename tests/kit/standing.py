"""A store on PostgreSQL whose process stands still, so that nothing but the test uses its connections."""

from typing import Any

from tests.kit.waiting import until


async def quiet(store: Any) -> None:
    """Let it look for mail and shares no more, once a look that is under way has ended. Its session is still renewed."""
    ledger = store._ledger
    ledger._keeper._on_bell = lambda **_: None
    await until(lambda: store._sharing.done() or (ledger.bell._waiters and not ledger.bell.is_set()))
    store._sharing.cancel()
    await store._writer._idle.wait()


async def freeze(store: Any) -> None:
    """Stop its process: it renews nothing and notices nothing, and none of its requests is under way in the database."""
    await quiet(store)
    keeper = store._ledger._keeper
    await keeper._end_task()
    # After a renewal that was cut off, and may be done all the same.
    await keeper._connection.execute("SELECT 1")
