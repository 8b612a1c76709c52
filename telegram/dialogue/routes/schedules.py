"""Jobs by a schedule: `@router.every("0 9 * * mon-fri", tz="Europe/Moscow")`, each in a lane of its own.

The lane `every:NAME` has two kinds of entry, both timers of the store:

* a look (scope LOOK): it compares the time with the stored next run; when that has come it sets the timer of the run; it
  always sets the timer of the next look. Each start of the bot posts one, so that a changed schedule counts at once.
* a run: the handler. A run that fails is retried, and given up, like an update.

The lane handles one after the other: two runs never overlap. A look of a job that the router no longer has ends it.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

import structlog

from engine import Delivery, Post, Reject, Timer
from telegram.botapi.types import Update
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.tools import Tools
from telegram.dialogue.filters.conditions import Filter
from telegram.dialogue.routes.route import EVERY, Entry, Route

log = structlog.get_logger(__name__)

Missed = Literal["skip", "once", "all"]
"""What becomes of runs whose time has passed while the bot was down, or busy with an earlier run."""

KEY: Final = "every:"
LOOK: Final = "~every"
LATE_S: Final = 60.0
"""With `missed="skip"`, a run that is later than this is skipped."""

LOOK_S: Final = 86_400.0
"""Maximum time between two looks: the clock may have been set."""

COUNTED_MAX: Final = 1_000
"""Maximum of `EveryContext.missed`: to count the minutes of a year would block the event loop for seconds."""

ALL_MAX_S: Final = 31 * 86_400.0
"""With `missed="all"`, a run that is later than this is skipped: the clock of a machine may have started in 1970."""

NAME_MAX: Final = 64
_HEAD: Final = b'{"every":'
_SPANS_S: Final = (3_600.0, *(86_400.0 * days for days in range(1, 367)))


class Job:
    """A handler's schedule, checked when it is registered: ValueError, one line."""

    def __init__(self, expression: str, tz: str, name: str, missed: Missed) -> None:
        what = f"every({expression!r:.80})"
        if not isinstance(expression, str) or len(expression.split()) != 5:
            raise ValueError(f"{what}: five fields: minute, hour, day of month, month, day of week")
        if missed not in ("skip", "once", "all"):
            raise ValueError(f"{what}: missed is 'skip', 'once' or 'all', not {missed!r:.60}")
        if not isinstance(name, str) or not (0 < len(name) <= NAME_MAX and name.isprintable()):
            raise ValueError(
                f"{what}: name is a printable text of 1 to {NAME_MAX} characters, not {name!r:.80}"
            )
        from zoneinfo import ZoneInfo

        try:
            self.zone = ZoneInfo(tz)
        except (ValueError, LookupError, TypeError, AttributeError, OSError):
            raise ValueError(
                f"{what}: there is no time zone {tz!r:.60}: one like 'Europe/Moscow', or 'UTC'"
            ) from None
        self.expression = expression
        self.name = name
        self.missed = missed
        self.schedule = f"{' '.join(expression.split())} {tz}"
        """What is compared with the stored schedule."""
        self.after(0.0)

    def after(self, moment: float) -> float:
        """Return the Unix time of the first run after the Unix time `moment`, by the rules of Debian's cron."""
        return next(self._runs(moment))

    def last(self, due: float, now: float) -> tuple[float, int]:
        """Return the last run until `now`, and how many runs are before it, of those from `due` on (at most COUNTED_MAX).

        `due` is a run that is not after `now`; both are Unix times.
        """
        before = 0
        for run in self._runs(due):
            if run > now:
                return due, before
            due, before = run, before + 1
            if before == COUNTED_MAX:
                break
        for span in _SPANS_S:  # the first with a run in it has few of them
            if (recent := self.after(now - span)) <= now:
                while recent <= now:
                    due, recent = recent, self.after(recent)
                break
        return due, before

    def _runs(self, moment: float) -> Iterator[float]:
        from cronsim import CronSim, CronSimError

        text = f"every({self.expression!r:.80})"
        try:
            for run in CronSim(self.expression, datetime.fromtimestamp(moment, self.zone)):
                at = run.timestamp()
                if at > moment:  # in a repeated hour CronSim may name its first pass, which is over
                    moment = at
                    yield at
        except CronSimError as error:
            raise ValueError(f"{text}: {error}") from None
        raise ValueError(f"{text}: there is no such day")


class Planned(NamedTuple):
    """The body of a look or a run. `due`: Unix time of the run, None for a look; `missed`: how many earlier runs it replaces."""

    every: str
    due: float | None = None
    missed: int = 0

    def body(self) -> bytes:
        """Return the stored form."""
        return json.dumps(self._asdict(), separators=(",", ":")).encode()


class EveryContext(Context[Planned]):
    """A run of a job. It has no chat: `send` and `call` say where to; `data` is the job's own."""

    __slots__ = ()

    def __init__(self, planned: Planned, delivery: Delivery, tools: Tools) -> None:
        super().__init__(Update(update_id=delivery.envelope.id), planned, delivery, tools)
        self.kind = EVERY

    @property
    def job(self) -> str:
        """The job's name."""
        return self.event.every

    @property
    def due(self) -> datetime:
        """When the run was due, in UTC."""
        return datetime.fromtimestamp(self.event.due or 0.0, UTC)

    @property
    def missed(self) -> int:
        """How many earlier runs were missed, for which this one stands, too (at most 1,000); 0 with `missed="all"`."""
        return self.event.missed

    @property
    def chat_id(self) -> None:
        """There is none."""
        return

    def look(self, job: Job | None, now: float) -> None:
        """Set the run that is due at Unix time `now`, if there is one, and the next look."""
        stored = self.data
        if job is None:
            if stored:
                log.info("a job that is not in the router any more has ended", job=self.job)
            stored.clear()
            return
        if stored.get("schedule") != job.schedule or stored["last"] > now + LOOK_S:
            # A new schedule, or the clock was far ahead.
            stored |= {"schedule": job.schedule, "next": job.after(now), "last": now}
        if job.missed == "all":
            stored["next"] = max(stored["next"], job.after(now - ALL_MAX_S))
        if (due := stored["next"]) <= now:
            due, before = (due, 0) if job.missed == "all" else job.last(due, now)
            if job.missed != "skip" or now - due <= LATE_S:
                run = Planned(job.name, due, before if job.missed == "once" else 0)
                name = f"~run:{due}"  # of its own: with missed="all" several may be pending
                self._timers["", name] = Timer(name, 0.0, run.body(), "")
            stored |= {"next": job.after(due), "last": due}
        wait_s = min(max(0.0, stored["next"] - now), LOOK_S)
        self._timers[LOOK, LOOK] = Timer(LOOK, wait_s, Planned(job.name).body(), LOOK)


class OfEvery:
    """Matches the runs of a job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.label = f"every {job.expression}"

    def __call__(self, ctx: Context) -> bool:
        """Return whether the update is a run of this job."""
        return isinstance(ctx, EveryContext) and ctx.job == self.job.name


def is_planned(body: bytes) -> bool:
    """Return whether the body of a timer is that of a look or a run."""
    return body.startswith(_HEAD)


def read_planned(body: bytes) -> Planned:
    """Parse what `Planned.body` wrote; Reject for anything else."""
    try:
        return Planned(**json.loads(body))
    except (ValueError, TypeError):
        raise Reject("the run of a job is not readable") from None


def jobs_of(entries: Iterable[tuple[Entry, tuple[Filter, ...]]]) -> dict[str, Job]:
    """Return the jobs of these entries of a router by name. ValueError if two have one name."""
    found: dict[str, Job] = {}
    for entry, _ in entries:
        for each in entry.filters if isinstance(entry, Route) else ():
            if isinstance(each, OfEvery) and found.setdefault(each.job.name, each.job) is not each.job:
                raise ValueError(f"two jobs have the name {each.job.name!r}: give one of them name=")
    return found


def looks(jobs: Iterable[Job]) -> list[Post]:
    """Return the posts that look at each job."""
    return [Post(f"{KEY}{job.name}", LOOK, Planned(job.name).body()) for job in jobs]
