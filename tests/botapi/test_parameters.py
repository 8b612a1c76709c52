"""A wrong call is named where it is collected: method, parameter, and what is wrong, in one line."""

from enum import IntEnum, StrEnum

import pytest

from telegram.botapi.collecting import WrongCall
from telegram.botapi.files import InputFile
from telegram.botapi.parameters import check_call, methods, spec_of
from telegram.botapi.types import (
    InlineKeyboardMarkup,
    InputMediaPhoto,
    InputMediaVideo,
    InputPollOption,
    InputRichMessage,
    LinkPreviewOptions,
    MessageEntity,
    ReplyKeyboardRemove,
    ReplyParameters,
)


class Mode(StrEnum):
    HTML = "HTML"


class Id(IntEnum):
    ONE = 1


TEXT = {"chat_id": 1, "text": "x"}
ALBUM = {"type": "photo", "media": "file-id"}
ARTICLE = {"type": "article", "id": "1", "title": "a"}

WRONG = [
    ("sendMesage", TEXT, "the Bot API has no method 'sendMesage': did you mean 'sendMessage'?"),
    ("getUpdates", {}, "the Bot API has no method 'getUpdates'"),
    ("sendMessage", {"chat_id": 1}, "sendMessage needs text"),
    ("sendMessage", {}, "sendMessage needs chat_id and text"),
    ("sendMessage", TEXT | {"chat_id": None}, "sendMessage needs chat_id, and it is None"),
    ("sendMessage", TEXT | {"chat_id": True}, "chat_id of sendMessage is True of type bool, and must be int or str"),
    ("sendMessage", TEXT | {"chat_id": 1.5}, "chat_id of sendMessage is 1.5 of type float"),
    ("sendMessage", TEXT | {"text": {"a": 1}}, "text of sendMessage is of type dict, and must be str"),
    ("sendMessage", TEXT | {"text": b"x"}, "text of sendMessage is of type bytes, and must be str"),
    ("sendMessage", TEXT | {"reply_markpu": 1}, "no parameter 'reply_markpu': did you mean 'reply_markup'?"),
    ("sendMessage", TEXT | {"reply_to_message_id": 1}, "'reply_to_message_id': it is 'reply_parameters' now"),
    ("sendMessage", TEXT | {"parse_mode": 5}, "parse_mode of sendMessage is 5 of type int, and must be str"),
    ("sendMessage", TEXT | {"parse_mode": "htlm"}, "one of HTML, MarkdownV2, Markdown: did you mean 'HTML'?"),
    ("sendMessage", TEXT | {"disable_notification": 1}, "disable_notification of sendMessage is 1 of type int, and must be bool"),
    ("sendMessage", TEXT | {"reply_markup": "x"}, "reply_markup of sendMessage is of type str, and must be InlineKeyboardMarkup or"),
    ("sendMessage", TEXT | {"reply_markup": [["a"]]}, "reply_markup of sendMessage is of type list"),
    ("sendMessage", TEXT | {"reply_markup": {"inline_keybord": []}}, "reply_markup of sendMessage has no field 'inline_keybord'"),
    ("sendMessage", TEXT | {"reply_markup": {"inline_keyboard": [[{"text": "a", "callback_dat": "b"}]]}}, r"reply_markup.inline_keyboard[0][0] of sendMessage has no field 'callback_dat': did you mean 'callback_data'?"),
    ("sendMessage", TEXT | {"reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": 7}]]}}, "reply_markup.inline_keyboard[0][0].callback_data of sendMessage is 7 of type int"),
    ("sendMessage", TEXT | {"reply_markup": {"inline_keyboard": [[{"callback_data": "a"}]]}}, "inline_keyboard[0][0] of sendMessage needs 'text' (InlineKeyboardButton)"),
    ("sendMessage", TEXT | {"reply_markup": {"keyboard": ["a"]}}, "reply_markup.keyboard[0] of sendMessage is of type str, and must be list"),
    ("sendMessage", TEXT | {"reply_parameters": 5}, "reply_parameters of sendMessage is 5 of type int, and must be ReplyParameters"),
    ("sendMessage", TEXT | {"reply_parameters": {"message_id": "5"}}, "reply_parameters.message_id of sendMessage is of type str, and must be int"),
    ("sendMessage", TEXT | {"reply_parameters": LinkPreviewOptions()}, "reply_parameters of sendMessage is of type LinkPreviewOptions"),
    ("sendMessage", TEXT | {"entities": [{"type": "bold", "offset": 0}]}, "entities[0] of sendMessage needs 'length' (MessageEntity)"),
    ("sendPhoto", {"chat_id": 1, "photo": b"x"}, "photo of sendPhoto is of type bytes, and must be InputFile or str"),
    ("sendMediaGroup", {"chat_id": 1, "media": "x"}, "media of sendMediaGroup is of type str, and must be list"),
    ("sendMediaGroup", {"chat_id": 1, "media": [{"media": "x"}]}, "media[0] of sendMediaGroup needs 'type', which is one of"),
    ("sendMediaGroup", {"chat_id": 1, "media": [ALBUM | {"type": "foto"}]}, "media[0] of sendMediaGroup needs 'type', which is one of"),
    ("sendMediaGroup", {"chat_id": 1, "media": [ALBUM | {"meida": 1}]}, "media[0] of sendMediaGroup has no field 'meida': did you mean 'media'?"),
    ("sendMediaGroup", {"chat_id": 1, "media": [ALBUM | {"parse_mode": "HTLM"}]}, "media[0].parse_mode of sendMediaGroup is 'HTLM'"),
    ("sendLocation", {"chat_id": 1, "latitude": "1", "longitude": 2}, "latitude of sendLocation is of type str, and must be float"),
    ("sendLocation", {"chat_id": 1, "latitude": True, "longitude": 2}, "latitude of sendLocation is True of type bool, and must be float"),
    ("sendPoll", {"chat_id": 1, "question": "?", "options": [1]}, "options[0] of sendPoll is 1 of type int, and must be InputPollOption"),
    ("answerInlineQuery", {"inline_query_id": "1", "results": [ARTICLE]}, "results[0] of answerInlineQuery needs 'input_message_content' (InlineQueryResultArticle)"),
    ("answerInlineQuery", {"inline_query_id": "1", "results": [ARTICLE | {"input_message_content": {"message_text": 3}}]}, "results[0].input_message_content.message_text of answerInlineQuery is 3 of type int"),
]  # fmt: skip

RIGHT = [
    ("sendMessage", TEXT),
    ("SENDMESSAGE", TEXT),
    ("sendMessage", TEXT | {"chat_id": "@channel", "parse_mode": None, "reply_markup": None}),
    ("sendMessage", TEXT | {"chat_id": Id.ONE, "parse_mode": Mode.HTML}),
    *(("sendMessage", TEXT | {"parse_mode": mode}) for mode in ("html", "HTML", "MARKDOWNV2", "Markdown", "none", "")),
    ("sendMessage", TEXT | {"reply_markup": InlineKeyboardMarkup(inline_keyboard=[])}),
    ("sendMessage", TEXT | {"reply_markup": ReplyKeyboardRemove(remove_keyboard=True)}),
    ("sendMessage", TEXT | {"reply_markup": {"remove_keyboard": True}}),
    ("sendMessage", TEXT | {"reply_markup": {"keyboard": [["a", {"text": "b"}]]}}),
    ("sendMessage", TEXT | {"reply_markup": '{"inline_keyboard": []}'}),
    ("sendMessage", TEXT | {"reply_parameters": ReplyParameters(message_id=5)}),
    ("sendMessage", TEXT | {"reply_parameters": {"message_id": 5, "quote": None}}),
    ("sendMessage", TEXT | {"entities": (MessageEntity(type="bold", offset=0, length=1),)}),
    ("sendPhoto", {"chat_id": 1, "photo": InputFile("a.png")}),
    ("sendMediaGroup", {"chat_id": 1, "media": [ALBUM, InputMediaPhoto(media="x"), InputMediaVideo(media="y")]}),
    ("sendLocation", {"chat_id": 1, "latitude": 1, "longitude": 2.5}),
    ("sendPoll", {"chat_id": 1, "question": "?", "options": ["a", {"text": "b"}, InputPollOption(text="c")]}),
    ("setMyCommands", {"commands": [{"command": "a", "description": "b"}], "scope": {"type": "default"}}),
    ("sendRichMessage", {"chat_id": 1, "rich_message": {}}),
    ("sendRichMessage", {"chat_id": 1, "rich_message": InputRichMessage()}),
    ("close", {}),
    ("answerInlineQuery", {"inline_query_id": "1", "results": []}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "params", "named"), WRONG)
def test_what_is_wrong_is_named_in_one_line(method, params, named):
    with pytest.raises(WrongCall) as caught:
        check_call(method, params)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("method", "params"), RIGHT)
def test_what_telegram_accepts_is_accepted(method, params):
    check_call(method, params)


def test_no_text_of_a_user_is_in_the_error():
    with pytest.raises(WrongCall) as caught:
        check_call("banChatMember", {"chat_id": 1, "user_id": "my secret"})
    assert "secret" not in str(caught.value)


def test_a_list_that_contains_itself_is_named():
    rows: list[object] = []
    rows.append(rows)
    with pytest.raises(WrongCall, match=r"reply_markup.*of sendMessage"):
        check_call("sendMessage", {**TEXT, "reply_markup": {"inline_keyboard": rows}})


@pytest.mark.parametrize("method", sorted(methods().values()))
def test_every_method_accepts_a_value_of_each_type_and_no_other(method):
    spec = spec_of(method)
    assert spec is not None
    for name, shape in spec.shapes.items():
        assert shape.classes or shape.items, name
        with pytest.raises(WrongCall, match=f"^{name} of {method} is of type object, and must be "):
            check_call(method, {name: object()})
