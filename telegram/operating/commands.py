"""The operator's commands of the command line: their arguments, and the text of their answers.

Each asks a desk (reaching.py): of the bot that runs, or of its file while none runs. Users' texts are escaped.
"""

import sys
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, Field, field_validator
from pydantic_settings import CliPositionalArg

from telegram.botapi.printable import printable
from telegram.operating.asked import Asked
from telegram.operating.letters import Json
from telegram.settings.program import PROGRAM

_NUMBER_MAX: Final = 2**63 - 1  # as a store counts
_BODY_MAX = 120  # characters that are shown of an update or a call
_QueueName = Literal["inbox", "outbox"]
_Number = Annotated[int, Field(ge=1, le=_NUMBER_MAX)]
_QUEUE: Final[Any] = Field(default="inbox", description="of updates to handle, or of calls to send")


class Dead(BaseModel):
    """List the dead letters, newest first: what was given up, and why."""

    limit: int = Field(default=20, ge=1, description="how many")
    show: _Number | None = Field(
        default=None, description="the number of one to show whole: its hash, traceback and raw text"
    )


class Replay(BaseModel):
    """Put dead letters back into their lanes, each before newer updates."""

    numbers: CliPositionalArg[list[_Number]] = Field(description="their numbers, as `dead` shows them")


class Discard(BaseModel):
    """Delete dead letters. Each is named by number and hash (`dead --show NUMBER`); without hashes nothing is deleted."""

    letters: CliPositionalArg[list[str]] = Field(description="NUMBER:HASH of each")
    confirm: int | None = Field(default=None, description="how many they are, if more than one")

    @field_validator("letters")
    @classmethod
    def _letters(cls, letters: list[str]) -> list[str]:
        for each in letters:
            number, _, digest = each.partition(":")
            if (
                not number.isdecimal()
                or not 1 <= int(number[:20]) <= _NUMBER_MAX
                or set(digest) - set("0123456789abcdef")
            ):
                raise ValueError("NUMBER or NUMBER:HASH is needed, as `dead --show NUMBER` shows it")
        return letters


class Lanes(BaseModel):
    """List lanes with pending work: those that wait longest, or have most pending."""

    queue: _QueueName = _QUEUE
    by: Literal["age", "depth"] = Field(
        default="age", description="what comes first: the oldest, or the deepest"
    )
    limit: int = Field(default=20, ge=1, le=200, description="how many")


class Park(BaseModel):
    """Leave a lane alone, also what comes later, until `release`; also over new starts of the bot."""

    key: CliPositionalArg[str] = Field(description="of the lane, such as chat:42")
    queue: _QueueName = _QUEUE


class Release(BaseModel):
    """Let a parked lane be handled at once, whether an operator or a failure has parked it."""

    key: CliPositionalArg[str] = Field(description="of the lane, such as chat:42")
    queue: _QueueName = _QUEUE


class Pause(BaseModel):
    """Stop sending calls to Telegram until `resume`, also over new starts of the bot; with --queue=inbox, stop handling."""

    queue: _QueueName = Field(default="outbox", description="calls to send, or updates to handle")


class Resume(BaseModel):
    """Go on after `pause`."""

    queue: _QueueName = Field(default="outbox", description="calls to send, or updates to handle")


class Drain(BaseModel):
    """Let the running bot stop as at SIGTERM: running handlers finish, their replies go out, it exits."""

    process: str | None = Field(
        default=None, description="which one, if several share a database, such as 123@host"
    )


class StatsOf(BaseModel):
    """Show counts, what waits longest, what is parked, and what runs now."""


class AuditOf(BaseModel):
    """Check, while updates are handled, that the lanes keep their invariants and that what is pending is in the store."""


class Top(BaseModel):
    """Watch the running bot: rates, lanes and handlers, until Ctrl+C (needs rich)."""


Command: TypeAlias = (
    Dead | Replay | Discard | Lanes | Park | Release | Pause | Resume | Drain | StatsOf | AuditOf | Top
)


async def run_command(command: Command, asked: Asked) -> bool:
    """Ask, and print the answer; return whether all that was asked for is done or shown."""
    match command:
        case Dead(show=int(number)):
            return _show((await asked.ask("letter", {"number": number}))["letter"], number)
        case Dead():
            _print(letter_lines(await _letters(asked, command.limit)) or ["no dead letters"])
        case Replay():
            return await _replay(command, asked)
        case Discard():
            return await _discard(command, asked)
        case Lanes():
            _print(lane_lines(await asked.ask("lanes", command.model_dump())) or ["no lane has pending work"])
        case StatsOf():
            _print(stats_lines(await asked.ask("stats", {}), await asked.ask("running", {})))
        case AuditOf():
            return _audited(await asked.ask("invariants", {}))
        case Top():
            from telegram.operating.top import watch  # late: its library is optional

            await watch(asked)
        case _:
            name = type(command).__name__.lower()
            return _said(name, (await asked.ask(name, command.model_dump(exclude_none=True)))["result"])
    return True


async def _letters(asked: Asked, limit: int) -> list[Json]:
    letters: list[Json] = []
    while len(letters) < limit:
        most = min(limit - len(letters), 1000)
        page = {"limit": most, "below": letters[-1]["number"] if letters else None}
        found: list[Json] = (await asked.ask("texts", page))["letters"]
        letters += found
        if len(found) < most:
            break
    return letters


def letter_lines(letters: Iterable[Json]) -> list[str]:
    """Return two printable lines per letter: reasons and bodies may quote a stranger's text."""
    return [
        f"{each['number']:>6}  {each['queue']:<6}  {printable(each['key'])}  id {each['id']}  "
        f"attempts {each['attempts']}  {printable(each['reason'])}\n        {printable(each['start'])[:_BODY_MAX]}"
        for each in letters
    ]


def lane_lines(answer: Json) -> list[str]:
    """Return a line per lane, and one for each that is parked and idle."""
    lines = []
    for lane in answer["lanes"]:
        state = lane["status"]
        if lane["held"]:
            state += f" ({lane['held']})"
        elif lane["status"] == "parked":
            state += f" {lane['wait_s']:.0f} s"
        elif "running_s" in lane:
            state += f" {lane['running_s']:.1f} s"
        failures = f"  attempts {lane['attempts']}  {lane['reason']}" if lane["reason"] else ""
        lines.append(f"{lane['depth']:>6}  {_age(lane['age_s']):>7}  {lane['key']}  {state}{failures}")
    lines += [f"{0:>6}  {'-':>7}  {each['key']}  parked ({each['held']})" for each in answer["held"]]
    return [printable(line) for line in lines]


def stats_lines(stats: Json, running: Json) -> list[str]:
    """Return the counts as lines."""
    processes = stats.get("processes") or [stats["process"]]
    lines = [
        "no bot runs"
        if process is None
        else f"process {process['pid']} on {process['host']}: {process['state']}, up {_age(process['up_s'])}"
        for process in processes
    ]
    for name, queue in stats["queues"].items():
        lines.append(
            f"{name:<7} pending {queue['pending']}  ready {queue['ready']}  leased {queue['leased']}  "
            f"parked {queue['parked']}  oldest {_age(queue['oldest_s'])}"
        )
        if queue["paused"]:
            lines.append(f"        {queue['paused']}")
        if queue["held"]:
            lines.append(f"        lanes parked by operators: {queue['held']}")
    lines.append(f"dead letters {stats['dead']}  timers due {stats['timers_due']}")
    lines += [
        f"running {run['running_s']:>7.1f} s  {run['queue']:<6}  {run['key']}  id {run['id']}  attempt {run['attempt']}  "
        f"{run['where']}"
        for run in running["running"]
    ]
    return [printable(line) for line in lines]


def _show(letter: Json | None, number: int) -> bool:
    if letter is None:
        sys.stderr.write(f"no dead letter has the number {number}\n")
        return False
    head = (
        f"{letter['number']}:{letter['hash']}  {letter['queue']}  {letter['key']}  id {letter['id']}  "
        f"attempts {letter['attempts']}"
    )
    lines = [head, letter["reason"], *letter["trace"].splitlines(), *letter["body"].splitlines()]
    _print(printable(line) for line in lines)
    return True


async def _replay(command: Replay, asked: Asked) -> bool:
    answer = await asked.ask("replay-numbers", {"numbers": command.numbers})
    results = answer["letters"]
    done = [number for number in command.numbers if results[str(number)] == "done"]
    missing = [str(number) for number in command.numbers if results[str(number)] != "done"]
    when = "now" if asked.is_running else "at its next start"
    sys.stdout.write(f"{len(done)} put back; the bot handles them {when}\n")
    if missing:
        sys.stderr.write(f"no dead letter has the number {', '.join(missing)}\n")
    return not missing


async def _discard(command: Discard, asked: Asked) -> bool:
    given = [each.partition(":")[::2] for each in command.letters]
    if not all(digest for _, digest in given):
        return await _name_hashes([int(number) for number, _ in given], asked)
    letters = [{"number": int(number), "hash": digest} for number, digest in given]
    answer = await asked.ask("discard", {"letters": letters, "confirm": command.confirm})
    wrong = {"gone": "there is none of that number", "other": "the hash is that of another letter"}
    results = answer["letters"]
    sys.stdout.write(f"{sum(result == 'done' for result in results.values())} deleted\n")
    for number, result in results.items():
        if result != "done":
            sys.stderr.write(f"{number}: {wrong[result]}\n")
    return not any(result == "other" for result in results.values())


async def _name_hashes(numbers: list[int], asked: Asked) -> bool:
    named = []
    for number in numbers:
        letter = (await asked.ask("letter", {"number": number}))["letter"]
        if letter is None:
            sys.stderr.write(f"no dead letter has the number {number}\n")
        else:
            named.append(f"{number}:{letter['hash']}")
            sys.stdout.write(
                printable(f"{named[-1]}  {letter['queue']}  {letter['key']}  {letter['reason']}") + "\n"
            )
    confirm = f" --confirm={len(named)}" if len(named) > 1 else ""
    again = f"; to delete: {PROGRAM} discard {' '.join(named)}{confirm}" if named else ""
    sys.stderr.write(f"nothing was deleted{again}\n")
    return False


def _audited(answer: Json) -> bool:
    _print([f"{answer['result']} in {answer['lanes']} lanes, {answer['entries']} pending entries looked up"])
    sys.stderr.write("".join(f"{printable(each)}\n" for each in answer["problems"]))
    return not answer["problems"]


_SAID: Final = {
    ("park", "done"): "parked, until: {} release",
    ("park", "already"): "it was parked already",
    ("release", "done"): "released",
    ("release", "not parked"): "it is not parked",
    ("pause", "done"): "paused, until: {} resume",
    ("pause", "already"): "it was paused already",
    ("resume", "done"): "it goes on",
    ("resume", "not paused"): "it is not paused",
    ("drain", "done"): "the bot stops: running handlers finish, and their replies go out",
    ("drain", "already"): "the bot is stopping already",
}


def _said(name: str, result: str) -> bool:
    if (name, result) == ("drain", "not running"):
        sys.stderr.write("no bot runs on this store\n")
        return False
    _print([_SAID[name, result].format(PROGRAM)])
    return True


def _print(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
