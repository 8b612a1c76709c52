"""The SQL of a PostgreSQL store. `{0}` is the schema: each name has it, so that no search_path can change what is meant.

$1 is always the bot.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from engine.stores.owned.group import DELETED, Combined, Row
from engine.stores.owned.reads import Read
from engine.stores.owned.shares import share_of

_LETTER: Final = (
    "SELECT number, queue, id, key, scope, body, attempts, reason, at FROM {0}.dead WHERE bot = $1"
)
_AT: Final = "SELECT place, scope, body, at FROM {{0}}.{} WHERE bot = $1 AND place = ANY($2::bigint[])"
_THERE: Final = "SELECT place FROM {{0}}.{} WHERE bot = $1 AND place = ANY($2::bigint[])"
_BEHIND: Final = "FROM {0}.timer WHERE bot + 0 = $1 AND (at, place) > ($2, $3) AND at >= $4 AND get_bit({1}::bytea, share) = 1"
_NAMES: Final = "at, place, key, scope, name"
_OLDEST: Final = "SELECT at FROM {{0}}.{} WHERE bot = $1 ORDER BY place LIMIT 1"

MAIL_BYTES_MAX: Final = 32 << 20
"""Mail is read up to the one with which the bodies have so many bytes."""

QUERIES: Final = {
    Read.INBOX_AT: _AT.format("inbox"),
    Read.OUTBOX_AT: _AT.format("outbox"),
    Read.TIMER_AT: _AT.format("timer"),
    Read.INBOX_THERE: _THERE.format("inbox"),
    Read.OUTBOX_THERE: _THERE.format("outbox"),
    Read.TIMER_THERE: _THERE.format("timer"),
    Read.INBOX_OLDEST: _OLDEST.format("inbox"),
    Read.OUTBOX_OLDEST: _OLDEST.format("outbox"),
    Read.STATE: "SELECT state FROM {0}.state WHERE bot = $1 AND key = $2 AND scope = $3",
    Read.DUE: f"SELECT {_NAMES} {_BEHIND.replace('{1}', '$7')} AND at <= $5 ORDER BY at, place LIMIT $6",
    Read.NEXT_DUE: f"SELECT at {_BEHIND.replace('{1}', '$5')} ORDER BY at, place LIMIT 1",
    # Of an update that has arrived mail has the place only. $3: see Window.
    Read.MAIL: "SELECT m.n, m.kind, m.key, coalesce(i.scope, m.scope), m.place, coalesce(i.at, m.at), coalesce(i.body, m.body)"
    " FROM (SELECT *, sum(octet_length(body)) OVER (ORDER BY n) - octet_length(body) AS bytes_before FROM"
    " (SELECT * FROM {0}.mail WHERE bot + 0 = $1 AND n > $3 AND get_bit($4::bytea, share) = 1 ORDER BY n LIMIT $2) AS first) m"
    " LEFT JOIN LATERAL (SELECT scope, at, body FROM {0}.inbox i"
    " WHERE m.kind = 'arrived' AND i.place = m.place AND i.bot = $1 OFFSET 0) i ON true"
    f" WHERE m.bytes_before < {MAIL_BYTES_MAX} ORDER BY m.n",
    Read.LETTER: f"{_LETTER} AND number = $2",
    Read.NEWEST_LETTER: f"{_LETTER} AND number < $2 ORDER BY number DESC LIMIT 1",
}

OF_SHARES: Final = {Read.DUE, Read.NEXT_DUE, Read.MAIL}
"""Questions whose last value is the session's shares, as bits: a list of them would be planned and compared each time."""

# -- one group: one statement, so that it needs one round trip, and is one transaction ---------------------------------

_FENCE: Final = """
WITH alive AS MATERIALIZED (SELECT FROM {0}.session WHERE id = $2 AND stint = $3 AND bot = $1 FOR KEY SHARE),
 same AS MATERIALIZED (SELECT FROM {0}.canary, alive WHERE nonce = $4)"""
# The lock makes a grant to another session wait for what is appended, so that it reads all ids.
_RIGHT: Final = """,
 granted AS MATERIALIZED (SELECT FROM {{0}}.bot WHERE id = $1 AND owner = $2 AND epoch = {epoch} FOR SHARE)"""
# The locked row is the newest version of it, whatever this statement's snapshot has.
_WRONG: Final = """,
 wrong AS MATERIALIZED (SELECT w.key FROM same, unnest({keys}::text[], {scopes}::text[], {was}::bytea[]) AS w(key, scope, was)
  WHERE (SELECT t.state FROM {{0}}.state t WHERE t.bot = $1 AND t.key = w.key AND t.scope = w.scope FOR UPDATE)
   IS DISTINCT FROM w.was)"""
# `full`: lanes that would have too many timers. A lane may keep `most` of those that are not changed here.
_FULL: Final = """,
 full_lane AS MATERIALIZED (SELECT w.key FROM same, unnest({lanes}::text[], {most}::int[]) AS w(key, most)
  WHERE w.most < 0 OR EXISTS (SELECT FROM {{0}}.timer t WHERE t.bot = $1 AND t.key = w.key
   AND NOT t.place = ANY({places}::bigint[]) AND NOT EXISTS (
    SELECT FROM unnest({keys}::text[], {scopes}::text[], {names}::text[]) AS c(key, scope, name)
    WHERE c.key = t.key AND c.scope = t.scope AND c.name = t.name) OFFSET greatest(w.most, 0)))"""
_GIVEN: Final = """,
 given AS (UPDATE {{0}}.share SET owner = NULL FROM sure WHERE bot = $1 AND owner = $2 AND no = ANY({shares}::int[]))"""

_COLUMNS: Final = {
    "inbox": "place bigint, key text, scope text, body bytea, at float8",
    "outbox": "place bigint, key text, scope text, body bytea, at float8",
    "dead": "number bigint, queue text, id bigint, key text, scope text, body bytea, attempts int, reason text, at float8",
    "state": "key text, scope text, state bytea",
    "seen": "segment bigint, bits bytea, touched float8",
    "parked": "queue text, key text, attempts int, until float8, reason text, delay_s float8, place bigint",
    "timer": "place bigint, key text, scope text, name text, at float8, body bytea",
    "alias": "name text, key text",
    "mark": "kind text, value bigint",
    "mail": "kind text, key text, scope text, place bigint, at float8, body bytea",
    "fresh": "key text, scope text, state bytea",
}
KEY_AT: Final = {"inbox": 1, "outbox": 1, "timer": 1, "parked": 1, "dead": 3, "mail": 1}
"""Tables that have a column for the share of the lane, and where the lane's key is in their rows."""

_CONFLICTS: Final = {
    "state": "(bot, key, scope) DO UPDATE SET state = excluded.state",
    "seen": "(segment, bot) DO UPDATE SET bits = excluded.bits, touched = excluded.touched",
    "parked": "(bot, queue, key) DO UPDATE SET attempts = excluded.attempts, until = excluded.until, "
    "reason = excluded.reason, delay_s = excluded.delay_s, place = excluded.place",
    "timer": "(bot, key, scope, name) DO UPDATE SET place = excluded.place, at = excluded.at, body = excluded.body",
    "alias": "(bot, name) DO UPDATE SET key = excluded.key",
    "mark": "(bot, kind) DO UPDATE SET value = greatest(mark.value, excluded.value)",
}
_KEY_COLUMNS: Final = {
    "state": ("key text", "scope text"),
    "seen": ("segment bigint",),
    "parked": ("queue text", "key text"),
    "timer": ("key text", "scope text", "name text"),
    "alias": ("name text",),
}
_PLACES: Final = {"dead": "number", "mail": "n"}
_CHECKED: Final = {"inbox", "outbox", "mail"}
"""Queues whose places must be there when they are deleted. A timer may be replaced in the same group."""


class Statement(NamedTuple):
    """One statement and its values, but the first four: bot, session, stint and nonce."""

    sql: str
    values: list[Any]


def group_statement(schema: str, steps: Combined) -> Statement:
    """Return the statement of a group."""
    values: list[Any] = []
    parts: list[tuple[str, str]] = []  # what is done with which table: the statement depends on nothing else
    if steps.right is not None:
        parts.append(("right", ""))
        values.append(steps.right)
    if was := [(*name, state) for name, state in sorted(steps.states.items(), key=_by_name)]:
        parts.append(("wrong", ""))
        values += _turned(was)
    if steps.bounded:
        parts.append(("bounded", "timer"))
        values += _bounds(steps)
    parts.append(("sure", ""))
    if steps.given:
        parts.append(("given", ""))
        values.append(steps.given)
    for table, places in steps.gone.items():
        parts.append(("gone", table))
        values.append(places)
    new = {table: rows for table, rows in steps.new.items() if rows}
    for table, by_key in steps.keyed.items():
        if forgotten := [key for key, row in by_key.items() if row is DELETED]:
            parts.append(("forgotten", table))
            values += _turned(forgotten)
        if rows := [row for row in by_key.values() if row is not DELETED]:
            new[table] = rows
    if states := new.pop("state", []):
        fresh = {row for row in states if steps.states.get(row[:2], b"") is None}  # no row may be there
        for table, some in (("fresh", fresh), ("state", set(states) - fresh)):
            if some:
                new[table] = sorted(some)
    if steps.marks:
        new["mark"] = list(steps.marks.items())
    for table, rows in new.items():
        parts.append(("new", table))
        values += _columns(table, rows)
    return Statement(_statement(schema, tuple(parts)), values)


def _by_name(state: tuple[tuple[str, str], bytes | None]) -> tuple[str, str]:
    return state[0]


def _columns(table: str, rows: Sequence[Row]) -> list[Any]:
    columns = _turned(rows)
    if table in KEY_AT:
        columns.append([share_of(key) for key in columns[KEY_AT[table]]])
    return columns


def _turned(rows: Sequence[Row]) -> list[Any]:
    return [list(column) for column in zip(*rows, strict=True)]


def _bounds(steps: Combined) -> list[Any]:
    """Return the lanes, how many other timers each may keep, the places deleted, and the names changed."""
    changes = steps.keyed.get("timer", {})
    set_ = [name[0] for name, row in changes.items() if row is not DELETED]
    most = [bound - set_.count(lane) for lane, bound in steps.bounded.items()]
    names = _turned(list(changes)) if changes else [[], [], []]
    return [list(steps.bounded), most, steps.gone.get("timer", []), *names]


@cache
def _statement(schema: str, parts: tuple[tuple[str, str], ...]) -> str:
    count = 4

    def next_value() -> str:
        nonlocal count
        count += 1
        return f"${count}"

    conditions: list[str] = []
    clauses, checks = [], []
    right, wrong, full = "1", "NULL", "NULL"
    for what, table in parts:
        clause, check = "", ""
        match what:
            case "right":
                clause = _RIGHT.format(epoch=next_value())
                conditions.append("EXISTS (SELECT FROM granted)")
                right = "(SELECT count(*) FROM granted)"
            case "wrong":
                clause = _WRONG.format(keys=next_value(), scopes=next_value(), was=next_value())
                conditions.append("NOT EXISTS (SELECT FROM wrong)")
                wrong = "(SELECT key FROM wrong LIMIT 1)"
            case "bounded":
                lanes, most, places, keys, scopes, names = (next_value() for _ in range(6))
                clause = _FULL.format(
                    lanes=lanes, most=most, places=places, keys=keys, scopes=scopes, names=names
                )
                conditions.append("NOT EXISTS (SELECT FROM full_lane)")
                full = "(SELECT key FROM full_lane LIMIT 1)"
            case "sure":
                where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
                clause = f",\n sure AS MATERIALIZED (SELECT FROM same{where})"
            case "given":
                clause = _GIVEN.format(shares=next_value())
            case "gone":
                clause, check = _gone(table, next_value())
            case "forgotten":
                clause = _forgotten(table, [next_value() for _ in _KEY_COLUMNS[table]])
            case _:
                clause = _new(table, next_value)
        clauses.append(clause)
        checks.append(check)
    tail = (
        f"\nSELECT (SELECT count(*) FROM alive)::int, (SELECT count(*) FROM same)::int, {right}::int, {wrong}::text,"
        f" {full}::text" + "".join(checks)
    )
    return (_FENCE + "".join(clauses) + tail).format(schema)


def _gone(table: str, places: str) -> tuple[str, str]:
    column = _PLACES.get(table, "place")
    clause = (
        f",\n {table}_gone AS (DELETE FROM {{0}}.{table} USING sure"
        f" WHERE bot = $1 AND {column} = ANY({places}::bigint[]) RETURNING 1)"
    )
    check = f", 1 / (CASE WHEN (SELECT count(*) FROM sure) = 0 OR (SELECT count(*) FROM {table}_gone) = cardinality({places}) THEN 1 ELSE 0 END)"
    return clause, check if table in _CHECKED else ""


def _forgotten(table: str, values: list[str]) -> str:
    """Delete by key: each row by its own look-up, since the planner would join all rows of the bot."""
    columns = [column.split() for column in _KEY_COLUMNS[table]]
    given = ", ".join(f"{value}::{kind}[]" for value, (_, kind) in zip(values, columns, strict=True))
    names = ", ".join(name for name, _ in columns)
    same = " AND ".join(f"t.{name} = w.{name}" for name, _ in columns)
    return (
        f",\n {table}_forgotten AS (DELETE FROM {{0}}.{table} USING sure WHERE {table}.ctid = ANY (ARRAY("
        f"SELECT s.tid FROM unnest({given}) AS w({names}), LATERAL (SELECT t.ctid AS tid FROM {{0}}.{table} t"
        f" WHERE t.bot = $1 AND {same} OFFSET 0) s)))"
    )


def _new(table: str, next_value: Callable[[], str]) -> str:
    listed = _COLUMNS[table] + (", share int" if table in KEY_AT else "")
    columns = [column.split() for column in listed.split(", ")]
    given = ", ".join(f"{next_value()}::{kind}[]" for _, kind in columns)
    names = ", ".join(name for name, _ in columns)
    conflict = f" ON CONFLICT {_CONFLICTS[table]}" if table in _CONFLICTS else ""
    into = "state" if table == "fresh" else table
    return (
        f",\n {table}_new AS (INSERT INTO {{0}}.{into} (bot, {names}) SELECT $1, w.* FROM sure,"
        f" unnest({given}) AS w({names}){conflict})"
    )
