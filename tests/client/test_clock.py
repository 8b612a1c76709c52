"""Telegram's time, as its answers tell it (telegram/client/clock.py)."""

import time
from email.utils import formatdate

import pytest
from structlog.testing import capture_logs

from telegram.client import TgClient
from telegram.client.clock import TelegramClock
from telegram.fake import FakeServer

NOW = 1_790_000_000.0


class Wall:
    """A clock of a machine."""

    def __init__(self, ahead_s: float) -> None:
        self.at = NOW + ahead_s

    def __call__(self) -> float:
        return self.at


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0, 86_400.0 * 400, 3.0])
def test_the_time_is_telegrams_however_wrong_the_machines_clock_is(ahead_s):
    wall = Wall(ahead_s)
    clock = TelegramClock(wall)
    assert clock.time() == wall.at  # nothing is known yet
    clock.heard(formatdate(NOW, usegmt=True))
    assert clock.time() == NOW
    wall.at += 10
    assert clock.time() == NOW + 10


@pytest.mark.parametrize("ahead_s", [1.9, -1.9, 0.0])
def test_whole_seconds_and_the_way_are_no_difference(ahead_s):
    clock = TelegramClock(Wall(ahead_s))
    clock.heard(formatdate(NOW, usegmt=True))
    assert clock.time() == NOW + ahead_s


@pytest.mark.parametrize(
    "date", [None, "", "yesterday", "Mon, 32 Foo 2026 99:99:99 GMT", "x" * 10_000, "\x00", "0"]
)
def test_what_is_no_date_changes_nothing(date):
    clock = TelegramClock(Wall(3600.0))
    clock.heard(formatdate(NOW, usegmt=True))
    clock.heard(date)
    assert clock.time() == NOW


def test_a_clock_that_is_put_right_counts_with_the_next_answer():
    wall = Wall(3600.0)
    clock = TelegramClock(wall)
    clock.heard(formatdate(NOW, usegmt=True))
    wall.at = NOW + 50  # NTP
    clock.heard(formatdate(NOW + 50, usegmt=True))
    assert clock.time() == NOW + 50


def test_a_wrong_clock_is_logged_once():
    clock = TelegramClock(Wall(7200.0))
    with capture_logs() as logs:
        for _ in range(3):
            clock.heard(formatdate(NOW, usegmt=True))
    assert [(each["event"], each["ahead_s"]) for each in logs] == [
        ("the clock of this machine is not Telegram's", 7200)
    ]


async def test_each_answer_to_get_updates_sets_the_clock(monkeypatch):
    async with FakeServer() as fake, TgClient(fake.token, base_url=fake.url) as client:
        monkeypatch.setattr(client, "_clock", TelegramClock(lambda: Wall(3600.0).at))
        before = client.time()
        await client.get_updates(0, timeout_s=0)
        assert before == NOW + 3600.0
        assert abs(client.time() - time.time()) < 10  # the fake's Date header is the real time


async def test_the_hours_that_pass_in_the_sandbox_are_no_wrong_clock():
    async with FakeServer() as fake, TgClient(fake.token, base_url=fake.url, wall=fake.clock) as client:
        fake.clock.advance(3600)
        with capture_logs() as logs:
            await client.get_updates(0, timeout_s=0)
        assert logs == []
        assert abs(client.time() - time.time() - 3600) < 10
