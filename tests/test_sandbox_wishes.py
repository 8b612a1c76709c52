import json

import pytest

from engine import StoreUnavailable
from telegram.fake.queue import UpdateQueue
from telegram.fake.sandbox_wishes import Refused, Wishes
from telegram.fake.world import World

BOT = {"id": 7, "is_bot": True, "first_name": "Bot", "username": "bot"}
ADA, BEN, GROUP = 1001, 1002, -1_001_000_000_001


class Noted:
    """Stands for the board and the store."""

    def __init__(self):
        self.arrivals = []
        self.replayed = []
        self.rereads = 0
        self.unavailable = False

    def arrived(self, chat_id, update_id):
        self.arrivals.append((chat_id, update_id))

    def dead_letters_changed(self):
        self.rereads += 1

    async def replay(self, number):
        if self.unavailable:
            raise StoreUnavailable("disk full")
        self.replayed.append(number)
        return number == 3


@pytest.fixture
def noted():
    return Noted()


@pytest.fixture
def world():
    world = World(BOT, UpdateQueue())
    world.queue.restart_ids(100)
    world.group("Us", [world.person("Ada")["id"], world.person("Ben")["id"]])
    return world


@pytest.fixture
def wish(world, noted):
    wishes = Wishes(world, noted, noted)

    async def fulfil(do, **fields):
        await wishes.fulfil(json.dumps({"do": do, **fields}))

    return fulfil


def updates(world):
    return [json.loads(raw) for raw in world.queue.read(0, 100)]


async def test_what_is_said_goes_out_trimmed_and_is_noted(wish, world, noted):
    await wish("say", chat=GROUP, user=BEN, text="  hi\n")
    (update,) = updates(world)
    assert (update["message"]["text"], update["message"]["from"]["id"]) == ("hi", BEN)
    assert noted.arrivals == [(GROUP, 100)]


async def test_a_press_carries_its_data(wish, world, noted):
    await wish("press", chat=ADA, user=ADA, message=5, data="x" * 64)
    (update,) = updates(world)
    assert (update["callback_query"]["data"], update["callback_query"]["message"]["message_id"]) == (
        "x" * 64,
        5,
    )
    assert noted.arrivals == [(ADA, 100)]


async def test_a_key_sends_what_it_asks_for(wish, world, noted):
    world.keyboards[ADA] = {
        "keyboard": [[{"text": "Me", "request_contact": True}, {"text": "Poll", "request_poll": {}}]]
    }
    await wish("key", chat=ADA, user=ADA, text="Me")
    (update,) = updates(world)
    assert update["message"]["contact"]["user_id"] == ADA
    assert noted.arrivals == [(ADA, 100)]
    with pytest.raises(Refused, match="opens something"):
        await wish("key", chat=ADA, user=ADA, text="Poll")


@pytest.mark.parametrize(
    ("wished", "reason"),
    [
        ({"do": "key", "chat": ADA, "user": ADA, "text": "Me"}, "no key 'Me'"),
        ({"do": "key", "chat": ADA, "user": BEN, "text": "Me"}, "no such person"),
        ({"do": "say", "chat": ADA, "user": BEN, "text": "x"}, "no such person"),
        ({"do": "say", "chat": GROUP, "user": 5, "text": "x"}, "no such person"),
        ({"do": "say", "chat": 5, "user": 5, "text": "x"}, "no such person"),
        ({"do": "say", "chat": -5, "user": ADA, "text": "x"}, "no such person"),
        ({"do": "press", "chat": ADA, "user": BEN, "message": 1, "data": "x"}, "no such person"),
        ({"do": "say", "chat": ADA, "user": ADA, "text": " \n "}, "at least 1 character"),
        ({"do": "say", "chat": ADA, "user": ADA, "text": "👋" * 2049}, "at most 4096"),
        ({"do": "say", "chat": ADA, "user": ADA}, "text: Field required"),
        ({"do": "press", "chat": ADA, "user": ADA, "message": 1, "data": ""}, "1 to 64 bytes"),
        ({"do": "press", "chat": ADA, "user": ADA, "message": 1, "data": "ж" * 33}, "1 to 64 bytes"),
        ({"do": "add_person", "name": " "}, "at least 1 character"),
        ({"do": "add_group", "title": "x" * 65}, "at most 64 characters"),
        ({"do": "burst", "more": 1}, "Extra inputs"),
        ({"do": "shut_down"}, "shut_down"),
        ({}, "'do'"),
        (17, "an object"),
    ],
)
async def test_what_is_refused_changes_nothing(world, noted, wished, reason):
    before = (world.people(), world.chats())
    with pytest.raises(Refused, match=reason):
        await Wishes(world, noted, noted).fulfil(json.dumps(wished))
    assert (world.people(), world.chats()) == before
    assert (updates(world), noted.arrivals) == ([], [])


async def test_a_kind_that_the_bot_does_not_ask_for_is_refused_with_the_reason(wish, world, noted):
    world.queue.allow(["callback_query"])
    with pytest.raises(Refused, match="other kinds of updates"):
        await wish("say", chat=ADA, user=ADA, text="x")
    assert noted.arrivals == []


async def test_a_burst_numbers_its_messages_and_people_take_turns_in_a_group(wish, world, noted):
    await wish("add_person", name="Cleo")
    await wish("burst")
    said = [update["message"] for update in updates(world)]
    assert len(said) == len(noted.arrivals) == 4 * 20
    for chat in (ADA, BEN, 1003, GROUP):
        there = [message for message in said if message["chat"]["id"] == chat]
        assert [message["text"] for message in there] == [f"{number} of 20" for number in range(1, 21)]
    assert [message["from"]["id"] for message in said if message["chat"]["id"] == GROUP][:4] == [
        *(ADA, BEN, 1003, ADA),
    ]
    assert [message["chat"]["id"] for message in said[:4]] == [ADA, BEN, GROUP, 1003]  # at once, not in turn


async def test_newcomers_are_told_of_and_may_write_in_groups(wish, world):
    with world.listen() as events:
        await wish("add_person", name=" Cleo ")
        event = await anext(events)
    assert (event["type"], event["user"]["first_name"], event["chat"]["type"]) == (
        "joined",
        "Cleo",
        "private",
    )
    await wish("say", chat=GROUP, user=event["user"]["id"], text="me, too")
    with world.listen() as events:
        await wish("add_group", title="All")
        event = await anext(events)
    assert (event["user"], event["chat"]["title"]) == (None, "All")


async def test_people_and_groups_are_bounded(wish, world):
    for _ in range(48):
        await wish("add_person", name="Twin")
    with pytest.raises(Refused, match="50 people"):
        await wish("add_person", name="Twin")
    for _ in range(49):
        await wish("add_group", title="Twins")
    with pytest.raises(Refused, match="50 groups"):
        await wish("add_group", title="Twins")
    assert len(world.chats()) == 100


async def test_replaying_reads_the_dead_letters_again(wish, noted):
    await wish("replay", number=3)
    assert (noted.replayed, noted.rereads) == ([3], 1)
    with pytest.raises(Refused, match="no dead letter 4"):
        await wish("replay", number=4)
    noted.unavailable = True
    with pytest.raises(Refused, match="disk full"):
        await wish("replay", number=3)
    assert noted.rereads == 3
