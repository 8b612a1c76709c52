"""The desk behind the database that a bot's processes share: how the command line reaches them on PostgreSQL."""

import json
import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

import structlog

from engine import StoreError, StoreUnavailable
from telegram.operating.audit import AuditFailed, Who, entry_line, read_entries
from telegram.operating.desk import TIME_S, Desk, NotAllowed, read_params, results_of
from telegram.operating.letters import Json

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from engine.stores.postgres.tools.desk import Operators

DONE_BY_ALL: Final = frozenset({"park", "release", "pause", "resume", "discard"})
"""They are done in the store, and each process that has them in memory has to know."""

ASKED_OF_ALL: Final = frozenset({"stats", "running", "lanes", "live", "dead", "samples", "invariants"})
_WHO_MAX: Final = 100


class NoAnswer(Exception):  # noqa: N818 - an answer
    """No process has answered in time, or it says no: the text is one line."""


def is_shared(store_url: str) -> bool:
    """Return whether the store is a database that others can reach."""
    return store_url.partition(":")[0] in {"postgres", "postgresql"}


def process_name() -> str:
    """Return a name for this process."""
    # The last part tells apart what has the same number in two containers of one name.
    return f"{os.getpid()}@{socket.gethostname()}#{secrets.token_hex(2)}"


def is_meant(process: str, wanted: str) -> bool:
    """Return whether this process is the one that is wanted: by its number, as 123@host, or by its whole name."""
    name = process.partition("#")[0]
    return wanted in {name.partition("@")[0], name, process}


def process_desk(desk: Desk, store_url: str, bot: str, process: str) -> AbstractAsyncContextManager[object]:
    """Return what answers questions to this process, to be entered."""
    from engine.stores.postgres.tools.desk import Answered, ProcessDesk  # late: its driver is optional

    async def answer(name: str, params: str, who: str) -> Answered:
        asker = Who(who[:_WHO_MAX], may_write=True, where="database")
        try:
            if name not in desk.actions:
                raise ValueError(
                    f"{name[:40]!r} is not known: the bot runs another version than this command"
                )
            return Answered(200, json.dumps(await desk.ask(name, read_params(params.encode()), asker)))
        except NotAllowed as error:
            return Answered(409, str(error))
        except ValueError as error:
            return Answered(400, str(error))
        except StoreUnavailable as error:
            return Answered(503, str(error))
        except Exception:
            log.exception("unexpected error at an operator's question", what=name)
            return Answered(500, "unexpected error: the bot's log has it")

    return ProcessDesk(store_url, bot, process, answer)


class DatabaseAudit:
    """The audit log in the table `journal` of the bot's schema: one for all processes. See AuditLog."""

    def __init__(self, store_url: str, bot: str, wall: Callable[[], float] = time.time) -> None:
        from engine.stores.postgres.tools.journal import Journal  # late: its driver is optional

        self._journal = Journal(store_url, bot)
        self._wall = wall

    async def note(self, who: Who, what: str, about: Json, result: str) -> None:
        """See AuditLog."""
        try:
            await self._journal.add(entry_line(self._wall(), who, what, about, result))
        except (StoreUnavailable, StoreError) as error:
            raise AuditFailed(f"the audit log cannot be written ({error}): nothing was done") from None

    async def tail(self, limit: int) -> list[Json]:
        """See AuditLog."""
        return read_entries(await self._journal.newest(limit), limit)


async def ask_processes(
    operators: "Operators", processes: list[str], name: str, params: Json, who: str
) -> Json:
    """Ask the processes that it takes, and return one answer. NoAnswer."""
    if name == "drain":
        params = dict(params)
        processes = _one_of(processes, params.pop("process", None))
    everywhere = name in ASKED_OF_ALL or name in DONE_BY_ALL
    answers = await operators.ask(
        processes if everywhere else processes[:1], name, json.dumps(params), who, 2 * TIME_S
    )
    good = [json.loads(answer.body) for answer in answers.values() if answer.status == 200]
    bad = [answer.body for answer in answers.values() if answer.status != 200]
    if bad and (name in DONE_BY_ALL or not good):
        raise NoAnswer(bad[0])
    if not good:
        raise NoAnswer("the bot does not answer: it may be stopping")
    return merged(name, params, good)


def _one_of(processes: list[str], wanted: str | None) -> list[str]:
    found = [each for each in processes if wanted is None or is_meant(each, wanted)]
    if len(found) == 1:
        return found
    short = [each.partition("#")[0] for each in processes]
    names = ", ".join(short if len({*short}) == len(short) else processes)
    raise NoAnswer(f"name one process by --process: {names}")


def merged(name: str, params: Json, answers: list[Json]) -> Json:
    """Return one answer for those of several processes: each knows its own lanes, and all of the store."""
    first = answers[0]
    if len(answers) == 1:
        return first
    if name == "discard":
        return results_of(
            {
                number: next(
                    (each["letters"][number] for each in answers if each["letters"][number] == "done"), result
                )
                for number, result in first["letters"].items()
            }
        )
    if name not in ASKED_OF_ALL:
        return next((each for each in answers if each.get("result") == "done"), first)
    if name == "dead":  # each reads all of them, and counts those of its own lanes
        return {**first, "total": sum(each["total"] for each in answers)}
    if name == "running":
        runs = [run for each in answers for run in each["running"]]
        return {
            "running": sorted(runs, key=lambda run: -run["running_s"]),
            "total": sum(each["total"] for each in answers),
        }
    if name == "lanes":
        lanes = {lane["key"]: lane for each in answers for lane in each["lanes"]}
        deepest = params.get("by") == "depth"
        ordered = sorted(
            lanes.values(), key=lambda lane: -(lane["depth"] if deepest else lane["age_s"] or 1e18)
        )
        held = {lane["key"]: lane for each in answers for lane in each["held"] if lane["key"] not in lanes}
        return {**first, "lanes": ordered[: params.get("limit", 50)], "held": list(held.values())}
    if name == "samples":
        return first
    if name == "live":
        parts = {
            part: merged(part, params, [each[part] for each in answers])
            for part in ("stats", "lanes", "running")
        }
        return {**first, **parts}
    if name == "invariants":
        problems = [problem for each in answers for problem in each["problems"]]
        lanes, entries = (sum(each[of] for each in answers) for of in ("lanes", "entries"))
        result = f"{len(problems)} problems" if problems else "no problem"
        return {"result": result, "problems": problems, "lanes": lanes, "entries": entries}
    return _total(answers)


def _total(answers: list[Json]) -> Json:
    queues: dict[str, Any] = {}
    for queue in answers[0]["queues"]:
        each = [answer["queues"][queue] for answer in answers]
        queues[queue] = {
            **{
                name: sum(one[name] for one in each)
                for name in ("pending", "ready", "leased", "parked", "committed")
            },
            "oldest_s": max((one["oldest_s"] for one in each if one["oldest_s"] is not None), default=None),
            "paused": next((one["paused"] for one in each if one["paused"]), None),
            "held": max(one["held"] for one in each),
        }
    return {
        **answers[0],
        "queues": queues,
        "timers_due": sum(answer["timers_due"] for answer in answers),
        "dead": sum(answer["dead"] for answer in answers),
        "processes": [answer["process"] for answer in answers],
    }
