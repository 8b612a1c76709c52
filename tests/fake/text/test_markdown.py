"""parse_mode MarkdownV2 and Markdown at the fake server. Rules: tdlib/td, MessageEntity.cpp, parse_markdown_v2 and
parse_markdown; Telegram Bot API, "Formatting options".

Met by others: python-telegram-bot/python-telegram-bot#1967 and #2371, n3d1117/chatgpt-telegram-bot#151,
bostrot/telegram-support-bot#149.
"""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telegram.fake.protocol.answers import ApiError
from telegram.fake.text.formatting import formatted
from telegram.fake.text.parse_markdown import parse_markdown, parse_markdown_v2
from telegram.text import escape_markdown, to_markdown
from tests.text.test_text import MANY, QUOTES, painted, read_markdown
from tests.text.test_text import formatted as any_text


def told(found):
    text, entities = found
    return text, [(each["type"], each["offset"], each["length"]) for each in entities]


def refused(parse, source):
    with pytest.raises(ApiError) as refusal:
        parse(source)
    assert refusal.value.code == 400
    return refusal.value.description.removeprefix("Bad Request: can't parse entities: ")


@pytest.mark.parametrize(
    ("source", "text", "entities"),
    [
        ("plain", "plain", []),
        ("*b* _i_ __u__ ~s~ ||h|| `c`", "b i u s h c", [
            ("bold", 0, 1), ("italic", 2, 1), ("underline", 4, 1), ("strikethrough", 6, 1), ("spoiler", 8, 1),
            ("code", 10, 1),
        ]),
        ("*bold _italic_*", "bold italic", [("bold", 0, 11), ("italic", 5, 6)]),
        ("😀*é*", "😀é", [("bold", 2, 1)]),
        (r"1\. a\_b \*c\\", r"1. a_b *c" + "\\", []),
        ("**x", "x", []),
        ("`a*b.c`", "a*b.c", [("code", 0, 5)]),
        ("```\nx\n```", "x\n", [("pre", 0, 2)]),
        ("```py\nx```", "x", [("pre", 0, 1)]),
        ("```py```", "py", [("pre", 0, 2)]),
        (">a\n>b\nc", "a\nb\nc", [("blockquote", 0, 4)]),
        (">a\n>b||", "a\nb", [("expandable_blockquote", 0, 3)]),
        (">a||\nb", "a\nb", [("expandable_blockquote", 0, 2)]),
        ("[x](t.me/y)[z]", "xz", [("text_link", 0, 1)]),
        ("[x](http://e.org/\\))", "x", [("text_link", 0, 1)]),
        ("![👍](tg://emoji?id=53)", "👍", [("custom_emoji", 0, 2)]),
        ("![x](tg://time?unix=5&format=r)", "x", [("date_time", 0, 1)]),
        ("end\\", "end\\", []),
        ("_a\r__b__\r_", "a\rb\r", [("italic", 0, 4), ("underline", 2, 1)]),
    ],
)  # fmt: skip
def test_markdown_v2(source, text, entities):
    assert told(parse_markdown_v2(source)) == (text, entities)


@pytest.mark.parametrize(
    ("source", "entity"),
    [
        ("[x](tg://user?id=42)", {"type": "text_mention", "user": {"id": 42}}),
        ("[x](e.org)", {"type": "text_link", "url": "http://e.org/"}),
        ("[x](HTTPS://E.org:080/a b#c)", {"type": "text_link", "url": "https://e.org:80/a%20b#c"}),
        ("[x](tg://resolve?domain=a)", {"type": "text_link", "url": "tg://resolve?domain=a"}),
        ("```c++\nx```", {"type": "pre", "language": "c++"}),
        ("![x](tg://time?unix=5&format=wD)", {"type": "date_time", "unix_time": 5, "date_time_format": "wD"}),
    ],
)
def test_markdown_v2_has_more_entities(source, entity):
    assert parse_markdown_v2(source)[1] == [{"offset": 0, "length": 1, **entity}]


@pytest.mark.parametrize(
    "url", ["", "x", "e.org:0", "e.org:99999", "ftp://e.org", "a b.org", "mailto:a", "tg:a.b"]
)
def test_what_is_no_address_is_no_link(url):
    """tdlib/td, LinkManager.cpp, check_link_impl: silently."""
    assert parse_markdown_v2(f"[x]({escape_markdown(url, 'link')})") == ("x", [])
    assert parse_markdown(f"[x]({url})") == ("x", [])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("é*bold", "Can't find end of Bold entity at byte offset 2"),
        ("_a", "Can't find end of Italic entity at byte offset 0"),
        ("__a_", "Can't find end of Italic entity at byte offset 3"),
        ("a __b", "Can't find end of Underline entity at byte offset 2"),
        ("~a", "Can't find end of Strikethrough entity at byte offset 0"),
        ("||a", "Can't find end of Spoiler entity at byte offset 0"),
        ("`a", "Can't find end of Code entity at byte offset 0"),
        ("```\na", "Can't find end of Pre entity at byte offset 0"),
        ("```py\na", "Can't find end of PreCode entity at byte offset 0"),
        ("[a", "Can't find end of TextUrl entity at byte offset 0"),
        ("![a", "Can't find end of CustomEmoji entity at byte offset 0"),
        (">*a\nb", "Can't find end of Bold entity at byte offset 1"),
        (">*a||\nb", "Can't find end of Bold entity at byte offset 1"),
        (">*a", "Can't find end of Bold entity at byte offset 1"),
        ("*_a*_", "Can't find end of Italic entity at byte offset 4"),
        ("[a](b", "Can't find end of a URL at byte offset 4"),
        ("![a]", "The entity must contain a tg://emoji or tg://time URL"),
        ("![a](t.me)", "Invalid tg://emoji or tg://time URL specified"),
        *[
            (f"a {sign} b", f"Character '{sign}' is reserved and must be escaped with the preceding '\\'")
            for sign in "])(>#+-=|{}.!"
        ],
    ],
)
def test_markdown_v2_that_is_refused(source, reason):
    assert refused(parse_markdown_v2, source) == reason


@pytest.mark.parametrize(
    ("source", "text", "entities"),
    [
        ("*b* _i_ `c`", "b i c", [("bold", 0, 1), ("italic", 2, 1), ("code", 4, 1)]),
        ("1. (a) ~b~ > c!", "1. (a) ~b~ > c!", []),
        (r"a\_b \*c \. \~", r"a_b *c \. \~", []),
        ("*a_b*", "a_b", [("bold", 0, 3)]),
        ("```py\nx\n```", "x\n", [("pre", 0, 2)]),
        ("[x](http://e.org/a_b)", "x", [("text_link", 0, 1)]),
        ("[x](http://e.org", "x", [("text_link", 0, 1)]),
        ("[x]()", "x", []),
        ("[t.me]", "t.me", [("text_link", 0, 4)]),
        ("[x](tg://user?id=42)", "x", [("text_mention", 0, 1)]),
        ("**", "", []),
    ],
)
def test_legacy_markdown(source, text, entities):
    assert told(parse_markdown(source)) == (text, entities)


@pytest.mark.parametrize(
    ("source", "at"), [("user_name", 4), ("é*a", 2), ("`a", 0), ("[a", 0), ("```a``", 0), ("__a_", 3)]
)
def test_legacy_markdown_that_is_refused(source, at):
    assert refused(parse_markdown, source) == f"Can't find end of the entity starting at byte offset {at}"


@pytest.mark.parametrize(
    ("parse", "source", "reason"),
    [
        # python-telegram-bot/python-telegram-bot#1967: a link with an underscore in a text
        (
            parse_markdown,
            "read t.me/I_D_Network/4710?e_1",
            "Can't find end of the entity starting at byte offset 28",
        ),
        # n3d1117/chatgpt-telegram-bot#151: the name of a parameter
        (
            parse_markdown,
            "pass it in the parse_mode field",
            "Can't find end of the entity starting at byte offset 20",
        ),
        # python-telegram-bot/python-telegram-bot#2371: escaped for the older parse_mode
        (
            parse_markdown_v2,
            "a test .. done",
            "Character '.' is reserved and must be escaped with the preceding '\\'",
        ),
        # bostrot/telegram-support-bot#149: a piece of a program
        (
            parse_markdown_v2,
            "Test (\n'a' => 'b'",
            "Character '(' is reserved and must be escaped with the preceding '\\'",
        ),
    ],
)
def test_what_others_met(parse, source, reason):
    assert refused(parse, source) == reason


SIGNS = "ab _*[]()~`>#+-=|{}.!\\\n\r😀é"


@MANY
@given(st.text(SIGNS))
@example(">||\n||")
@example(">a\r||\r\n||")
@example("||>a\n")
def test_whatever_is_written_is_text_with_entities_or_a_refusal(source):
    for parse in (parse_markdown, parse_markdown_v2):
        try:
            text, entities = parse(source)
        except ApiError as refusal:
            assert refusal.description.startswith("Bad Request: can't parse entities: ")
            continue
        borders = {0}
        for letter in text:
            borders.add(max(borders) + (2 if letter > "\uffff" else 1))
        assert {each["offset"] for each in entities} <= borders
        assert {each["offset"] + each["length"] for each in entities} <= borders


@MANY
@given(st.text())
def test_escaped_text_is_the_text_again(text):
    assert parse_markdown_v2(escape_markdown(text)) == (text, [])


STYLES = ("bold", "italic", "underline", "strikethrough", "spoiler")


def acceptable(entities):
    """What the server takes: hosts with a dot, dates of 31 bits."""
    dated = [each for each in entities if each.get("unix_time") != 2**31]
    return [
        each | ({"url": each["url"].replace("//e/", "//e.org/")} if "url" in each else {}) for each in dated
    ]


@MANY
@given(any_text())
def test_what_is_made_for_markdown_v2_is_read_as_it_was_meant(both):
    source = to_markdown(both[0], acceptable(both[1]))
    text, found = parse_markdown_v2(source)
    expected, read = read_markdown(source)
    assert text == expected
    assert painted(text, found) == painted(text, read)


@MANY
@given(any_text())
def test_entities_that_may_not_be_where_they_are_go(both):
    """Telegram Bot API, "Formatting options": code holds no entity, quotations do not nest, nothing else overlaps."""
    text, found = formatted(both[0], "", acceptable(both[1]))
    spans = [(each["type"], each["offset"], each["offset"] + each["length"]) for each in found]
    assert all(0 <= begin < end <= len(text.encode("utf-16-le")) // 2 for _, begin, end in spans)
    firm = {kind for kind, *_ in spans} - {*STYLES, *QUOTES}
    codes = firm & {"code", "pre", "date_time"}
    for kinds in (set(QUOTES), firm, *[{*codes, style} for style in STYLES]):
        alike = [(begin, end) for kind, begin, end in spans if kind in kinds]
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(alike))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("  x \n", "x"),
        ("a\tb\r\nc", "a b\nc"),
        ("\u2028a\u202e", "a"),
        ("\u200b\u2800\xa0", ""),
        (" \n ", ""),
        ("\xa0x\xa0", "\xa0x\xa0"),
    ],
)
def test_blanks_and_control_characters(source, text):
    """tdlib/td, misc.cpp, clean_input_string and strip_empty_characters."""
    assert formatted(source, "", []) == (text, [])


def test_blanks_inside_an_entity_stay_at_the_begin():
    assert formatted(" * a* ", "MarkdownV2", []) == (" a", [{"type": "bold", "offset": 0, "length": 2}])


def test_a_character_that_goes_moves_the_entities_behind_it():
    assert formatted("a\rb*c\rd*", "MarkdownV2", []) == ("abcd", [{"type": "bold", "offset": 2, "length": 2}])


def test_commands_are_found_beside_other_entities():
    _, found = formatted("*x* /help `/no`", "MarkdownV2", [])
    assert [(each["type"], each["offset"]) for each in found] == [
        ("bold", 0),
        ("bot_command", 2),
        ("code", 8),
    ]


def test_formats_that_touch_are_one():
    assert formatted("<b>a</b><b>b</b>", "HTML", []) == ("ab", [{"type": "bold", "offset": 0, "length": 2}])


def test_the_source_has_a_limit_of_its_own():
    """telegram-bot-api, Client.cpp, get_formatted_text: 32 KiB, before the markup is read."""
    with pytest.raises(ApiError, match="text is too long"):
        formatted("x" * 32769, "", [])


@MANY
@given(st.text("ab /\n\té", max_size=8))
def test_usual_texts_take_a_short_way_to_the_same_result(source):
    assert formatted(source, "", []) == formatted(source, "none", [])
