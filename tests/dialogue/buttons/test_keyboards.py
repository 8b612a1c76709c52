import pytest

from telegram.botapi.types import InlineKeyboardButton, KeyboardButton
from telegram.dialogue.buttons.keyboards import inline, keyboard, no_keyboard


def plain(markup):
    return markup.model_dump(exclude_none=True)


def test_rows_of_buttons_and_links():
    whole = InlineKeyboardButton(text="Pay", pay=True)
    assert plain(inline([("Yes", "yes"), ("No", "no")], [("More", "https://example.org"), whole])) == {
        "inline_keyboard": [
            [{"text": "Yes", "callback_data": "yes"}, {"text": "No", "callback_data": "no"}],
            [{"text": "More", "url": "https://example.org"}, {"text": "Pay", "pay": True}],
        ]
    }


@pytest.mark.parametrize("target", ["", "x" * 1025, "ж" * 513])
def test_data_that_no_button_has_are_refused_here(target):
    """Data over Telegram's 64 bytes are kept under a key (test_long.py)."""
    with pytest.raises(ValueError, match="1 to 1024 bytes"):
        inline([("x", target)])


def test_the_most_data_that_fits():
    assert inline([("x", "ж" * 512)]).inline_keyboard[0][0].callback_data == "ж" * 512


def test_a_keyboard_and_its_end():
    contact = KeyboardButton(text="My number", request_contact=True)
    assert plain(keyboard(["Red", "Green"], [contact], one_time_keyboard=True)) == {
        "keyboard": [
            [{"text": "Red"}, {"text": "Green"}],
            [{"text": "My number", "request_contact": True}],
        ],
        "resize_keyboard": True,
        "one_time_keyboard": True,
    }
    assert plain(no_keyboard()) == {"remove_keyboard": True}


@pytest.mark.parametrize(
    "rows", [(("Yes", "yes"),), ([("1", 1)],), ([(1, "one")],), ([("a", "b", "c")],), ("Yes",)]
)
def test_what_is_no_button_is_named(rows):
    with pytest.raises(TypeError, match=r"wants rows of \(text, data\)|data that is a text"):
        inline(*rows)


def test_a_text_is_no_row_of_letters():
    """TelegramBot/Api#272: "keyboard" must be an Array of Arrays, says Telegram; here the buttons were Y, e and s."""
    with pytest.raises(TypeError, match=r"wants rows: keyboard\(\['Yes', ...\], ...\)"):
        keyboard("Yes", "No")
