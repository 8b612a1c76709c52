import json

import pytest

from telegram.fake.protocol.answers import ApiError
from telegram.fake.protocol.markup import is_inline, reply_markup


def inline(*buttons):
    return {"inline_keyboard": [list(buttons)]}


@pytest.mark.parametrize(
    "markup",
    [
        inline({"text": "a", "callback_data": "x" * 64}),
        inline({"text": "a", "url": "http://example.org/"}),
        {"keyboard": [["a", {"text": "b"}]]},
        {"remove_keyboard": True},
        {"force_reply": True},
    ],
)
def test_good_markup_as_object_and_as_text(markup):
    assert reply_markup({"reply_markup": markup}) == markup
    assert reply_markup({"reply_markup": json.dumps(markup)}) == markup


def test_no_markup():
    assert reply_markup({}) is None
    assert reply_markup({"reply_markup": ""}) is None


@pytest.mark.parametrize(
    ("markup", "reason"),
    [
        ("{", "can't parse reply keyboard markup JSON object"),
        ([], "object expected as reply markup"),
        ({"inline_keyboard": 5}, 'field "inline_keyboard" must be of type Array'),
        (
            {"inline_keyboard": [{}]},
            'field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays',
        ),
        ({"keyboard": [{}]}, 'field "keyboard" must be an Array of Arrays'),
        ({"keyboard": [[{}]]}, "can't parse keyboard button: Can't find field \"text\""),
        (inline("a"), "can't parse inline keyboard button: InlineKeyboardButton must be an Object"),
        (inline({"callback_data": "x"}), "can't parse inline keyboard button: Can't find field \"text\""),
        (
            inline({"text": "a"}),
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ),
        (
            inline({"text": "a", "callback_data": 5}),
            'can\'t parse inline keyboard button: Field "callback_data" must be of type String',
        ),
        (inline({"text": "a", "callback_data": "ж" * 33}), "BUTTON_DATA_INVALID"),
        (inline({"text": "a", "callback_data": "x" * 65}), "BUTTON_DATA_INVALID"),
    ],
)
def test_bad_markup(markup, reason):
    with pytest.raises(ApiError) as refusal:
        reply_markup({"reply_markup": markup})
    assert (refusal.value.code, refusal.value.description) == (400, f"Bad Request: {reason}")


def test_only_inline_keyboards_belong_to_the_message():
    assert is_inline(inline({"text": "a", "url": "x"}))
    assert not is_inline({"keyboard": [["a"]]})
    assert not is_inline({"inline_keyboard": []})
    assert not is_inline(None)
