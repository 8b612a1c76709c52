"""Effects of calls on later ones: chats, members, links, topics, polls, pins, stickers, the bot's profile."""

import json

import pytest

from telegram.fake.methods import run
from telegram.fake.protocol.answers import ApiError
from telegram.fake.protocol.params import Upload
from telegram.fake.world import World
from telegram.fake.world.queue import UpdateQueue

BOT = {"id": 7, "is_bot": True, "first_name": "Bot", "username": "bot"}
GROUP, FORUM, CHANNEL, PLAIN = -1_005, -1_006, -1_007, -8
ANN = {"chat_id": GROUP, "user_id": 5}


@pytest.fixture
def world(clock):
    world = World(BOT, UpdateQueue(), clock=clock)
    world.queue.allow(
        [
            "message",
            "channel_post",
            "my_chat_member",
            "chat_member",
            "chat_join_request",
            "poll",
            "poll_answer",
        ]
    )
    world.add_user("Ann", user_id=5)
    world.add_user("Bob", user_id=6)
    world.add_group("Us", [5, 6], chat_id=GROUP, username="us_here")
    world.add_group("Forum", [5], chat_id=FORUM, is_forum=True)
    world.add_group("News", [5], chat_id=CHANNEL, kind="channel")
    world.add_group("Small", [5, 6], chat_id=PLAIN, kind="group")
    world.promote(GROUP)
    world.promote(FORUM)
    world.queue.clear()
    return world


@pytest.fixture
def do(world):
    return lambda method, **params: run(world, method.lower(), params, strict=True)


@pytest.fixture
def refusal(world):
    def refused(method, **params):
        with pytest.raises(ApiError) as caught:
            run(world, method.lower(), params, strict=True)
        return caught.value.code, caught.value.description.partition(": ")[2]

    return refused


def updates(world, kind):
    found = [json.loads(raw).get(kind) for raw in world.queue.read(0, 100)]
    return [update for update in found if update]


# -- members ---------------------------------------------------------------------------------------------


def test_a_ban_is_visible_reported_as_an_update_and_lifted(world, do):
    assert do("banChatMember", **ANN)
    assert do("getChatMember", **ANN) == {"status": "kicked", "until_date": 0, "user": world.users()[0]}
    assert do("getChatMemberCount", chat_id=GROUP) == 2
    (change,) = updates(world, "chat_member")
    assert (change["from"], change["old_chat_member"]["status"], change["new_chat_member"]["status"]) == (
        *(BOT, "member", "kicked"),
    )
    assert do("unbanChatMember", **ANN)
    assert do("getChatMember", **ANN)["status"] == "left"


def test_unban_removes_a_member_unless_only_if_banned(do):
    do("unbanChatMember", **ANN, only_if_banned=True)
    assert do("getChatMember", **ANN)["status"] == "member"
    do("unbanChatMember", **ANN)
    assert do("getChatMember", **ANN)["status"] == "left"


def test_a_ban_for_a_time_ends_by_itself(do, clock):
    do("banChatMember", **ANN, until_date=int(clock.now) + 60)
    assert do("getChatMember", **ANN)["status"] == "kicked"
    clock.now += 60
    assert do("getChatMember", **ANN)["status"] == "left"


def test_a_ban_of_a_few_seconds_is_for_ever(do, clock):
    do("banChatMember", **ANN, until_date=int(clock.now) + 29)
    assert do("getChatMember", **ANN)["until_date"] == 0


def test_restrictions(do, clock):
    do("restrictChatMember", **ANN, permissions={"can_send_messages": True}, until_date=int(clock.now) + 60)
    member = do("getChatMember", **ANN)
    assert (member["status"], member["can_send_messages"], member["can_send_photos"]) == (
        "restricted",
        True,
        False,
    )
    clock.now += 60
    assert do("getChatMember", **ANN)["status"] == "member"


def test_an_administrator_is_made_named_and_unmade(do):
    assert do("getChatAdministrators", chat_id=GROUP)[0]["user"] == BOT
    do("promoteChatMember", **ANN, can_pin_messages=True)
    do("setChatAdministratorCustomTitle", **ANN, custom_title="Boss")
    _, ann = do("getChatAdministrators", chat_id=GROUP)
    assert (ann["can_pin_messages"], ann["can_change_info"], ann["custom_title"]) == (True, False, "Boss")
    do("promoteChatMember", **ANN)
    assert do("getChatMember", **ANN)["status"] == "member"


def test_tags(do):
    do("setChatMemberTag", **ANN, tag="guide")
    assert do("getChatMember", **ANN)["tag"] == "guide"
    do("setChatMemberTag", **ANN)
    assert "tag" not in do("getChatMember", **ANN)


@pytest.mark.parametrize(
    ("method", "params", "reason"),
    [
        (
            "banChatMember",
            {"chat_id": PLAIN, "user_id": 5},
            "not enough rights to restrict/unrestrict chat member",
        ),
        ("promoteChatMember", {"chat_id": PLAIN, "user_id": 5}, "not enough rights"),
        ("setChatTitle", {"chat_id": PLAIN, "title": "x"}, "not enough rights to change chat info"),
        (
            "pinChatMessage",
            {"chat_id": PLAIN, "message_id": 1},
            "not enough rights to manage pinned messages in the chat",
        ),
        ("createChatInviteLink", {"chat_id": PLAIN}, "not enough rights to manage chat invite link"),
        ("banChatMember", {"chat_id": 5, "user_id": 5}, "can't restrict members of private chats"),
        ("banChatMember", {"chat_id": GROUP, "user_id": 7}, "can't restrict self"),
        ("banChatMember", {"chat_id": GROUP, "user_id": 404}, "user not found"),
        ("setChatTitle", {"chat_id": 5, "title": "x"}, "method is available only for groups and channels"),
    ],
)
def test_what_a_bot_may_not_do(world, refusal, method, params, reason):
    world.send_message(PLAIN, 5, "hi")
    assert refusal(method, **params) == (400, reason)


# -- access to a chat --------------------------------------------------------------------------------------


def test_kicked_left_deleted_and_deactivated_are_403(world, do, refusal):
    send = {"chat_id": GROUP, "text": "hi"}
    world.kick(GROUP, by=5)
    assert updates(world, "my_chat_member")[0]["new_chat_member"]["status"] == "kicked"
    assert refusal("sendMessage", **send) == (403, "bot was kicked from the supergroup chat")
    world.invite(GROUP)
    assert do("sendMessage", **send)
    do("leaveChat", chat_id=GROUP)
    assert refusal("sendMessage", **send) == (403, "bot is not a member of the supergroup chat")
    world.kick(CHANNEL)
    assert refusal("getChat", chat_id=CHANNEL) == (403, "bot was kicked from the channel chat")
    world.delete_group(PLAIN)
    assert refusal("sendMessage", chat_id=PLAIN, text="x") == (403, "the group chat was deleted")
    world.deactivate(5)
    assert refusal("sendMessage", chat_id=5, text="x") == (403, "user is deactivated")


def test_a_group_that_became_a_supergroup(world, do):
    new = world.migrate(PLAIN)
    assert new["type"] == "supergroup"
    with pytest.raises(ApiError) as caught:
        do("sendMessage", chat_id=PLAIN, text="x")
    assert caught.value.description == "Bad Request: group chat was upgraded to a supergroup chat"
    assert caught.value.parameters == {"migrate_to_chat_id": new["id"]}
    assert do("sendMessage", chat_id=new["id"], text="x")
    assert do("getChatMember", chat_id=new["id"], user_id=6)["status"] == "member"
    old_message, new_message = updates(world, "message")
    assert (old_message["migrate_to_chat_id"], new_message["migrate_from_chat_id"]) == (new["id"], PLAIN)
    with pytest.raises(ValueError, match="cannot be upgraded"):
        world.migrate(PLAIN)


def test_a_chat_by_its_username(do, refusal):
    assert do("sendMessage", chat_id="@Us_Here", text="x")["chat"]["id"] == GROUP
    assert refusal("sendMessage", chat_id="@elsewhere", text="x") == (400, "chat not found")


def test_a_muted_bot(world, do, refusal):
    world.invite(GROUP)
    world.promote(GROUP, "can_restrict_members")
    do("setChatPermissions", chat_id=GROUP, permissions={"can_send_photos": True})
    assert do("getChat", chat_id=GROUP)["permissions"]["can_send_photos"] is True
    assert do("sendMessage", chat_id=GROUP, text="administrators may")
    world.invite(GROUP)
    reason = "not enough rights to send text messages to the chat"
    assert refusal("sendMessage", chat_id=GROUP, text="x") == (400, reason)


def test_channels(world, do, refusal):
    post = do("sendMessage", chat_id=CHANNEL, text="news")
    assert ("from" in post, post["sender_chat"]["id"]) == (False, CHANNEL)
    assert do("editMessageText", chat_id=CHANNEL, message_id=post["message_id"], text="old news")
    world.send_message(CHANNEL, 5, "another")
    assert updates(world, "channel_post")[0]["text"] == "another"
    origin = do("forwardMessage", chat_id=5, from_chat_id=CHANNEL, message_id=1)["forward_origin"]
    assert (origin["type"], origin["message_id"]) == ("channel", 1)
    world.invite(CHANNEL)
    assert refusal("sendMessage", chat_id=CHANNEL, text="x") == (
        400,
        "need administrator rights in the channel chat",
    )


# -- properties of a chat ------------------------------------------------------------------------------------


def test_title_description_and_photo(world, do, refusal):
    do("setChatTitle", chat_id=GROUP, title="We")
    do("setChatDescription", chat_id=GROUP, description="about us")
    do("setChatPhoto", chat_id=GROUP, photo=Upload("a.png", b"png"))
    chat = do("getChat", chat_id=GROUP)
    assert (chat["title"], chat["description"], chat["photo"].keys()) == (
        *("We", "about us"),
        {"small_file_id", "small_file_unique_id", "big_file_id", "big_file_unique_id"},
    )
    assert [list(message)[-1] for message in updates(world, "message")] == [
        "new_chat_title",
        "new_chat_photo",
    ]
    do("deleteChatPhoto", chat_id=GROUP)
    do("setChatDescription", chat_id=GROUP)
    assert not {"photo", "description"} & do("getChat", chat_id=GROUP).keys()
    assert refusal("setChatTitle", chat_id=GROUP, title="We") == (400, "chat title is not modified")
    assert refusal("deleteChatPhoto", chat_id=GROUP) == (400, "CHAT_NOT_MODIFIED")


def test_pins(world, do, refusal):
    first, second = (do("sendMessage", chat_id=GROUP, text=text)["message_id"] for text in "ab")
    do("pinChatMessage", chat_id=GROUP, message_id=first)
    do("pinChatMessage", chat_id=GROUP, message_id=second)
    do("pinChatMessage", chat_id=GROUP, message_id=second)
    assert do("getChat", chat_id=GROUP)["pinned_message"]["message_id"] == second
    assert len(updates(world, "message")) == 2
    do("unpinChatMessage", chat_id=GROUP)
    assert do("getChat", chat_id=GROUP)["pinned_message"]["message_id"] == first
    do("unpinAllChatMessages", chat_id=GROUP)
    assert "pinned_message" not in do("getChat", chat_id=GROUP)
    assert refusal("unpinChatMessage", chat_id=GROUP, message_id=first) == (400, "message to unpin not found")
    assert refusal("pinChatMessage", chat_id=GROUP, message_id=99) == (400, "message to pin not found")


def test_invite_links(do, refusal):
    link = do("createChatInviteLink", chat_id=GROUP, name="friends", member_limit=3)
    url = {"chat_id": GROUP, "invite_link": link["invite_link"]}
    assert (link["name"], link["member_limit"], link["is_primary"]) == ("friends", 3, False)
    edited = do("editChatInviteLink", **url, creates_join_request=True)
    assert ("member_limit" in edited, edited["creates_join_request"]) == (False, True)
    assert do("revokeChatInviteLink", **url)["is_revoked"] is True
    primary = do("exportChatInviteLink", chat_id=GROUP)
    assert do("getChat", chat_id=GROUP)["invite_link"] == primary != do("exportChatInviteLink", chat_id=GROUP)
    assert do("editChatInviteLink", chat_id=GROUP, invite_link=primary)["is_revoked"] is True
    assert refusal("revokeChatInviteLink", chat_id=GROUP, invite_link="x") == (400, "INVITE_HASH_EXPIRED")
    assert refusal("createChatInviteLink", chat_id=GROUP, creates_join_request=True, member_limit=1)[0] == 400


def test_requests_to_join(world, do, refusal):
    world.add_user("Cleo", user_id=8)
    world.ask_to_join(GROUP, 8)
    assert updates(world, "chat_join_request")[0]["from"]["id"] == 8
    cleo = {"chat_id": GROUP, "user_id": 8}
    assert do("approveChatJoinRequest", **cleo)
    assert do("getChatMember", **cleo)["status"] == "member"
    assert refusal("approveChatJoinRequest", **cleo) == (400, "USER_ALREADY_PARTICIPANT")
    do("banChatMember", **cleo)
    assert refusal("declineChatJoinRequest", **cleo) == (400, "HIDE_REQUESTER_MISSING")


def test_topics(world, do, refusal):
    topic = do("createForumTopic", chat_id=FORUM, name="Tea")
    place = {"chat_id": FORUM, "message_thread_id": topic["message_thread_id"]}
    assert do("sendMessage", **place, text="x")["is_topic_message"] is True
    do("closeForumTopic", **place)
    assert refusal("closeForumTopic", **place) == (400, "TOPIC_NOT_MODIFIED")
    world.promote(FORUM, "can_pin_messages")
    assert refusal("sendMessage", **place, text="x") == (400, "TOPIC_CLOSED")
    assert refusal("reopenForumTopic", **place) == (400, "not enough rights to manage topics")
    world.promote(FORUM)
    do("deleteForumTopic", **place)
    assert refusal("sendMessage", **place, text="x") == (400, "message thread not found")
    assert [message for message in world.messages(FORUM) if message.get("message_thread_id")] == []
    assert refusal("createForumTopic", chat_id=GROUP, name="x") == (400, "the chat is not a forum")


# -- polls and other messages ----------------------------------------------------------------------------------


def test_a_poll_is_voted_in_and_stopped(world, do, refusal):
    sent = do("sendPoll", chat_id=GROUP, question="Tea?", options=["yes", {"text": "no"}], is_anonymous=False)
    poll_id, place = sent["poll"]["id"], {"chat_id": GROUP, "message_id": sent["message_id"]}
    world.vote(5, poll_id, [1])
    assert updates(world, "poll_answer")[0]["option_persistent_ids"] == ["1"]
    stopped = do("stopPoll", **place)
    assert [option["voter_count"] for option in stopped["options"]] == [0, 1]
    assert (stopped["is_closed"], stopped["total_voter_count"]) == (True, 1)
    assert refusal("stopPoll", **place) == (400, "poll has already been closed")
    with pytest.raises(ValueError, match="is closed or deleted"):
        world.vote(5, poll_id, [0])
    assert refusal("sendPoll", chat_id=GROUP, question="Q", options=["a"], type="quiz")[1].startswith(
        "wrong correct"
    )


def test_a_vote_is_changed_and_taken_back(world, do):
    """python-telegram-bot#1813: option_ids is empty when a vote is retracted (Telegram Bot API, PollAnswer)."""
    sent = do("sendPoll", chat_id=GROUP, question="Tea?", options=["yes", "no"], is_anonymous=False)
    poll_id = sent["poll"]["id"]
    counts = []
    for user_id, chosen in ((5, [0]), (6, [0]), (5, [1]), (6, [])):
        world.vote(user_id, poll_id, chosen)
        poll = world.messages(GROUP)[-1]["poll"]
        counts.append(([each["voter_count"] for each in poll["options"]], poll["total_voter_count"]))
    assert counts == [([1, 0], 1), ([2, 0], 2), ([1, 1], 2), ([0, 1], 1)]
    assert [each["option_ids"] for each in updates(world, "poll_answer")] == [[0], [0], [1], []]
    with pytest.raises(ValueError, match="one answer"):
        world.vote(6, poll_id, [0, 1])


def test_an_answer_to_a_quiz_stays(world, do):
    sent = do(
        "sendPoll", chat_id=GROUP, question="1+1?", options=["1", "2"], type="quiz",
        correct_option_ids=[1], is_anonymous=False,
    )  # fmt: skip
    world.vote(5, sent["poll"]["id"], [0])
    for chosen in ([1], []):
        with pytest.raises(ValueError, match="quiz"):
            world.vote(5, sent["poll"]["id"], chosen)


def test_the_bot_gets_changes_of_members_where_it_is_an_administrator(world):
    """Telegram Bot API, Update: chat_member. yagop/node-telegram-bot-api#1161, eternnoir/pyTelegramBotAPI#1918: it never comes."""
    for chat_id in (GROUP, PLAIN):
        chat = world.chat_for_bot({"chat_id": chat_id})
        world.set_member(chat, world.add_user("Eve", user_id=9), {"status": "member"}, by={"id": 9})
        assert 9 in chat.members
    assert [update["chat"]["id"] for update in updates(world, "chat_member")] == [GROUP]


# -- buttons and invoices that Telegram refuses ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("button", "reason"),
    [
        (
            {"url": "http://localhost:8080/x"},
            "inline keyboard button URL 'http://localhost:8080/x' is invalid: Wrong HTTP URL",
        ),
        ({"url": "localhost"}, "inline keyboard button URL 'localhost' is invalid: Wrong HTTP URL"),
        (
            {"url": "happ://add/https://e.org"},
            "inline keyboard button URL 'happ://add/https://e.org' is invalid: Unsupported URL protocol",
        ),
        (
            {"web_app": {"url": "http://e.org"}},
            "inline keyboard button Web App URL 'http://e.org' is invalid: Only HTTPS links are allowed",
        ),
    ],
)
def test_a_link_that_no_app_opens_is_refused(refusal, button, reason):
    """rubenlagus/TelegramBots#302 (localhost), BEDOLAGA-DEV/remnawave-bedolaga-telegram-bot#1564 (other protocols)."""
    markup = {"inline_keyboard": [[{"text": "x", **button}]]}
    assert refusal("sendMessage", chat_id=5, text="x", reply_markup=markup) == (400, reason)


@pytest.mark.parametrize(
    "url",
    [
        "https://e.org",
        "HTTP://e.org:80/?u=ftp://x",
        "e.org/x",
        "t.me/bot?start=1",
        "tg://user?id=5",
        "tg:resolve",
        "http://u:p@1.2.3.4/",
    ],
)
def test_other_links_are_taken(do, url):
    markup = {"inline_keyboard": [[{"text": "x", "url": url}]]}
    assert do("sendMessage", chat_id=5, text="x", reply_markup=markup)["reply_markup"]


def test_a_web_app_opens_from_private_chats_alone(do, refusal):
    """Telegram Bot API, InlineKeyboardButton: web_app."""
    markup = {"inline_keyboard": [[{"text": "x", "web_app": {"url": "https://e.org"}}]]}
    do("sendMessage", chat_id=5, text="x", reply_markup=markup)
    assert refusal("sendMessage", chat_id=GROUP, text="x", reply_markup=markup) == (
        400,
        "BUTTON_TYPE_INVALID",
    )


def test_only_stars_need_no_provider(do, refusal):
    """Telegram Bot API, sendInvoice: provider_token."""
    invoice = {
        "chat_id": 5,
        "title": "t",
        "description": "d",
        "payload": "p",
        "prices": [{"label": "a", "amount": 100}],
    }
    do("sendInvoice", **invoice, currency="XTR")
    do("sendInvoice", **invoice, currency="EUR", provider_token="t")
    assert refusal("sendInvoice", **invoice, currency="EUR") == (400, "PAYMENT_PROVIDER_INVALID")


def test_a_post_of_a_channel_is_edited_as_one(world):
    """Telegram Bot API, Update: edited_channel_post."""
    world.queue.allow(["edited_channel_post", "edited_message"])
    world.send_message(CHANNEL, 5, "hi")
    world.edit(CHANNEL, 5, world.messages(CHANNEL)[-1]["message_id"], "hello")
    assert [each["text"] for each in updates(world, "edited_channel_post")] == ["hello"]


# -- users to whom the bot may write ------------------------------------------------------------------------------


def test_the_bot_cannot_begin_a_private_chat(world, do, refusal):
    """leonschreiber96/telegram-stat-bot#14, telegraf/telegraf#15: no private message to a user met only in a group."""
    eve = world.add_user("Eve", has_started=False)["id"]
    world.send_message(GROUP, eve, "hi")
    assert refusal("sendMessage", chat_id=eve, text="x") == (
        403,
        "bot can't initiate conversation with a user",
    )
    world.send_message(eve, eve, "/start")
    assert do("sendMessage", chat_id=eve, text="x")["text"] == "x"


def test_for_five_minutes_it_may_write_to_who_asks_to_join(world, do, refusal, clock):
    """tdlib/telegram-bot-api#198, python-telegram-bot#4930; Telegram Bot API, ChatJoinRequest: user_chat_id."""
    world.ask_to_join(GROUP, 9)
    clock.now += 299
    assert do("sendMessage", chat_id=9, text="Why?")["chat"]["id"] == 9
    clock.now += 2
    assert refusal("sendMessage", chat_id=9, text="x") == (403, "bot can't initiate conversation with a user")
    world.ask_to_join(GROUP, 9)
    do("sendMessage", chat_id=9, text="Why?")
    world.send_message(9, 9, "/start")
    clock.now += 400
    do("sendMessage", chat_id=9, text="Hello")


# -- files of users -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "method", "given"),
    [
        (
            {"photo": [{"file_id": "P", "file_unique_id": "p", "width": 1, "height": 1}]},
            "sendPhoto",
            {"photo": "P"},
        ),
        (
            {"document": {"file_id": "D", "file_unique_id": "d", "file_name": "a.pdf"}},
            "sendDocument",
            {"document": "D"},
        ),
        (
            {
                "animation": {"file_id": "A", "file_unique_id": "a", "width": 1, "height": 1, "duration": 1},
                "document": {"file_id": "A", "file_unique_id": "a"},
            },
            "sendAnimation",
            {"animation": "A"},
        ),
    ],
)
def test_what_people_send_can_be_sent_again_by_its_id(world, do, content, method, given):
    """Telegram Bot API, Sending files: "If the file is already stored somewhere on the Telegram servers"."""
    world.send_message(GROUP, 5, "", **content)
    ((name, file_id),) = given.items()
    sent = do(method, chat_id=GROUP, **given)[name]
    found = sent[0] if isinstance(sent, list) else sent
    assert found["file_id"] == file_id
    assert found.get("file_name") == content.get("document", {}).get("file_name")


def test_a_users_file_keeps_its_kind_and_can_be_downloaded(world, do, refusal):
    world.push(
        "business_message",
        {"message_id": 1, "chat": {"id": 5, "type": "private"}, "document": {"file_id": "D"}},
    )
    assert refusal("sendPhoto", chat_id=5, photo="D") == (400, "can't use file of type Document as Photo")
    assert world.files.download(do("getFile", file_id="D")["file_path"])[1] == b"D"


def test_a_live_location_moves_and_stops(do, refusal):
    sent = do("sendLocation", chat_id=5, latitude=1, longitude=2, live_period=60)
    place = {"chat_id": 5, "message_id": sent["message_id"]}
    moved = do("editMessageLiveLocation", **place, latitude=3, longitude=4)
    assert moved["location"] == {"latitude": 3.0, "longitude": 4.0, "live_period": 60}
    assert do("stopMessageLiveLocation", **place)["location"] == {"latitude": 3.0, "longitude": 4.0}
    assert refusal("editMessageLiveLocation", **place, latitude=5, longitude=6)[0] == 400
    assert refusal("sendLocation", chat_id=5, latitude=91, longitude=2)[0] == 400


def test_captions(do, refusal):
    sent = do("sendPhoto", chat_id=5, photo="https://a.b/c.jpg", caption="one")
    place = {"chat_id": 5, "message_id": sent["message_id"]}
    assert do("editMessageCaption", **place, caption="two", show_caption_above_media=True)["caption"] == "two"
    assert "caption" not in do("editMessageCaption", **place)
    assert refusal("editMessageCaption", **place)[1].startswith("message is not modified")
    assert refusal("sendPhoto", chat_id=5, photo="https://a.b/c.jpg", caption="x" * 1025) == (
        *(400, "message caption is too long"),
    )
    do("copyMessage", chat_id=6, from_chat_id=5, message_id=sent["message_id"], caption="three")
    assert do("forwardMessage", chat_id=5, from_chat_id=6, message_id=1)["caption"] == "three"


@pytest.mark.parametrize("items", [1, 11])
def test_an_album_has_2_to_10_items(world, refusal, items):
    media = [{"type": "photo", "media": "https://a.b/c.jpg"}] * items
    assert refusal("sendMediaGroup", chat_id=5, media=media)[1] == "there must be 2 to 10 items in an album"
    assert world.messages(5) == []


def test_many_at_once(world, do, refusal):
    for text in "abc":
        do("sendMessage", chat_id=5, text=text)
    ids = {"chat_id": 6, "from_chat_id": 5, "message_ids": [1, 3, 99]}
    assert do("copyMessages", **ids) == [{"message_id": 1}, {"message_id": 2}]
    assert do("forwardMessages", **ids) == [{"message_id": 3}, {"message_id": 4}]
    assert [message["text"] for message in world.messages(6)] == ["a", "c"] * 2
    do("deleteMessages", chat_id=6, message_ids=[1, 2, 99])
    assert len(world.messages(6)) == 2
    assert refusal("forwardMessages", **ids | {"message_ids": [99]}) == (
        400,
        "there are no messages to forward",
    )


def test_what_can_be_deleted(world, do, refusal, clock):
    world.send_message(PLAIN, 5, "hers")
    assert refusal("deleteMessage", chat_id=PLAIN, message_id=1) == (400, "message can't be deleted")
    world.send_message(GROUP, 5, "hers")
    assert do("deleteMessage", chat_id=GROUP, message_id=1)
    do("sendMessage", chat_id=5, text="x")
    clock.now += 48 * 3600 + 1
    assert refusal("deleteMessage", chat_id=5, message_id=1) == (400, "message can't be deleted")


def test_protected_content_is_not_forwarded(do, refusal):
    do("sendMessage", chat_id=5, text="x", protect_content=True)
    assert refusal("forwardMessage", chat_id=6, from_chat_id=5, message_id=1) == (
        400,
        "message can't be forwarded",
    )


def test_dice_are_known_beforehand(do):
    assert [do("sendDice", chat_id=5)["dice"]["value"] for _ in range(7)] == [1, 2, 3, 4, 5, 6, 1]


# -- the bot ---------------------------------------------------------------------------------------------------


def test_profile_texts_by_language(do):
    do("setMyDescription", description="I help")
    do("setMyDescription", description="Ich helfe", language_code="de")
    assert do("getMyDescription") == do("getMyDescription", language_code="fr") == {"description": "I help"}
    assert do("getMyDescription", language_code="de") == {"description": "Ich helfe"}
    do("setMyDescription", language_code="de")
    assert do("getMyDescription", language_code="de") == {"description": "I help"}
    do("setMyName", name="Helper")
    assert do("getMyName") == {"name": do("getMe")["first_name"]} == {"name": "Helper"}


def test_profile_photos(do):
    assert do("getUserProfilePhotos", user_id=7) == {"total_count": 0, "photos": []}
    do("setMyProfilePhoto", photo={"type": "static", "photo": "attach://p"}, p=Upload("a.png", b"png"))
    assert do("getUserProfilePhotos", user_id=7)["total_count"] == 1
    do("removeMyProfilePhoto")
    assert do("getUserProfilePhotos", user_id=7)["total_count"] == 0


def test_menu_buttons(do, refusal):
    app = {"type": "web_app", "text": "Open", "web_app": {"url": "https://example.org/"}}
    assert do("getChatMenuButton") == {"type": "commands"}
    do("setChatMenuButton", chat_id=5, menu_button=app)
    assert (do("getChatMenuButton", chat_id=5), do("getChatMenuButton", chat_id=6)) == (
        app,
        {"type": "commands"},
    )
    do("setChatMenuButton", chat_id=5)
    assert do("getChatMenuButton", chat_id=5) == {"type": "commands"}
    assert refusal("getChatMenuButton", chat_id=GROUP)[0] == 400


def test_default_rights(world):
    run(
        world, "setmydefaultadministratorrights", {"rights": {"can_pin_messages": True}, "for_channels": True}
    )
    assert run(world, "getmydefaultadministratorrights", {"for_channels": "true"})["can_pin_messages"] is True
    assert run(world, "getmydefaultadministratorrights", {})["can_pin_messages"] is False


def test_sticker_sets(do, refusal):
    def sticker(emoji):
        return {"sticker": "https://a.b/c.webp", "format": "static", "emoji_list": [emoji]}

    made = {"user_id": 5, "name": "tea_by_bot", "title": "Tea"}
    do("createNewStickerSet", **made, stickers=[sticker("👍")])
    do("addStickerToSet", user_id=5, name="tea_by_bot", sticker=sticker("👎"))
    first, second = do("getStickerSet", name="tea_by_bot")["stickers"]
    assert (first["emoji"], second["emoji"], first["set_name"]) == ("👍", "👎", "tea_by_bot")
    do("setStickerPositionInSet", sticker=second["file_id"], position=0)
    do("deleteStickerFromSet", sticker=first["file_id"])
    assert [each["emoji"] for each in do("getStickerSet", name="tea_by_bot")["stickers"]] == ["👎"]
    assert do("sendSticker", chat_id=5, sticker=second["file_id"])["sticker"]["file_id"] == second["file_id"]
    do("deleteStickerSet", name="tea_by_bot")
    assert refusal("getStickerSet", name="tea_by_bot") == (400, "STICKERSET_INVALID")
    assert refusal("createNewStickerSet", **made | {"name": "tea"}, stickers=[sticker("👍")])[0] == 400


def test_queries_take_one_answer(world, do, refusal):
    for kind in ("inline_query", "shipping_query", "pre_checkout_query"):
        world.push(kind, {"id": "1", "from": {"id": 5}})
    too_old = (400, "query is too old and response timeout expired or query ID is invalid")
    assert do("answerInlineQuery", inline_query_id="1", results=[])
    assert refusal("answerInlineQuery", inline_query_id="1", results=[]) == too_old
    assert do("answerPreCheckoutQuery", pre_checkout_query_id="1", ok=True)
    assert refusal("answerPreCheckoutQuery", pre_checkout_query_id="1", ok=True) == too_old
    assert refusal("answerShippingQuery", shipping_query_id="1", ok=False) == (400, "error message is empty")


def test_a_business_connection_has_to_be_known(world, do, refusal):
    send = {"business_connection_id": "b", "chat_id": 5, "text": "x"}
    assert refusal("sendMessage", **send) == (400, "business connection not found")
    world.push("business_connection", {"id": "b", "user": {"id": 6, "first_name": "Bob"}})
    assert do("sendMessage", **send)["business_connection_id"] == "b"
    assert do("getBusinessConnection", business_connection_id="b")["user"]["first_name"] == "Bob"


# -- methods without state -------------------------------------------------------------------------------------


def test_what_a_made_up_answer_is_about_has_to_be_there(do, refusal):
    assert do("verifyUser", user_id=5)
    assert refusal("verifyUser", user_id=404) == (400, "user not found")
    assert refusal("verifyChat", chat_id=404) == (400, "chat not found")
    assert refusal("approveSuggestedPost", chat_id=5, message_id=9) == (400, "message not found")
    story = {"business_connection_id": "b", "story_id": 1}
    assert refusal("deleteStory", **story) == (400, "business connection not found")


def test_a_made_up_answer_is_always_the_same(do):
    assert do("getUserGifts", user_id=5) == do("getUserGifts", user_id=5)
