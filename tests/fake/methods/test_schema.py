"""All methods of the Bot API: a valid call gets a result of the schema's type, an invalid one an error with the name."""

import json
from typing import Any

import pytest

from telegram.botapi.generate import _type_hint
from telegram.botapi.invoking import _reader
from telegram.botapi.objects import TelegramObject, Unknown
from telegram.botapi.schema import Field, Method
from telegram.fake.methods import METHODS, run
from telegram.fake.methods.samples import Samples
from telegram.fake.protocol.answers import ApiError, Described
from telegram.fake.protocol.checks import check
from telegram.fake.protocol.params import Upload
from telegram.fake.protocol.shapes import schema
from telegram.fake.world import World
from telegram.fake.world.queue import UpdateQueue

ANN, GROUP, FORUM = 5, -1_005, -1_006
METHODS_OF_SCHEMA = sorted(schema().methods)
SET = "set_by_bot"
NOW = 1_700_000_000
STATED = {
    ("sendMessage", "text"): "message text is empty",
    ("deleteMessage", "chat_id"): "chat identifier is not specified",
    ("deleteMessage", "message_id"): "message identifier is not specified",
}


def a_world() -> World:
    """A world with the objects that the methods need."""
    world = World(
        {"id": 7, "is_bot": True, "first_name": "Bot", "username": "bot"}, UpdateQueue(), clock=lambda: NOW
    )
    world.add_user("Ann", user_id=ANN)
    world.add_group("Us", [ANN], chat_id=GROUP)
    world.add_group("Forum", [ANN], chat_id=FORUM, is_forum=True)
    for chat_id in (GROUP, FORUM):
        world.promote(chat_id)
    world.push("business_connection", {"id": "b1"} | Samples({"user": {"id": ANN}}).fields(()))
    world.business["b1"] = Samples({"user": world.users()[0], "id": "b1"}).of(["BusinessConnection"])
    for kind in ("callback_query", "inline_query", "shipping_query", "pre_checkout_query"):
        world.push(kind, {"id": "q1", "from": world.users()[0]})
    world.push("guest_message", {"guest_query_id": "q1", "chat": {"id": ANN}})
    world.ask_to_join(GROUP, ANN, query_id="q1")
    world.send_message(ANN, ANN, "hello")
    return world


def sent(world: World, method: str, **more: Any) -> dict[str, Any]:
    chat_id = more.pop("chat_id", ANN)
    message_id = run(world, method.lower(), right(method, world) | {"chat_id": chat_id} | more)["message_id"]
    return {"chat_id": chat_id, "message_id": message_id}


def photo() -> Upload:
    return Upload("a.png", b"png", "image/png")


def prepared(name: str, world: World) -> dict[str, Any]:
    """Prepare the world for a method; return the parameters that differ from the samples."""
    sticker = {"sticker": "attach://part", "format": "static", "emoji_list": ["👍"]}

    def a_set(kind: str = "regular") -> dict[str, Any]:
        made = {"user_id": ANN, "name": SET, "title": "T", "stickers": [sticker], "sticker_type": kind}
        run(world, "createnewstickerset", made | {"part": photo()})
        return {"name": SET, "sticker": world.sticker_sets[SET]["stickers"][0]["file_id"]}

    def a_topic(*, closed: bool = False) -> dict[str, Any]:
        thread = run(world, "createforumtopic", {"chat_id": FORUM, "name": "N"})["message_thread_id"]
        if closed:
            run(world, "closeforumtopic", {"chat_id": FORUM, "message_thread_id": thread})
        return {"chat_id": FORUM, "message_thread_id": thread}

    def a_link() -> dict[str, Any]:
        return {
            "chat_id": GROUP,
            "invite_link": run(world, "createchatinvitelink", {"chat_id": GROUP})["invite_link"],
        }

    match name:
        case "setWebhook":
            return {"url": ""}
        case "editMessageText":
            return sent(world, "sendMessage") | {"text": "new"}
        case "editMessageReplyMarkup":
            buttons = {"inline_keyboard": [[{"text": "a", "url": "https://example.org/"}]]}
            return sent(world, "sendMessage") | {"reply_markup": buttons}
        case "editMessageCaption":
            return sent(world, "sendPhoto") | {"caption": "new"}
        case "editMessageMedia":
            return sent(world, "sendPhoto")
        case "editMessageLiveLocation" | "stopMessageLiveLocation":
            return sent(world, "sendLocation", live_period=60) | (
                {"latitude": 2.5, "longitude": 3} if name.startswith("edit") else {}
            )
        case "editMessageChecklist":
            other = {"title": "other", "tasks": [{"id": 1, "text": "t"}]}
            return sent(world, "sendChecklist") | {"checklist": other}
        case "stopPoll":
            return sent(world, "sendPoll")
        case "setGameScore" | "getGameHighScores":
            return {"chat_id": ANN, "message_id": 1}
        case "sendInvoice" | "createInvoiceLink":
            return {"currency": "XTR"}
        case "sendMediaGroup":
            return {"media": [{"type": "photo", "media": "attach://part"}] * 2}
        case "answerPreCheckoutQuery" | "answerShippingQuery":
            return {"ok": False, "error_message": "no"}
        case "sendRichMessage":
            return {"rich_message": {"html": "<b>x</b>"}}
        case "setChatAdministratorCustomTitle":
            run(world, "promotechatmember", {"chat_id": GROUP, "user_id": ANN, "can_pin_messages": True})
            return {"custom_title": "Boss"}
        case "setChatDescription":
            return {"description": "new"}
        case "deleteChatPhoto":
            run(world, "setchatphoto", {"chat_id": GROUP, "photo": photo()})
        case "createNewStickerSet":
            return {"name": SET}
        case "setCustomEmojiStickerSetThumbnail":
            return {"name": a_set("custom_emoji")["name"]}
        case "replaceStickerInSet":
            return {"name": SET, "old_sticker": a_set()["sticker"], "sticker": sticker}
        case "addStickerToSet":
            return {"name": a_set()["name"], "sticker": sticker}
        case _ if (
            "Sticker" in name and "Chat" not in name and name not in ("sendSticker", "uploadStickerFile")
        ):
            return {key: value for key, value in a_set().items() if key in names_of(name)}
        case "reopenGeneralForumTopic" | "unhideGeneralForumTopic":
            run(world, "hidegeneralforumtopic", {"chat_id": FORUM})
            return {"chat_id": FORUM}
        case "reopenForumTopic":
            return a_topic(closed=True)
        case "createForumTopic":
            return {"chat_id": FORUM}
        case _ if "GeneralForumTopic" in name:
            return {"chat_id": FORUM}
        case _ if "ForumTopic" in name and "Icon" not in name:
            return a_topic() | ({"name": "other"} if name.startswith("edit") else {})
        case "editChatInviteLink" | "revokeChatInviteLink" | "editChatSubscriptionInviteLink":
            return a_link()
        case "createChatSubscriptionInviteLink":
            return {"subscription_period": 30 * 86400}
        case "unpinChatMessage":
            message = sent(world, "sendMessage", chat_id=GROUP)
            run(world, "pinchatmessage", message)
            return message
        case "pinChatMessage":
            return sent(world, "sendMessage", chat_id=GROUP)
        case "getFile":
            return {"file_id": world.files.add("photo", b"x").file_id}
    return {}


def names_of(name: str) -> set[str]:
    return {field.name for field in schema().methods[name].params}


def right(name: str, world: World) -> dict[str, Any]:
    """Return a minimal valid call from the schema; files are uploaded as the part "part"."""
    method: Method = schema().methods[name]
    in_group = any(
        word in name
        for word in ("Ban", "ban", "Restrict", "restrict", "Promote", "promote", "leave", "Invite", "Join")
    ) or (name.startswith(("setChat", "deleteChat", "getChatAdmin")) and "Menu" not in name)
    known = {
        "chat_id": GROUP if in_group else ANN,
        "from_chat_id": ANN,
        "user_id": ANN,
        "message_ids": [1],
        "business_connection_id": "b1",
        "media": "attach://part",
        "photo": "attach://part",
        "sticker": "attach://part",
        "video": "attach://part",
        "animation": "attach://part",
        "thumbnail": "attach://part",
        **dict.fromkeys((n for n in names_of(name) if n.endswith("_query_id")), "q1"),
    }
    params: dict[str, Any] = {}
    for field in (field for field in method.params if field.required):
        if "InputFile" in field.types:
            params[field.name] = photo()
        elif field.name in known and not field.types[0].startswith(("Array of Input", "Input")):
            params[field.name] = known[field.name]
        else:
            params[field.name] = Samples(known).of(field.types, field.name)
    uses_part = "attach://part" in json.dumps(params)
    return params | ({"part": photo()} if uses_part else {})


def ready(name: str) -> tuple[World, dict[str, Any]]:
    world = a_world()
    prepared_params = prepared(name, world)
    params = right(name, world) | prepared_params
    params.pop("part", None)
    if "attach://part" in json.dumps(params):
        params["part"] = photo()
    return world, params


def untyped(item: Any) -> list[Any]:
    """Return the values without a field in the schema, at any depth."""
    if isinstance(item, list):
        return [found for each in item for found in untyped(each)]
    if isinstance(item, TelegramObject):
        parts = [found for each in item.__dict__.values() for found in untyped(each)]
        return [*parts, *([item] if isinstance(item, Unknown) else []), *(item.model_extra or {})]
    return []


def refused(name: str, params: dict[str, Any], *, strict: bool) -> str:
    with pytest.raises(ApiError) as caught:
        check(name, params, strict=strict)
    assert caught.value.code == 400
    return caught.value.description


def test_all_185_methods_are_there():
    assert len(METHODS) == 184  # and getUpdates, which waits
    assert {method.name for method in METHODS.values()} | {"getUpdates"} == set(METHODS_OF_SCHEMA)


@pytest.mark.parametrize("name", sorted(set(METHODS_OF_SCHEMA) - {"getUpdates"}))
def test_a_valid_call_is_answered_with_the_type_of_the_schema(name):
    world, params = ready(name)
    answer = run(world, name.lower(), params, strict=True)
    answer = json.loads(json.dumps(answer.result if isinstance(answer, Described) else answer))
    hint = " | ".join(_type_hint(written) for written in schema().methods[name].returns)
    typed = _reader(hint).validate_python(answer)
    assert not untyped(typed)


@pytest.mark.parametrize("name", sorted(set(METHODS_OF_SCHEMA) - {"getUpdates"}))
def test_the_same_call_as_a_form_is_answered_too(name):
    world, params = ready(name)
    form = {
        key: value if isinstance(value, str | Upload) else json.dumps(value) for key, value in params.items()
    }
    run(world, name.lower(), form, strict=True)


@pytest.mark.parametrize("name", METHODS_OF_SCHEMA)
def test_all_updates_caused_by_the_bot_fit_their_types(name):
    from telegram.botapi.decoding import decode

    world, params = ready(name)
    world.queue.allow(["chat_member", "message", "my_chat_member", "channel_post"])
    world.queue.clear()
    if name != "getUpdates":
        run(world, name.lower(), params)
    for raw in world.queue.read(0, 100):
        update = decode(raw)
        assert update.lost == ()
        assert not untyped(getattr(update, update.kind or ""))


REQUIRED = [
    (name, field) for name in METHODS_OF_SCHEMA for field in schema().methods[name].params if field.required
]


@pytest.mark.parametrize(("name", "field"), REQUIRED, ids=lambda each: getattr(each, "name", each))
def test_a_required_parameter_left_out_is_named(name, field: Field):
    _, params = ready(name)
    del params[field.name]
    description = refused(name, params, strict=False)
    assert STATED.get((name, field.name), field.name) in description


def wrong_value(field: Field) -> Any:
    match field.types[0]:
        case "Integer":
            return [] if "String" in field.types else "five"
        case "Float":
            return "north"
        case "Boolean":
            return "perhaps"
        case "String" | "InputFile":
            return ["no text"]
        case written if written.startswith("Array of "):
            return {"no": "array"}
    return ["no object"]


@pytest.mark.parametrize("name", METHODS_OF_SCHEMA)
def test_each_parameter_of_a_wrong_type_is_refused(name):
    _, params = ready(name)
    for field in schema().methods[name].params:
        if name == "setMyCommands" and field.name == "commands":
            continue  # in the server's own words: tests/fake/methods/test_methods.py
        assert refused(name, params | {field.name: wrong_value(field)}, strict=True)


@pytest.mark.parametrize("name", METHODS_OF_SCHEMA)
def test_a_typo_is_refused_in_strict_mode_only(name):
    _, params = ready(name)
    check(name, params | {"chat_idd": 1})
    assert refused(name, params | {"chat_idd": 1}, strict=True) == 'Bad Request: unknown parameter "chat_idd"'
