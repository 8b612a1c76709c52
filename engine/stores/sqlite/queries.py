"""The questions of a store as SQL. Lists of places are JSON arrays."""

from typing import Final

from engine.stores.owned.reads import Read

# Two parts: with a row comparison SQLite would read again all timers of the same moment as the last one.
_FROM: Final = "FROM timer WHERE at = ? AND place > ?"
_LATER: Final = "FROM timer WHERE at > ?"
_NAMES: Final = "at, place, key, scope, name"
_LETTER: Final = "SELECT number, queue, id, key, scope, body, attempts, reason, at FROM dead"
_AT: Final = "SELECT place, scope, body, at FROM {} WHERE place IN (SELECT value FROM json_each(?))"
_THERE: Final = "SELECT place FROM {} WHERE place IN (SELECT value FROM json_each(?))"
_OLDEST: Final = "SELECT at FROM {} ORDER BY place LIMIT 1"

QUERIES: Final = {
    Read.NOTHING: "SELECT 1",
    Read.INBOX_AT: _AT.format("inbox"),
    Read.OUTBOX_AT: _AT.format("outbox"),
    Read.TIMER_AT: _AT.format("timer"),
    Read.INBOX_THERE: _THERE.format("inbox"),
    Read.OUTBOX_THERE: _THERE.format("outbox"),
    Read.TIMER_THERE: _THERE.format("timer"),
    Read.INBOX_OLDEST: _OLDEST.format("inbox"),
    Read.OUTBOX_OLDEST: _OLDEST.format("outbox"),
    Read.STATE: "SELECT state FROM state WHERE key = ? AND scope = ?",
    Read.DUE: f"SELECT {_NAMES} {_FROM} UNION ALL SELECT {_NAMES} {_LATER} AND at <= ? ORDER BY at, place LIMIT ?",
    Read.NEXT_DUE: f"SELECT at {_FROM} UNION ALL SELECT at {_LATER} ORDER BY at LIMIT 1",
    Read.LETTER: f"{_LETTER} WHERE number = ?",
    Read.NEWEST_LETTER: f"{_LETTER} WHERE number < ? ORDER BY number DESC LIMIT 1",
}
