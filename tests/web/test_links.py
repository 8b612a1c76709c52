"""Deep links: made within Telegram's rules, and read by handlers (https://core.telegram.org/api/links#bot-links)."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram.dialogue import MessageContext, Router, command
from telegram.testing import Conversations
from telegram.web import decode_payload, deep_link, encode_payload


@pytest.mark.parametrize(
    ("args", "more", "link"),
    [
        (("my_bot",), {}, "https://t.me/my_bot?start"),
        (("@my_bot", "start", "a-B_9"), {}, "https://t.me/my_bot?start=a-B_9"),
        (("my_bot", "startgroup"), {}, "https://t.me/my_bot?startgroup"),
        (("my_bot", "startgroup", "x"), {}, "https://t.me/my_bot?startgroup=x"),
        (
            ("my_bot", "startgroup", "x"),
            {"admin": ["pin_messages", "invite_users"]},
            "https://t.me/my_bot?startgroup=x&admin=pin_messages+invite_users",
        ),
        (
            ("my_bot", "startchannel"),
            {"admin": "post_messages"},
            "https://t.me/my_bot?startchannel&admin=post_messages",
        ),
        (("my_bot", "startapp", "x" * 512), {}, "https://t.me/my_bot?startapp=" + "x" * 512),
        (
            ("my_bot", "startapp", "x"),
            {"app": "shop", "mode": "compact"},
            "https://t.me/my_bot/shop?startapp=x&mode=compact",
        ),
    ],
)
def test_links(args, more, link):
    assert deep_link(*args, **more) == link


@pytest.mark.parametrize(
    ("args", "more", "says"),
    [
        (("",), {}, "username"),
        (("a b",), {}, "username"),
        (("bot?x=",), {}, "username"),
        (("my_bot\n",), {}, "username"),
        (("my_bot", "begin"), {}, "startgroup"),
        (("my_bot", "start", "Help.Contact"), {}, "encode_payload"),  # tdlib/telegram-bot-api#632
        (("my_bot", "start", "Zm9v="), {}, "encode_payload"),  # telegramdesktop/tdesktop#2083
        (("my_bot", "start", "é"), {}, "encode_payload"),
        (("my_bot", "start", "a\n"), {}, "encode_payload"),
        (("my_bot", "start", "x" * 65), {}, "at most 64 characters, this has 65"),
        (("my_bot", "startgroup", "x" * 65), {}, "at most 64"),
        (("my_bot", "startapp", "x" * 513), {}, "at most 512"),
        (("my_bot", "startchannel"), {}, "rights"),
        (("my_bot", "startchannel", "x"), {"admin": ["post_messages"]}, "no payload"),
        (("my_bot", "startgroup"), {"admin": ["everything"]}, "'everything'"),
        (("my_bot", "start"), {"admin": ["pin_messages"]}, "admin="),
        (("my_bot", "start"), {"app": "shop"}, "app="),
        (("my_bot", "startapp"), {"app": "a/b"}, "short name"),
        (("my_bot", "startapp"), {"mode": "tiny"}, "mode"),
    ],
)
def test_what_telegram_would_drop_silently_is_an_error(args, more, says):
    with pytest.raises(ValueError, match=says) as caught:
        deep_link(*args, **more)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=48))
def test_48_bytes_fit(content):
    """The encoder's output passes its own check: aiogram/aiogram#480, where it did not."""
    payload = encode_payload(content)
    assert decode_payload(payload) == content
    assert parse_qs(urlsplit(deep_link("my_bot", "start", payload)).query, keep_blank_values=True)[
        "start"
    ] == ([payload] if payload else [""])


def test_texts_are_utf_8():
    assert decode_payload(encode_payload("привет:мир")) == "привет:мир".encode()


@pytest.mark.parametrize("payload", ["a", "Zg==", "Zh", "Zm9v\n", "Zm 9v", "é", "Zm9v+", "Zm9vYmFyQ"])
def test_a_payload_that_a_user_has_written_is_none(payload):
    assert decode_payload(payload) is None


@given(st.text(max_size=70))
def test_the_decoder_never_raises(payload):
    content = decode_payload(payload)
    assert content is None or encode_payload(content) == payload


def test_a_handler_reads_the_payload():
    router = Router()

    @router.message(command("start").payload)
    async def invited(ctx: MessageContext, payload: str) -> None:
        content = decode_payload(payload)
        ctx.reply("unknown link" if content is None else f"from {content.decode()}")

    @router.message(command("start"))
    async def start(ctx: MessageContext) -> None:
        ctx.reply("hello")

    with Conversations(router) as bot:
        ada = bot.chat("Ada")
        ada.says("/start " + encode_payload("friend:7"))
        assert ada.sees("from friend:7")
        ada.says("/start x")
        assert ada.sees("unknown link")
        ada.says("/start")
        assert ada.sees("hello")
        member = bot.group("Team").member("Ada")
        member.says("/start@test_bot " + encode_payload("team"))  # a startgroup link
        assert member.sees("from team")
