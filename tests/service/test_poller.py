"""The poller against scripted servers on virtual time. Many stories are failures of other libraries."""

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from engine.errors import RightLost, StoreError, StoreUnavailable
from engine.model import Envelope, Right
from telegram.botapi.errors import (
    Conflict,
    NotSent,
    OutcomeUnknown,
    Refused,
    RetryAfter,
    Unauthorized,
    Unreadable,
)
from telegram.botapi.intake import RawUpdate
from telegram.service.poller import FEW, FEW_EVERY_S, Poller
from tests.kit.polling import (
    ListInbox,
    Poll,
    ScriptedClient,
    conflict,
    drive,
    gaps,
    levels,
    now,
    raw,
    server_trouble,
)
from tests.kit.virtual import run_virtual

# ---- append first, confirm second


def test_the_offset_moves_only_after_accept_has_returned():
    client = ScriptedClient([5, 6], [7])
    inbox = ListInbox()
    slow = asyncio.sleep

    async def accept(right: Right, batch: Sequence[Envelope], aliases: Any = ()) -> None:
        before = len(client.polls)
        await slow(10)
        assert len(client.polls) == before, "polled while a batch was not stored"
        inbox.ids += [envelope.id for envelope in batch]

    inbox.accept = accept  # type: ignore[method-assign]
    drive(client, inbox, for_s=60)
    assert [(poll.at, poll.offset) for poll in client.polls] == [(0, 0), (10, 7), (20, 8)]
    assert inbox.ids == [5, 6, 7]


def test_a_start_never_drops_what_waits():  # others begin with offset -1
    client = ScriptedClient()
    drive(client, ListInbox(), for_s=1)
    assert client.polls == [Poll(0, 0, 100, 50, None)]


def test_settings_travel_with_each_poll():
    client = ScriptedClient([1])
    drive(client, ListInbox(), for_s=1, poll_timeout_s=7, allowed_updates=["message"])
    assert [(poll.timeout_s, poll.allowed_updates) for poll in client.polls] == [(7, ["message"])] * 2


def test_ids_that_restart_lower_are_taken_and_the_offset_falls():  # a bot that filters by the highest id goes deaf
    client = ScriptedClient([900_000_000], [17, 18], [900_000_001, 5])
    inbox = ListInbox()
    drive(client, inbox, for_s=10)
    assert inbox.ids == [900_000_000, 17, 18, 900_000_001, 5]
    assert [poll.offset for poll in client.polls] == [0, 900_000_001, 19, 6]


def test_an_unreadable_update_is_stored_like_the_others():  # it stops aiogram, PTB and telebot
    poison = RawUpdate(2, b'{"update_id":2,"callback_query":{"data":"\xff"}}', None)

    class Client(ScriptedClient):
        async def get_updates(self, offset: int, **rest: Any) -> list[RawUpdate]:
            return [
                poison if update.update_id == 2 else update
                for update in await super().get_updates(offset, **rest)
            ]

    client, inbox = Client([1, 2, 3]), ListInbox()
    drive(client, inbox, for_s=1)
    assert inbox.ids == [1, 2, 3]
    assert client.polls[-1].offset == 4


def test_updates_are_stored_with_the_moment_of_their_arrival():
    class Inbox(ListInbox):
        async def accept(self, right: Right, batch: Sequence[Envelope], aliases: Any = ()) -> None:
            moments.extend(envelope.at for envelope in batch)
            await super().accept(right, batch, aliases)

    moments: list[float] = []
    drive(ScriptedClient([1, 2]), Inbox(), for_s=1, wall=lambda: 1234.5)
    assert moments == [1234.5, 1234.5]


# ---- room


def test_room_decides_the_limit():
    client = ScriptedClient([1], [2], [3])
    drive(client, ListInbox(rooms=[3, 100, 5000, 1]), for_s=1)
    assert [poll.limit for poll in client.polls] == [3, 100, 100, 1]


def test_nothing_is_polled_without_room_and_the_stored_is_still_confirmed():
    class FullInbox(ListInbox):
        async def room(self) -> int:
            if self.ids:
                await asyncio.Event().wait()
            return 1

    client = ScriptedClient([1], [2])
    drive(client, FullInbox(), for_s=3600)
    assert len(client.polls) == 1
    assert [poll.offset for poll in client.confirms] == [2]


# ---- the store is away


def test_while_the_store_is_away_the_same_batch_is_tried_and_nothing_is_polled():
    client = ScriptedClient([1, 2], [3])
    inbox = ListInbox(troubles=[StoreUnavailable("disk full")] * 20)
    logs = drive(client, inbox, for_s=3600)
    assert [ids for _, ids in inbox.accepts] == [[1, 2]] * 21 + [[3]]
    assert inbox.ids == [1, 2, 3]
    assert [poll.offset for poll in client.polls] == [0, 3, 4]
    assert levels(logs) == ["error", "info"]
    assert logs[0]["reason"] == "disk full"
    over = (
        logs[-2]
        if logs[-2]["log_level"] == "info"
        else next(line for line in logs if line["log_level"] == "info")
    )
    assert over["tries"] == 20
    assert over["lasted_s"] == pytest.approx(inbox.accepts[20][0], abs=0.1)


def test_what_is_not_stored_at_the_stop_is_not_confirmed():
    client = ScriptedClient([1, 2], [3])
    inbox = ListInbox()
    real = inbox.accept

    async def accept(right: Right, batch: Sequence[Envelope], aliases: Any = ()) -> None:
        if batch[0].id == 3:
            raise StoreUnavailable("connection lost")
        await real(right, batch, aliases)

    inbox.accept = accept  # type: ignore[method-assign]
    drive(client, inbox, for_s=100)
    assert inbox.ids == [1, 2]
    assert {poll.offset for poll in [*client.polls, *client.confirms]} == {0, 3}


def test_a_store_that_cannot_say_how_much_room_there_is_is_waited_for():
    class Inbox(ListInbox):
        tries = 0

        async def room(self) -> int:
            self.tries += 1
            if self.tries < 4:
                raise StoreUnavailable("connection lost")
            return 8

    client, inbox = ScriptedClient([1]), Inbox()
    logs = drive(client, inbox, for_s=100)
    assert inbox.ids == [1]
    assert levels(logs) == ["error", "info"]


# ---- trouble with Telegram


@pytest.mark.parametrize(
    "error",
    [
        server_trouble(),
        NotSent("getUpdates", "connection refused"),
        OutcomeUnknown("getUpdates", "timeout"),
        Unreadable("the reply is not JSON"),  # PTB polls 838 times in 5 s on this
        Refused("getUpdates", 404, "Not Found", {}),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_are_retried_with_backoff_and_logged_twice(error):
    client = ScriptedClient(*[error] * 30, [1])
    inbox = ListInbox()
    logs = drive(client, inbox, for_s=3600)
    waits = gaps(client.polls[:31])
    assert all(0.5 <= wait <= 30 for wait in waits)
    assert waits[0] <= 1
    assert all(wait >= 15 for wait in waits[6:])
    assert len(set(waits[10:])) > 15, "no jitter: all bots come back at the same moment"
    assert {poll.offset for poll in client.polls[:31]} == {0}
    assert inbox.ids == [1]
    assert levels(logs) == ["error" if isinstance(error, Refused) else "warning", "info"]
    over = next(line for line in logs if line["log_level"] == "info")
    assert (over["tries"], over["lasted_s"]) == (30, pytest.approx(sum(waits), abs=0.1))


def test_trouble_that_lasts_for_a_day_is_waited_out():
    client = ScriptedClient(*[server_trouble()] * 4000, [1])
    inbox = ListInbox()
    drive(client, inbox, for_s=2 * 86_400)
    assert inbox.ids == [1]


def test_backoff_begins_anew_after_a_success():
    client = ScriptedClient(*[server_trouble()] * 10, [1], server_trouble(), [2])
    logs = drive(client, ListInbox(), for_s=3600)
    assert gaps(client.polls)[-2] <= 1
    assert levels(logs) == ["warning", "info"] * 2


def test_an_empty_answer_is_a_success():
    client = ScriptedClient(server_trouble(), [], server_trouble())
    assert levels(drive(client, ListInbox(), for_s=60)) == ["warning", "info", "warning"]


def test_another_poller_is_an_alarm_but_no_end():
    client = ScriptedClient(*[conflict()] * 5, [1])
    inbox = ListInbox()
    logs = drive(client, inbox, for_s=600)
    assert inbox.ids == [1]
    assert levels(logs) == ["error", "info"]
    assert "another poller uses this token or a webhook is set" in logs[0]["reason"]
    assert all(wait >= 0.5 for wait in gaps(client.polls[:6]))


def test_the_alarm_sounds_also_in_the_middle_of_other_trouble_and_once():
    client = ScriptedClient(*[server_trouble(), conflict()] * 5, [1])
    assert levels(drive(client, ListInbox(), for_s=600)) == ["warning", "error", "info"]


def test_a_flood_wait_is_kept_to_the_second():
    flood = RetryAfter("getUpdates", 429, "Too Many Requests: retry after 7", {"retry_after": 7})
    client = ScriptedClient(flood, flood, [1])
    logs = drive(client, ListInbox(), for_s=60)
    assert all(7 <= wait <= 8 for wait in gaps(client.polls[:3]))
    assert len(set(gaps(client.polls[:3]))) == 2, "no jitter"
    assert levels(logs) == ["warning", "info"]


def test_a_revoked_token_ends_it():
    client = ScriptedClient([1], Unauthorized("getUpdates", 401, "Unauthorized", {}))
    with pytest.raises(Unauthorized):
        drive(client, ListInbox(), for_s=60)
    assert len(client.polls) == 2


def test_an_error_of_ours_ends_it_and_confirms_nothing_more():
    client = ScriptedClient([1], [2])

    class Inbox(ListInbox):
        async def accept(self, right: Right, batch: Sequence[Envelope], aliases: Any = ()) -> None:
            if batch[0].id == 2:
                raise ZeroDivisionError
            await super().accept(right, batch, aliases)

    with pytest.raises(ZeroDivisionError):
        drive(client, Inbox(), for_s=60)
    assert client.confirms == []


# ---- servers that answer too fast


def test_a_server_that_does_not_wait_is_asked_once_a_second():
    client = ScriptedClient(*[[]] * 500)
    logs = drive(client, ListInbox(), for_s=60)
    assert 55 <= len(client.polls) <= 61
    assert levels(logs) == []


def test_a_server_that_waits_is_asked_again_at_once():
    async def long_poll() -> list[int]:
        await asyncio.sleep(50)
        return []

    client = ScriptedClient(*[long_poll] * 3)
    drive(client, ListInbox(), for_s=160)
    assert [poll.at for poll in client.polls] == [0, 50, 100, 150]


def test_a_backlog_is_fetched_without_a_pause():
    client = ScriptedClient(*[list(range(n, n + FEW)) for n in range(1, 50 * FEW, FEW)])
    drive(client, ListInbox(), for_s=1)
    assert {poll.at for poll in client.polls} == {0}
    assert len(client.polls) == 51


def test_polls_that_bring_few_updates_start_a_little_apart():
    client = ScriptedClient(*[[n] for n in range(1, 50)])
    drive(client, ListInbox(), for_s=1)
    assert gaps(client.polls) == pytest.approx([FEW_EVERY_S] * 49)


def test_what_comes_after_a_pause_is_asked_for_at_once():
    async def later(update_id: int) -> list[int]:
        await asyncio.sleep(FEW_EVERY_S)
        return [update_id]

    client = ScriptedClient(partial(later, 1), partial(later, 2))
    drive(client, ListInbox(), for_s=1)
    assert [poll.at for poll in client.polls] == pytest.approx([0, FEW_EVERY_S, 2 * FEW_EVERY_S])


def test_a_stop_does_not_wait_for_the_next_poll():
    logs = drive(ScriptedClient([1]), ListInbox(), for_s=FEW_EVERY_S / 2)
    assert logs[-1]["stopping_s"] == 0


def test_the_same_updates_served_again_and_again_make_no_storm_and_no_crawl():
    client = ScriptedClient(*[[5, 6]] * 1000)
    logs = drive(client, ListInbox(), for_s=300)
    assert 10 <= len(client.polls) <= 30
    assert min(gaps(client.polls)[1:]) >= 0.5  # sooner, Telegram answers with one update only
    assert levels(logs) == ["warning"]


def test_an_answer_that_went_back_is_stored_before_the_pause():
    client = ScriptedClient([50], [3])
    inbox = ListInbox()
    drive(client, inbox, for_s=60)
    first, second = (at for at, _ in inbox.accepts)
    assert (first, second) == (0, client.polls[1].at)
    assert 0.5 <= client.polls[2].at - second <= 1


# ---- stopping


def test_a_waiting_poll_is_aborted_and_has_confirmed_already():
    """The same offset again would be held back for 3 s by the server's throttle."""
    client = ScriptedClient([7, 8])
    logs = drive(client, ListInbox(), for_s=10)
    assert client.aborted == 1
    assert client.polls[-1].offset == 9
    assert client.confirms == []
    assert logs[-1]["stopping_s"] == 0


def test_stored_updates_are_confirmed_at_the_end():
    client = ScriptedClient([7, 8])
    logs = drive(client, ListInbox(full_after=2), for_s=10, allowed_updates=["message"])
    assert client.confirms == [Poll(10, 9, 1, 0, ["message"])]
    assert logs[-1]["stopping_s"] == 0


def test_updates_in_the_reply_to_the_last_confirm_are_ignored():
    client, inbox = ScriptedClient([7]), ListInbox(full_after=1)
    client.confirm_step = [8]
    drive(client, inbox, for_s=10)
    assert (inbox.ids, len(client.confirms)) == ([7], 1)


def test_a_stop_before_the_first_update_confirms_nothing():
    client = ScriptedClient()
    drive(client, ListInbox(), for_s=10)
    assert client.confirms == []


def test_a_server_that_hangs_delays_the_stop_by_two_seconds():
    client = ScriptedClient([1])
    client.confirm_step = client._wait_without_end
    logs = drive(client, ListInbox(full_after=1), for_s=10)
    assert logs[-1]["stopping_s"] == 2
    assert levels(logs) == []


@pytest.mark.parametrize(
    "error", [conflict(), server_trouble(), NotSent("getUpdates", "connection refused")], ids=repr
)
def test_a_failed_last_confirm_is_harmless(error):
    client = ScriptedClient([1])
    client.confirm_step = error
    logs = drive(client, ListInbox(full_after=1), for_s=10)
    assert levels(logs) == []
    assert logs[0]["log_level"] == "debug"


def test_backoff_does_not_delay_the_stop():
    client = ScriptedClient([1], *[server_trouble()] * 100)
    logs = drive(client, ListInbox(), for_s=200)
    assert logs[-1]["stopping_s"] == 0
    assert [poll.offset for poll in client.confirms] == [2]


def test_in_a_task_group_a_cancel_stops_only_the_poller():
    client = ScriptedClient([1])

    async def scenario() -> float:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(Poller(client, ListInbox(full_after=1)).run())
            await asyncio.sleep(5)
            task.cancel()
            await asyncio.wait({task})
            await asyncio.sleep(5)
        return now()

    assert run_virtual(scenario()) == 10
    assert [poll.offset for poll in client.confirms] == [2]


# ---- all of it together


class FaultyServer:
    """Forgets what is below the offset as soon as a request arrives, like Telegram, and breaks in between."""

    def __init__(self, rng: random.Random, inbox: "FaultyInbox") -> None:
        self._rng = rng
        self._inbox = inbox
        self._next_id = 1000
        self.pending: list[int] = []
        self.sent: list[int] = []

    async def get_updates(
        self, offset: int, *, limit: int, timeout_s: int, allowed_updates: Sequence[str] | None
    ) -> list[RawUpdate]:
        await self._break(0.2)  # before it arrives
        forgotten = [update_id for update_id in self.pending if update_id < offset]
        assert set(forgotten) <= set(self._inbox.ids), "confirmed before it was stored"
        self.pending = [update_id for update_id in self.pending if update_id >= offset]
        await self._break(0.2)  # after it arrived
        if not self.pending and self._rng.random() < 0.3:
            await asyncio.sleep(timeout_s)
            return []
        if not self.pending and self._rng.random() < 0.1:
            self._next_id = self._rng.randrange(500, 5000)
        for _ in range(self._rng.randrange(5)):
            if self._next_id not in self.sent:
                self.pending.append(self._next_id)
                self.sent.append(self._next_id)
            self._next_id += 1
        return [raw(update_id) for update_id in self.pending[:limit]]

    async def _break(self, probability: float) -> None:
        if self._rng.random() < probability:
            await asyncio.sleep(self._rng.choice([0, 0.1, 60]))
            raise self._rng.choice(
                [
                    server_trouble(),
                    conflict(),
                    OutcomeUnknown("getUpdates", "timeout"),
                    NotSent("getUpdates", "no route"),
                ]
            )


class FaultyInbox(ListInbox):
    """Fails before it stored, or after; an id that was seen before is ignored."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    async def room(self) -> int:
        await asyncio.sleep(self._rng.choice([0, 0, 3]))
        return self._rng.randrange(1, 6)

    async def accept(self, right: Right, batch: Sequence[Envelope], aliases: Any = ()) -> None:
        if right != self.granted:
            raise RightLost
        await asyncio.sleep(self._rng.choice([0, 0.5]))
        if self._rng.random() < 0.2:
            raise StoreUnavailable("before")
        self.ids += [envelope.id for envelope in batch if envelope.id not in self.ids]
        if self._rng.random() < 0.2:
            raise StoreUnavailable("after")


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_nothing_confirmed_is_lost_and_the_order_is_kept(seed):
    rng = random.Random(seed)
    inbox = FaultyInbox(rng)
    server = FaultyServer(rng, inbox)
    drive(server, inbox, for_s=rng.uniform(500, 2000))
    assert len(server.sent) > 20
    assert inbox.ids == server.sent[: len(inbox.ids)], "lost or swapped"
    assert set(server.sent) == set(inbox.ids) | set(server.pending)


# ---- the right to poll


def test_a_poller_without_the_right_polls_nothing_until_it_has_it():
    class Inbox(ListInbox):
        async def right(self) -> Right:
            await asyncio.sleep(max(0.0, 100 - now()))
            return self.granted

    client = ScriptedClient([1])
    drive(client, Inbox(), for_s=200)
    assert client.polls[0].at == 100


def test_what_was_polled_under_a_lost_right_is_not_confirmed_and_polling_begins_anew():
    class Inbox(ListInbox):
        async def accept(self, right: Right, batch: Sequence[Envelope], aliases: Any = ()) -> None:
            if batch[0].id == 7:
                self.granted = Right(2)  # another process has polled meanwhile
                raise RightLost
            await super().accept(right, batch, aliases)

    client, inbox = ScriptedClient([1, 2], [7, 8], [3]), Inbox()
    logs = drive(client, inbox, for_s=60)
    assert inbox.ids == [1, 2, 3]
    assert [poll.offset for poll in client.polls] == [0, 3, 0, 4]
    assert levels(logs) == ["warning"]


def test_a_right_that_was_lost_while_polls_brought_nothing_makes_polling_begin_anew():
    inbox = ListInbox()

    async def another_polls() -> list[int]:
        inbox.granted = Right(2)
        return []

    client = ScriptedClient([900], another_polls, [17])
    drive(client, inbox, for_s=60)
    assert [poll.offset for poll in client.polls] == [0, 901, 0, 18]


def test_a_right_that_was_lost_while_the_poller_waited_for_room_makes_polling_begin_anew():
    class Inbox(ListInbox):
        async def room(self) -> int:
            if self.ids:
                self.granted = Right(2)
            return 1

    client = ScriptedClient([900], [17])
    drive(client, Inbox(), for_s=60)
    assert [poll.offset for poll in client.polls] == [0, 0, 18]


def test_nothing_is_confirmed_at_the_end_when_another_process_may_poll():
    class Inbox(ListInbox):
        async def room(self) -> int:
            if self.ids:
                self.granted = Right(2)
                await asyncio.Event().wait()
            return 1

    client, inbox = ScriptedClient([1]), Inbox()
    drive(client, inbox, for_s=60)
    assert inbox.ids == [1]
    assert client.confirms == []
    assert inbox.resigned == [Right(2)]  # the one that is in force: it was granted for the confirm


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreError("lost")])
def test_a_store_that_does_not_know_the_right_any_more_ends_the_stop_without_a_confirm(error):
    class Inbox(ListInbox):
        async def room(self) -> int:
            if self.ids:
                self.troubled = True
                await asyncio.Event().wait()
            return 1

        async def right(self) -> Right:
            if getattr(self, "troubled", False):
                raise error
            return self.granted

    client, inbox = ScriptedClient([1]), Inbox()
    drive(client, inbox, for_s=60)
    assert inbox.ids == [1]
    assert client.confirms == []


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreError("lost")])
def test_a_poller_that_ends_resigns_at_once_and_after_the_last_confirm(error):
    class Inbox(ListInbox):
        async def resign(self, right: Right) -> None:
            assert len(client.confirms) == 1
            await super().resign(right)
            raise error

    client, inbox = ScriptedClient([1]), Inbox(full_after=1)
    drive(client, inbox, for_s=10)
    assert inbox.resigned == [Right(1)]


# ---- groups that become supergroups


class MovedClient(ScriptedClient):
    """Answers the first poll with a message of the new chat, and then one of the two that tell of it."""

    async def get_updates(self, offset: int, **given: Any) -> list[RawUpdate]:
        updates = await super().get_updates(offset, **given)
        group = {"chat": {"id": -5}, "migrate_to_chat_id": -1005}
        fields: list[Any] = [{"message": {"chat": {"id": -1005}}}, {"message": group}]
        return [update._replace(fields=given) for update, given in zip(updates, fields, strict=False)]


def test_that_a_group_has_moved_is_stored_in_one_step_with_the_batch():
    inbox = ListInbox(troubles=[StoreUnavailable("once")])
    drive(MovedClient([1, 2]), inbox, for_s=60)
    assert inbox.aliases == [("chat:-1005", "chat:-5")] * 2
    assert inbox.ids == [1, 2]


def test_a_webhook_that_is_set_is_removed_and_nothing_is_dropped():
    """The text of the 409 while a webhook is set: tdlib/telegram-bot-api, Client.cpp."""
    text = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
    client, inbox = ScriptedClient(Conflict("getUpdates", 409, text, {}), [1]), ListInbox()
    drive(client, inbox, for_s=60)
    assert client.calls == [("deleteWebhook", {"drop_pending_updates": False})]
    assert inbox.ids == [1]


def test_another_poller_removes_no_webhook():
    client = ScriptedClient(conflict(), [1])
    drive(client, ListInbox(), for_s=60)
    assert not client.calls
