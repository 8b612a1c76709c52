import json

import pytest

from engine import StoreUnavailable
from telegram.fake.methods import run
from telegram.fake.server.clock import MovableClock
from telegram.fake.world import World
from telegram.fake.world.queue import UpdateQueue
from telegram.sandbox.actions import Actions, Refused

BOT = {"id": 7, "is_bot": True, "first_name": "Bot", "username": "bot"}
ADA, BEN, GROUP = 1001, 1002, -1_001_000_000_001


class Noted:
    """Stands for the board and the store."""

    def __init__(self):
        self.arrivals = []
        self.replayed = []
        self.rereads = 0
        self.clock_moves = 0
        self.unavailable = False

    def arrived(self, chat_id, update_id):
        self.arrivals.append((chat_id, update_id))

    def dead_letters_changed(self):
        self.rereads += 1

    def clock_moved(self):
        self.clock_moves += 1

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
    world.add_group("Us", [world.add_user("Ada")["id"], world.add_user("Ben")["id"]])
    return world


@pytest.fixture
def actions(world, noted):
    return Actions(world, noted, noted, MovableClock())


@pytest.fixture
def action(actions):
    async def perform(do, **fields):
        return await actions.perform(json.dumps({"do": do, **fields}))

    return perform


def updates(world):
    return [json.loads(raw) for raw in world.queue.read(0, 100)]


async def test_a_sent_text_is_trimmed_and_noted(action, world, noted):
    await action("say", chat=GROUP, user=BEN, text="  hi\n")
    (update,) = updates(world)
    assert (update["message"]["text"], update["message"]["from"]["id"]) == ("hi", BEN)
    assert noted.arrivals == [(GROUP, 100)]


async def test_a_press_carries_its_data(action, world, noted):
    await action("press", chat=ADA, user=ADA, message=5, data="x" * 64)
    (update,) = updates(world)
    assert (update["callback_query"]["data"], update["callback_query"]["message"]["message_id"]) == (
        "x" * 64,
        5,
    )
    assert noted.arrivals == [(ADA, 100)]


async def test_a_key_sends_what_it_asks_for(action, world, noted):
    world.keyboards[ADA] = {
        "keyboard": [[{"text": "Me", "request_contact": True}, {"text": "Poll", "request_poll": {}}]]
    }
    await action("key", chat=ADA, user=ADA, text="Me")
    (update,) = updates(world)
    assert update["message"]["contact"]["user_id"] == ADA
    assert noted.arrivals == [(ADA, 100)]
    with pytest.raises(Refused, match="opens a dialog"):
        await action("key", chat=ADA, user=ADA, text="Poll")


@pytest.mark.parametrize(
    ("actioned", "reason"),
    [
        ({"do": "key", "chat": ADA, "user": ADA, "text": "Me"}, "no button 'Me'"),
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
        ({"do": "send", "chat": ADA, "user": BEN, "what": "photo"}, "no such person"),
        ({"do": "send", "chat": ADA, "user": ADA, "what": "bomb"}, "photo"),
        ({"do": "send", "chat": ADA, "user": ADA, "what": "photo", "caption": "x" * 1025}, "at most 1024"),
        ({"do": "send", "chat": ADA, "user": ADA, "what": "photo", "picture": "PHN2Zz4="}, "not a JPEG"),
        ({"do": "send", "chat": ADA, "user": ADA, "what": "photo", "picture": "x x"}, "base64|padding|digit"),
        (
            {"do": "send", "chat": ADA, "user": ADA, "what": "photo", "picture": "A" * 900_001},
            "at most 900000",
        ),
        ({"do": "edit", "chat": ADA, "user": ADA, "message": 1, "text": "x"}, "no such message"),
        ({"do": "react", "chat": ADA, "user": ADA, "message": 1, "emoji": "👍"}, "no such message"),
        ({"do": "ask", "chat": ADA, "user": ADA, "query": "x" * 257}, "at most 256"),
        ({"do": "choose", "chat": ADA, "user": ADA, "query": "1", "result": "1"}, "no longer exists"),
        ({"do": "block", "user": GROUP, "blocked": True}, "no such person"),
        ({"do": "promote", "chat": ADA, "user": ADA}, "no administrators"),
        ({"do": "pass", "hours": 0}, "greater than 0"),
        ({"do": "pass", "hours": 1e9}, "less than or equal"),
        ({"do": "add_person", "name": " "}, "at least 1 character"),
        ({"do": "add_group", "title": "x" * 65}, "at most 64 characters"),
        ({"do": "burst", "more": 1}, "Extra inputs"),
        ({"do": "shut_down"}, "shut_down"),
        ({}, "'do'"),
        (17, "an object"),
    ],
)
async def test_what_is_refused_changes_nothing(world, noted, actioned, reason):
    before = (world.users(), world.chats())
    with pytest.raises(Refused, match=reason):
        await Actions(world, noted, noted, MovableClock()).perform(json.dumps(actioned))
    assert (world.users(), world.chats()) == before
    assert (updates(world), noted.arrivals) == ([], [])


async def test_a_kind_that_the_bot_does_not_ask_for_is_refused_with_the_reason(action, world, noted):
    world.queue.allow(["callback_query"])
    with pytest.raises(Refused, match="not requested this kind of update"):
        await action("say", chat=ADA, user=ADA, text="x")
    assert noted.arrivals == []


async def test_a_burst_numbers_its_messages_and_people_take_turns_in_a_group(action, world, noted):
    await action("add_person", name="Cleo")
    await action("burst")
    said = [update["message"] for update in updates(world)]
    assert len(said) == len(noted.arrivals) == 4 * 20
    for chat in (ADA, BEN, 1003, GROUP):
        there = [message for message in said if message["chat"]["id"] == chat]
        assert [message["text"] for message in there] == [f"{number} of 20" for number in range(1, 21)]
    assert [message["from"]["id"] for message in said if message["chat"]["id"] == GROUP][:4] == [
        *(ADA, BEN, 1003, ADA),
    ]
    assert [message["chat"]["id"] for message in said[:4]] == [ADA, BEN, GROUP, 1003]  # at once, not in turn


async def test_new_users_are_shown_and_may_write_in_groups(action, world):
    with world.listen() as events:
        await action("add_person", name=" Cleo ")
        event = await anext(events)
    assert (event["type"], event["user"]["first_name"], event["chat"]["type"]) == (
        "joined",
        "Cleo",
        "private",
    )
    await action("say", chat=GROUP, user=event["user"]["id"], text="me, too")
    with world.listen() as events:
        await action("add_group", title="All")
        event = await anext(events)
    assert (event["user"], event["chat"]["title"]) == (None, "All")


async def test_people_and_groups_are_bounded(action, world):
    for _ in range(48):
        await action("add_person", name="Twin")
    with pytest.raises(Refused, match="50 people"):
        await action("add_person", name="Twin")
    for _ in range(49):
        await action("add_group", title="Twins")
    with pytest.raises(Refused, match="50 groups"):
        await action("add_group", title="Twins")
    assert len(world.chats()) == 100


async def test_replaying_reads_the_dead_letters_again(action, noted):
    await action("replay", number=3)
    assert (noted.replayed, noted.rereads) == ([3], 1)
    with pytest.raises(Refused, match="no dead letter 4"):
        await action("replay", number=4)
    noted.unavailable = True
    with pytest.raises(Refused, match="disk full"):
        await action("replay", number=3)
    assert noted.rereads == 3


# -- actions other than text -------------------------------------------------------------------------------


async def test_a_photo_can_be_fetched_by_the_bot_and_shown_by_the_page(action, world):
    await action("send", chat=ADA, user=ADA, what="photo", caption="/look here")
    (update,) = updates(world)
    message = update["message"]
    assert (message["caption"], message["caption_entities"][0]["type"]) == ("/look here", "bot_command")
    size = message["photo"][-1]
    path = run(world, "getfile", {"file_id": size["file_id"]})["file_path"]
    _, content = world.files.download(path)
    assert (content[:4], len(content)) == (b"\x89PNG", size["file_size"])
    shown = await action("look", file=size["file_id"])
    assert shown["url"].startswith("data:image/png;base64,")


async def test_only_pictures_that_cannot_run_are_shown(action, world):
    evil = world.files.add("document", b"<svg onload='alert(1)'/>", name="a.svg")
    large = world.files.add("photo", b"x" * ((2 << 20) + 1), name="a.png")
    for file_id in (evil.file_id, large.file_id, "unknown"):
        assert await action("look", file=file_id) == {"type": "picture", "file": file_id, "url": ""}


async def test_an_album_is_three_messages_of_one_group(action, world, noted):
    await action("send", chat=GROUP, user=BEN, what="album", caption="Us")
    sent = [update["message"] for update in updates(world)]
    assert len({message["media_group_id"] for message in sent}) == 1
    assert [message.get("caption") for message in sent] == ["Us", None, None]
    assert len({message["photo"][0]["file_unique_id"] for message in sent}) == 3
    assert len(noted.arrivals) == 3


async def test_a_contact_and_a_location(action, world):
    await action("send", chat=ADA, user=ADA, what="contact")
    await action("send", chat=ADA, user=ADA, what="location")
    first, second = (update["message"] for update in updates(world))
    assert (first["contact"]["first_name"], first["contact"]["user_id"]) == ("Ada", ADA)
    assert second["location"] == {"latitude": 52.52, "longitude": 13.405}


async def test_own_text_and_own_caption_are_edited(action, world):
    await action("say", chat=ADA, user=ADA, text="one")
    await action("send", chat=ADA, user=ADA, what="photo", caption="two")
    await action("edit", chat=ADA, user=ADA, message=1, text="/one")
    await action("edit", chat=ADA, user=ADA, message=2, text="three")
    edited = [update["edited_message"] for update in updates(world)[2:]]
    assert (edited[0]["text"], edited[0]["entities"][0]["type"]) == ("/one", "bot_command")
    assert (edited[1]["caption"], edited[1]["photo"]) == ("three", world.messages(ADA)[1]["photo"])
    assert all("edit_date" in message for message in edited)


async def test_no_user_edits_another_users_message(action, world):
    await action("say", chat=GROUP, user=ADA, text="mine")
    with pytest.raises(Refused, match="no such message of this person"):
        await action("edit", chat=GROUP, user=BEN, message=1, text="yours")
    assert world.messages(GROUP)[0]["text"] == "mine"


async def test_the_bot_gets_reactions_where_it_is_an_administrator(action, world):
    world.queue.allow(["message", "message_reaction", "my_chat_member"])
    await action("say", chat=GROUP, user=ADA, text="hi")
    with pytest.raises(Refused, match="only where it is an administrator"):
        await action("react", chat=GROUP, user=BEN, message=1, emoji="👍")
    assert world.reactions[GROUP, 1] == {BEN: [{"type": "emoji", "emoji": "👍"}]}  # the people see it
    await action("promote", chat=GROUP, user=ADA)
    await action("react", chat=GROUP, user=BEN, message=1, emoji="🔥")
    await action("react", chat=GROUP, user=BEN, message=1, emoji="")
    changes = [u["message_reaction"] for u in updates(world) if "message_reaction" in u]
    assert [[each["emoji"] for each in change["old_reaction"]] for change in changes] == [["👍"], ["🔥"]]
    assert [[each["emoji"] for each in change["new_reaction"]] for change in changes] == [["🔥"], []]
    assert world.reactions == {}


async def test_an_inline_result_is_sent_pressed_and_edited(action, actions, world):
    await action("ask", chat=GROUP, user=ADA, query="tea")
    (update,) = updates(world)
    query = update["inline_query"]
    assert (query["query"], query["chat_type"], query["from"]["id"]) == ("tea", "supergroup", ADA)
    markup = {"inline_keyboard": [[{"text": "More", "callback_data": "more"}]]}
    result = {
        "type": "article",
        "id": "7",
        "title": "Tea",
        "input_message_content": {"message_text": "A <b>tea</b>", "parse_mode": "HTML"},
        "reply_markup": markup,
    }
    actions.inline_answered(query["id"], "tea", [result])
    await action("choose", chat=GROUP, user=ADA, query=query["id"], result="7")
    chosen, sent = (u for u in updates(world)[1:])
    inline_id = chosen["chosen_inline_result"]["inline_message_id"]
    message = sent["message"]
    assert (message["text"], message["entities"][0]["type"], message["via_bot"]["id"]) == ("A tea", "bold", 7)
    await action("press", chat=GROUP, user=BEN, message=message["message_id"], data="more")
    press = updates(world)[-1]["callback_query"]
    assert (press["inline_message_id"], press["from"]["id"]) == (inline_id, BEN)
    assert "message" not in press
    run(world, "editmessagetext", {"inline_message_id": inline_id, "text": "Two teas"})
    (shown,) = world.messages(GROUP)
    assert (shown["text"], shown["from"]["id"], "edit_date" in shown) == ("Two teas", ADA, True)


async def test_blocking_is_an_update_for_the_bot_and_refuses_its_calls(action, world):
    await action("block", user=ADA, blocked=True)
    assert world.is_blocked(ADA)
    (update,) = updates(world)
    assert update["my_chat_member"]["new_chat_member"]["status"] == "kicked"
    await action("block", user=ADA, blocked=False)
    assert not world.is_blocked(ADA)


async def test_an_hour_passes_for_telegram_and_the_timers_look_at_once(world, noted):
    clock = MovableClock()
    before = clock(), clock.monotonic()
    actions = Actions(world, noted, noted, clock)
    await actions.perform('{"do": "pass", "hours": 1}')
    assert clock() - before[0] >= 3600
    assert clock.monotonic() - before[1] >= 3600
    assert noted.clock_moves == 1
