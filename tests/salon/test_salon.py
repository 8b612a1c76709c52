"""The salon, from the first message to the reminders (handlers/salon)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from handlers.salon import router
from handlers.salon.model import Salon
from handlers.salon.pictures import FOLDER
from telegram.testing import Chat, Conversations

SUNDAY = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
def bot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with Conversations(router, start=SUNDAY, username="salon_bot") as conversations:
        yield conversations


def up_to_phone(person: Chat, day: str = "3", time: str = "10:00") -> None:
    person.says("/book")
    person.presses("Haircut, 35 €")
    person.presses(day)
    person.presses(time)


def confirms(person: Chat, user_id: int | None = None) -> None:
    own = {"phone_number": "+49 1", "first_name": "A", "user_id": user_id or person.user_id}
    person.sends(contact=own)
    person.presses("Book")


def books(person: Chat, day: str = "3", time: str = "10:00") -> None:
    up_to_phone(person, day, time)
    confirms(person)


def test_a_visit_is_booked_and_remembered_twice(bot):
    alice = bot.chat("Alice")
    books(alice)
    assert alice.sees("See you on 03.03.2026 10:00! To cancel: /visits")
    bot.restart()
    bot.passes(hours=24)
    assert alice.sees("Your visit: Haircut, 35 €, 03.03.2026 10:00")
    first = len(bot.calls("sendMessage"))
    bot.passes(hours=21)
    assert len(bot.calls("sendMessage")) == first
    bot.passes(hours=2)
    assert len(bot.calls("sendMessage")) == first + 1


def test_the_services_have_pages_and_a_day_without_free_time_is_refused(bot):
    alice = bot.chat("Alice")
    alice.says("/book")
    alice.presses("»")
    alice.presses("»")
    alice.presses("Bridal hair, 140 €")
    alice.presses("»")
    bot.passes(minutes=29)
    alice.presses("«")
    alice.presses("1")
    alice.presses("Another day")
    bot.passes(minutes=29)
    alice.presses("2")
    assert "17:00" in alice.buttons
    bot.passes(minutes=31)
    assert alice.sees("The booking has timed out.")


def test_one_of_two_who_take_the_same_time_at_once_gets_it(bot):
    alice, bob = bot.chat("Alice"), bot.chat("Bob")
    for each in (alice, bob):
        up_to_phone(each)
        each.sends(contact={"phone_number": "+49 1", "first_name": "A", "user_id": each.user_id})
    alice.presses("Book", wait=False)
    bob.presses("Book", wait=False)
    bot.settles()
    seen = [each.text for each in (alice, bob)]
    assert sum(text.startswith("See you on 03.03.2026 10:00") for text in seen) == 1
    late = alice if seen[1].startswith("See you") else bob
    assert late.sees("What time on 03.03.?")
    assert "10:00" not in late.buttons
    late.presses("11:00")
    confirms(late)
    assert late.sees("See you on 03.03.2026 11:00")


def test_a_time_that_was_taken_meanwhile_is_not_there_any_more(bot):
    alice, bob = bot.chat("Alice"), bot.chat("Bob")
    bob.says("/book")
    bob.presses("Colour, 70 €")
    bob.presses("3")
    books(alice)
    bob.presses("10:00")
    assert "This time has just been taken." in str(bob.messages)
    assert bob.sees("What time on 03.03.?")
    assert "10:00" not in bob.buttons


def test_someone_elses_number_is_refused(bot):
    alice = bot.chat("Alice")
    up_to_phone(alice)
    alice.sends(contact={"phone_number": "+49 2", "first_name": "B", "user_id": 99})
    assert "Please send your own number, with the key." in [
        each["text"] for each in alice.messages if "text" in each
    ]
    assert alice.sees("Your phone number, please.")
    confirms(alice)
    assert alice.sees("See you on")


def test_a_visit_is_cancelled_from_the_list_with_its_reminders(bot):
    alice, bob = bot.chat("Alice"), bot.chat("Bob")
    books(alice)
    books(alice, time="11:00")
    alice.says("/visits")
    alice.presses("03.03.2026 10:00")
    alice.presses("Cancel this visit")
    assert alice.sees("Cancelled: 03.03.2026 10:00")
    books(bob)
    assert bob.sees("See you on 03.03.2026 10:00")
    sent = len(bot.calls("sendMessage"))
    bot.passes(days=3)
    reminders = [each.params["text"] for each in bot.calls("sendMessage")[sent:]]
    assert sorted(reminders) == sorted(
        ["Your visit: Haircut, 35 €, 03.03.2026 10:00"] * 2
        + ["Your visit: Haircut, 35 €, 03.03.2026 11:00"] * 2
    )
    alice.says("/visits")
    assert alice.sees("No visits.")


def test_a_payment_counts_once(bot):
    alice = bot.chat("Alice")
    books(alice)
    for _ in range(2):
        bot.post(alice.id, "paid", {"number": 1}, id="inv-1")
    assert [each.params["text"] for each in bot.calls("sendMessage")].count(
        "Paid, thank you: 03.03.2026 10:00"
    ) == 1
    alice.says("/visits")
    assert "03.03.2026 10:00 paid" in alice.buttons


def test_the_owner_writes_to_all_customers_once(bot):
    owner, alice, bob = bot.chat("Olga"), bot.chat("Alice"), bot.chat("Bob")
    owner.says("/owner")
    alice.says("/owner")
    books(alice)
    books(bob, time="11:00")
    alice.says("/tell I am not the owner")
    owner.says("/tell We are closed on Monday.")
    assert owner.sees("Sent to 2 customers")
    assert alice.sees("We are closed on Monday.")
    assert bob.sees("We are closed on Monday.")
    texts = [each.params["text"] for each in bot.calls("sendMessage")]
    assert texts.count("We are closed on Monday.") == 2
    assert "I am not the owner" not in texts


def test_photos_and_albums_are_saved(bot, tmp_path):
    alice = bot.chat("Alice")
    alice.sends(photo=True)
    assert alice.sees("We have your 1 picture.")
    alice.sends(photo=True, media_group_id="7", wait=False)
    alice.sends(photo=True, media_group_id="7", wait=False)
    bot.settles()
    assert alice.sees("We have your 2 pictures.")
    assert list((tmp_path / FOLDER).iterdir())


def test_an_error_is_reported_to_the_owner(bot, monkeypatch):
    owner, alice = bot.chat("Olga"), bot.chat("Alice")
    owner.says("/owner")

    def book(*_: Any) -> int:
        raise RuntimeError("no chair")

    monkeypatch.setattr(Salon, "book", book)
    up_to_phone(alice)
    alice.sends(contact={"phone_number": "+49 1", "first_name": "A", "user_id": alice.user_id})
    alice.presses("Book", failing=True)
    bot.passes(hours=1, failing=True)
    assert owner.sees("RuntimeError: no chair")
    assert [each.params["text"] for each in bot.calls("sendMessage")].count("RuntimeError: no chair") == 1


def test_it_speaks_russian(bot):
    alice = bot.chat("Alice")
    alice.says("/language")
    alice.presses("Русский")
    assert alice.sees("Теперь мы говорим по-русски.")
    alice.says("/book")
    assert alice.sees("Что вам сделать?")
    alice.presses("Стрижка, 35 €")
    assert "Март 2026" in alice.buttons
    alice.says("/help")
    assert alice.sees("/book - Записаться")


def test_services_are_found_inline(bot):
    alice = bot.chat("Alice")
    alice.sends_update("inline_query", query="hair", offset="")
    (answer,) = bot.calls("answerInlineQuery")
    assert [each["id"] for each in answer.params["results"]] == ["cut", "child", "bridal"]


def test_who_writes_too_much_is_slowed_down(bot):
    alice = bot.chat("Alice")
    for _ in range(25):
        alice.says("/visits", wait=False)
    bot.settles()
    assert bot.dropped() == {"throttled": 5}
    assert "Slower, please." in str(alice.messages)


def test_a_time_of_today_that_has_passed_cannot_be_booked(bot):
    alice = bot.chat("Alice")
    bot.passes(hours=3)
    up_to_phone(alice, day="1", time="14:00")
    alice.says("/cancel")
    assert alice.sees("Nothing was booked.")
