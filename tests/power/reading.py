"""What a store's file holds, read past the store."""

from typing import Final

from engine import Queue
from engine.stores.sqlite import SqliteStore
from tests.power.history import Found, Parked
from tests.power.work import TIMERS, ids_of, name_of

_ID_MASK: Final = (1 << 53) - 1
_SEGMENT: Final = 4096  # ids


def read(store: SqliteStore) -> Found:
    """Read it with the store's own connection; sqlite3.Error if that cannot be."""
    execute = store._ledger.file.connection.execute
    (integrity,) = execute("PRAGMA integrity_check(1)").fetchone()
    inbox = [(key, place & _ID_MASK) for place, key in execute("SELECT place, key FROM inbox ORDER BY place")]
    outbox = [(key, name_of(body)) for key, body in execute("SELECT key, body FROM outbox ORDER BY place")]
    states = list(execute("SELECT key, scope, state FROM state"))
    dead = list(execute("SELECT queue, id, body FROM dead"))
    return Found(
        integrity,
        store._ledger.file.owner_epoch,
        inbox,
        outbox,
        {(key, scope): ids_of(state) for key, scope, state in states if scope != TIMERS},
        [id_ for queue, id_, _ in dead if queue == Queue.INBOX.value],
        [name_of(body) for queue, _, body in dead if queue == Queue.OUTBOX.value],
        [Parked(*row) for row in execute("SELECT queue, key, reason FROM parked")],
        {
            segment * _SEGMENT + index * 8 + bit
            for segment, bits in execute("SELECT segment, bits FROM seen")
            for index, byte in enumerate(bits)
            if byte
            for bit in range(8)
            if byte & 1 << bit
        },
        tuple(int(body) for (body,) in execute("SELECT body FROM timer")),
        tuple(id_ for _, scope, state in states if scope == TIMERS for id_ in ids_of(state)),
    )
