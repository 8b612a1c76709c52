"""Jobs by a schedule: when they run, what becomes of missed runs, of failures, and of schedules that change."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from engine import StoreUnavailable
from engine.stores.memory import MemoryStore
from telegram.client import TgClient
from telegram.dialogue import (
    HANDLED,
    ChatContext,
    Context,
    EveryContext,
    Handled,
    Retry,
    Router,
    chat_type,
)
from telegram.dialogue.routes.schedules import Job
from telegram.fake import FakeServer
from telegram.service.assembly import Assembly
from telegram.service.bot import Bot
from telegram.settings.bot_config import BotConfig
from telegram.testing import Conversations
from tests.kit.bounds import WITHIN_S
from tests.kit.docs import modules

MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)
Log = list[tuple[str, int]]


def daily(log: Log, schedule: str = "0 9 * * mon-fri", tz: str = "Europe/Moscow", **options: Any) -> Router:
    router = Router()

    @router.every(schedule, tz=tz, **options)
    async def report(ctx: EveryContext) -> None:
        log.append((f"{ctx.due:%a %H:%M}", ctx.missed))
        ctx.data["runs"] = ctx.data.get("runs", 0) + 1
        ctx.send(7, f"run {ctx.data['runs']}")

    return router


def later(bot: Conversations, **time: float) -> None:
    """Set the clock forward, without the work of the seconds between; what is due happens."""
    bot._start += timedelta(**time).total_seconds()

    async def look() -> None:
        bot._store.clock_moved()

    bot._finish(look)
    bot.settles(failing=True)


def becomes(bot: Conversations, router: Router, **away: float) -> None:
    """Stop, let time pass, and start with another router."""
    bot._router = router
    bot._start += timedelta(**away).total_seconds()
    bot.restart()
    bot.settles(failing=True)


def test_a_job_runs_at_its_times_with_its_own_data_and_writes_to_other_chats():
    log: Log = []
    with Conversations(daily(log), start=MONDAY) as bot:
        for _ in range(7 * 4):
            later(bot, hours=6)
        assert log == [(f"{day} 06:00", 0) for day in ("Tue", "Wed", "Thu", "Fri", "Mon")]
        assert [call.params["text"] for call in bot.calls("sendMessage")] == [f"run {n}" for n in range(1, 6)]


@pytest.mark.parametrize(
    ("missed", "runs"),
    [
        ("once", [("Thu 06:00", 2)]),
        ("skip", []),
        ("all", [("Tue 06:00", 0), ("Wed 06:00", 0), ("Thu 06:00", 0)]),
    ],
)
def test_runs_missed_while_the_bot_was_down_follow_their_policy(missed, runs):
    """Runs of python-telegram-bot's JobQueue, and of APScheduler in memory, are gone after a restart (its issue 974)."""
    log: Log = []
    with Conversations(daily(log, missed=missed), start=MONDAY) as bot:
        later(bot, hours=1)
        becomes(bot, daily(log, missed=missed), days=3)
        assert log == runs
        later(bot, hours=17)
        assert log == [*runs, ("Fri 06:00", 0)]


def test_a_restart_runs_nothing_twice():
    """Each reload sent the message of a python-telegram-bot job once more (its issue 1034)."""
    log: Log = []
    with Conversations(daily(log), start=MONDAY) as bot:
        later(bot, hours=17, minutes=59)
        for _ in range(5):
            bot.restart()
            later(bot, seconds=30)
        assert log == [("Tue 06:00", 0)]


def test_a_changed_schedule_counts_from_the_start_and_a_removed_job_ends_silently():
    log: Log = []
    with Conversations(daily(log), start=MONDAY) as bot:
        later(bot, hours=1)
        becomes(bot, daily(log, "0 18 * * *", "UTC"), hours=1)
        for _ in range(4):
            later(bot, hours=6)
        assert log == [("Mon 18:00", 0)]
        becomes(bot, Router(), hours=1)
        later(bot, days=3)
        assert len(log) == 1
        assert [letter for letter in bot.dead_letters() if letter.envelope.key.startswith("every:")] == []
        assert bot._store._data.timers == {}


def test_two_runs_never_overlap_and_a_long_one_delays_the_next():

    running: list[int] = []
    due: list[str] = []
    router = Router()

    @router.every("* * * * *", tz="UTC", name="slow")
    async def slow(ctx: EveryContext) -> None:
        running.append(1)
        assert len(running) == 1
        due.append(f"{ctx.due:%M}+{ctx.missed}")
        await asyncio.sleep(50 if len(due) > 1 else 200)
        running.pop()

    with Conversations(router, start=MONDAY, config=BotConfig(handler_timeout_s=300)) as bot:
        bot.passes(minutes=7)
        assert due[:3] == ["01+0", "04+2", "05+0"]


def test_a_failing_run_is_retried_and_given_up_and_the_next_one_comes():
    attempts: list[str] = []
    router = Router()

    @router.every("0 * * * *", tz="UTC")
    async def fails(ctx: EveryContext) -> None:
        attempts.append(f"{ctx.due:%H} {ctx.attempt}")
        if ctx.due.hour == 13:
            raise Retry("no")

    with Conversations(router, start=MONDAY) as bot:
        later(bot, hours=1)
        bot.passes(minutes=5, failing=True)
        later(bot, hours=1)
        assert attempts == [*(f"13 {n}" for n in range(1, 6)), "14 1"]
        assert [letter.reason for letter in bot.dead_letters()] == ["no"]


@pytest.mark.parametrize(
    ("expression", "start", "runs"),
    [
        # The hour 2 to 3 is skipped on March 29: what is due in it runs directly after.
        ("30 2 * * *", "2026-03-28 12:00", ["2026-03-29 03:00", "2026-03-30 02:30"]),
        # The hour 2 to 3 comes twice on October 25: what is due in it runs once.
        ("30 2 * * *", "2026-10-24 12:00", ["2026-10-25 02:30", "2026-10-26 02:30"]),
        ("0 9 * * mon-fri", "2026-03-27 12:00", ["2026-03-30 09:00"]),
        # A job that begins in the second pass of the hour, after its time in the first.
        ("45 2 * * *", "2026-10-25 02:20+01:00", ["2026-10-26 02:45"]),
        # What is due every minute, or every half hour, is due in both passes, and not in a skipped hour.
        ("*/30 2 * * *", "2026-10-25 00:00", [f"2026-10-25 02:{minute:02}" for minute in (0, 30, 0, 30)]),
        ("*/30 * * * *", "2026-03-29 01:20", ["2026-03-29 01:30", "2026-03-29 03:00", "2026-03-29 03:30"]),
    ],
)
def test_a_change_of_the_clocks_in_a_time_zone(expression, start, runs):
    """crontab(5) of Debian, "Limitations" of cron(8): jobs of a skipped hour run soon after, those of a repeated hour once.

    A weekly job of Celery's beat ran an hour early and once more (celery issue 1604), one of python-telegram-bot's JobQueue an
    hour off (its issue 1381).
    """
    zone = ZoneInfo("Europe/Berlin")
    job = Job(expression, "Europe/Berlin", "x", "once")
    begins = datetime.fromisoformat(start)
    moment = (begins if begins.tzinfo else begins.replace(tzinfo=zone)).timestamp()
    for run in runs:
        moment = job.after(moment)
        assert f"{datetime.fromtimestamp(moment, zone):%Y-%m-%d %H:%M}" == run


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("Europe/Paris", "2020-10-24"),  # the night in which Celery's beat stood still (celery issue 6438)
        ("Europe/Paris", "2020-03-28"),
        ("Australia/Lord_Howe", "2026-04-04"),  # half an hour
        ("Australia/Lord_Howe", "2026-10-03"),
        ("America/Santiago", "2026-09-05"),  # midnight is skipped
        ("America/Santiago", "2026-04-04"),
        ("Pacific/Apia", "2011-12-29"),  # a day is skipped
        ("Antarctica/Troll", "2026-10-24"),  # two hours
    ],
)
@pytest.mark.parametrize("expression", ["*/7 0-3 * * *", "15,45 2 * * *", "0 0 * * *", "30 */2 * * *"])
def test_whatever_the_clocks_do_each_run_is_later_than_the_one_before(zone, start, expression):
    job = Job(expression, zone, "x", "once")
    begins = moment = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).timestamp()
    while moment < begins + 3 * 86_400:
        for now in (moment, moment + 60.0, moment + 0.5):
            assert now < job.after(now) <= now + 2 * 86_400
        moment = job.after(moment)
    minutes = Job("* * * * *", zone, "x", "once")
    for minute in range(0, 3 * 1_440, 7):
        assert minutes.after(begins + 60 * minute) == begins + 60 * (minute + 1)


def test_a_year_without_the_bot_is_one_run_of_a_job_of_each_minute_and_takes_no_time():
    """APScheduler runs a job of each minute once for several missed ones, with `coalesce` (its issue 102)."""
    log: Log = []
    with Conversations(daily(log, "* * * * *", "UTC"), start=MONDAY) as bot:
        later(bot, seconds=30)
        becomes(bot, bot._router, days=365, minutes=7)
        assert log == [("Tue 12:07", 1_000)]
        later(bot, seconds=30)
        assert log[1:] == [("Tue 12:08", 0)]


def test_of_a_rare_job_the_last_missed_run_is_found():
    job = Job("* * 29 2 *", "UTC", "x", "once")
    now = datetime(2026, 1, 5, tzinfo=UTC).timestamp()
    first = job.after(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
    due, before = job.last(first, now)
    assert first < due <= now
    assert before == 1_000
    daily_job = Job("0 9 * * *", "UTC", "x", "once")
    assert daily_job.last(daily_job.after(now - 5 * 86_400), now) == (now - 15 * 3_600, 4)


def test_all_missed_runs_are_those_of_a_month():
    """A machine without a battery begins in 1970: the runs of 56 years are not made up for when its clock is set."""
    log: Log = []
    with Conversations(
        daily(log, "0 9 * * *", "UTC", missed="all"), start=datetime(1970, 1, 2, tzinfo=UTC)
    ) as bot:
        becomes(bot, bot._router, days=20_000)
        assert len(log) == 31
        yearly: Log = []
        becomes(bot, daily(yearly, "0 9 1 1 *", "UTC", missed="all"), days=0)
        becomes(bot, bot._router, days=2 * 366 + 200)
        assert yearly == []
        for _ in range(366):
            later(bot, days=1)
        assert len(yearly) == 1


def test_a_job_that_takes_longer_than_the_pause_between_its_runs_goes_on():
    """With "maximum number of running instances reached" others skip each run (apscheduler issues 474, 1095)."""
    due: list[str] = []
    router = Router()

    @router.every("*/5 * * * *", tz="UTC", missed="skip", timeout_s=1_000)
    async def slow(ctx: EveryContext) -> None:
        due.append(f"{ctx.due:%M}+{ctx.missed}")
        await asyncio.sleep(750)

    with Conversations(router, start=MONDAY) as bot:
        bot.passes(minutes=45)
        assert due == ["05+0", "20+0", "35+0"]


def test_a_run_has_the_time_that_its_job_allows():
    router = Router()
    attempts: list[int] = []

    @router.every("0 * * * *", tz="UTC", timeout_s=5)
    async def slow(ctx: EveryContext) -> None:
        attempts.append(ctx.attempt)
        await asyncio.sleep(6 if ctx.attempt == 1 else 4)

    with Conversations(router, start=MONDAY) as bot:
        later(bot, hours=1)
        bot.passes(minutes=1, failing=True)
        assert attempts == [1, 2]
        assert bot.dead_letters() == []


def test_a_job_has_the_hooks_of_its_router():
    router = Router()
    seen: list[str] = []

    @router.before
    async def before(ctx: Context) -> None:
        seen.append(f"before {ctx.kind} {ctx.chat_id} {ctx.user_id}")

    @router.error(OSError)
    async def failed(error: OSError) -> Handled:
        seen.append(str(error))
        return HANDLED

    @router.every("0 * * * *", tz="UTC")
    async def fails() -> None:
        raise OSError("no disk")

    with Conversations(router, start=MONDAY) as bot:
        later(bot, hours=1)
        assert seen == ["before every None None", "no disk"]
        assert bot.dead_letters() == []


def test_a_filter_of_the_router_that_no_run_can_pass_is_an_error_or_a_warning(capfd):
    def of_a_chat(ctx: ChatContext[Any]) -> bool:
        return bool(ctx.chat_id)

    router = Router(of_a_chat)  # type: ignore[arg-type] # mypy sees it, too

    @router.every("0 * * * *", tz="UTC")
    async def never() -> None: ...

    with (
        pytest.raises(TypeError, match="is a filter of a ChatContext, but would get a Context"),
        Conversations(router),
    ):
        pass

    private = Router(chat_type("private"))
    private.every("0 * * * *", tz="UTC")(never)
    with Conversations(private, start=MONDAY) as bot:
        later(bot, hours=1)
    assert "the filters of its router do not let the run of a job pass" in capfd.readouterr().out


def test_the_lane_of_a_job_is_ended_with_a_run_that_waits_when_the_job_is_removed():
    log: Log = []
    router = Router()

    @router.every("0 * * * *", tz="UTC")
    async def report(ctx: EveryContext) -> None:
        log.append((f"{ctx.due:%H}", ctx.attempt))
        raise Retry("not now")

    with Conversations(router, start=MONDAY) as bot:
        later(bot, hours=1)
        assert log == [("13", 1)]
        becomes(bot, Router(), days=1)
        bot.passes(minutes=1)
        assert log == [("13", 1)]
        assert bot.dead_letters() == []
        assert bot._store._data.timers == {}


async def test_a_store_that_is_full_at_the_start_delays_the_jobs(monkeypatch):
    store = MemoryStore()
    failures = [StoreUnavailable("full")] * 7
    waits: list[float] = []

    async def post(posts: Any) -> None:
        if failures:
            raise failures.pop()
        await MemoryStore.post(store, posts)

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(store, "post", post)
    monkeypatch.setattr(asyncio, "sleep", pause)
    async with TgClient("1:x") as client:
        parts = Assembly(client, store, daily([]), BotConfig(), wall=lambda: 0.0)
        await parts.begin_jobs()
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert (await store.stats()).inbox.appended == 1


async def test_a_running_bot_begins_its_jobs():
    ran = asyncio.Event()
    router = Router()

    @router.every("* * * * *", tz="UTC")
    async def job() -> None:
        ran.set()

    loop = asyncio.get_running_loop()
    begins = loop.time()

    def wall() -> float:
        return MONDAY.timestamp() + 59.5 + loop.time() - begins  # half a second before the minute

    async with FakeServer(seed=1) as fake, TgClient(fake.token, base_url=fake.url, wall=wall) as client:
        bot = Bot(client, MemoryStore(wall=wall), router)
        await bot.start()
        async with asyncio.timeout(WITHIN_S):
            await ran.wait()
        await bot.stop()


def test_a_clock_that_was_set_back_repeats_no_run_and_one_that_was_far_ahead_does_not_stop_the_job():
    """Jobs of APScheduler stop when the clock is set back, "forever" (its issues 351 and 752)."""
    log: Log = []
    with Conversations(daily(log), start=MONDAY) as bot:
        later(bot, hours=19)
        assert log == [("Tue 06:00", 0)]
        becomes(bot, bot._router, hours=-3)  # to 04:00
        later(bot, hours=5)
        assert log == [("Tue 06:00", 0)]
        becomes(bot, bot._router, days=400)
        far = len(log)
        becomes(bot, bot._router, days=-400)
        for _ in range(
            2
        ):  # starts, as a store of this process keeps the higher time (engine/embedded/forward.py)
            becomes(bot, bot._router, days=1)
        assert [each[0] for each in log[far:]] == ["Wed 06:00", "Thu 06:00"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("0 9 * *", "UTC"), "five fields"),
        (("0 0 9 * * *", "UTC"), "five fields"),
        (("99 9 * * *", "UTC"), "Bad minute"),
        (("0 9 30 2 *", "UTC"), "day"),
        (("0 9 * * *", "Europe/Moskau"), "there is no time zone 'Europe/Moskau'"),
        (("0 9 * * *", "../etc/passwd"), "there is no time zone"),
        (("0 9 * * *", "UTC", "x", "twice"), "missed is 'skip', 'once' or 'all', not 'twice'"),
        (("0 9 * * *", "UTC", "x" * 65), "name is a printable text of 1 to 64 characters"),
        (("0 9 * * *", "UTC", "a\nb"), "name is a printable text"),
        (("0 9 * * *", "UTC", "\ud800"), "name is a printable text"),
        (("0 9 * * *", ""), "there is no time zone ''"),
        (("0 9 * * *", "Europe"), "there is no time zone 'Europe'"),
        (("0 9 * * *", "a\0b"), "there is no time zone"),
        (("0 9 * * *", None), "there is no time zone None"),
        (("0 9 * * *", ZoneInfo("UTC")), "there is no time zone zoneinfo.ZoneInfo"),
        ((None, "UTC"), "five fields"),
        (("@daily", "UTC"), "five fields"),
        (("*/0 * * * *", "UTC"), "Bad minute"),
        (("0 9 * * \u0665", "UTC"), "Bad day-of-week"),
        (("0 9 31 2,4,6 *", "UTC"), "Bad day-of-month"),
        (("0 0 */31 2 mon#5", "UTC"), "there is no such day"),
    ],
)
def test_a_wrong_job_is_one_line_where_it_is_written(arguments, message):
    options: Any = dict(zip(("schedule", "tz", "name", "missed"), arguments, strict=False))
    with pytest.raises(ValueError, match=message) as raised:
        Router().every(**options)
    assert "\n" not in str(raised.value)


def test_two_jobs_of_one_name_are_an_error_at_the_start():
    router = Router()
    for schedule in ("0 9 * * *", "0 10 * * *"):

        @router.every(schedule, tz="UTC")
        async def report() -> None: ...

    with (
        pytest.raises(ValueError, match="two jobs have the name 'report': give one of them name="),
        Conversations(router),
    ):
        pass


def test_the_example_of_the_documentation():
    with modules("schedules.md") as made, Conversations(made["digest"].router, start=MONDAY) as bot:
        alice = bot.chat("Alice")
        vars(made["digest"])["datetime"] = At
        alice.says("/subscribe")
        later(bot, hours=1)
        assert alice.sees("The digest comes at nine, Monday to Friday.")
        later(bot, hours=17)
        assert alice.sees("Digest of 06.01.")


class At(datetime):
    """The test's time."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return MONDAY.astimezone(tz)
