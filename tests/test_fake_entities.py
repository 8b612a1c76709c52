import pytest

from telegram.fake.answers import ApiError
from telegram.fake.entities import commands, parse_html, utf16_length


def spans(text):
    return [(found["offset"], found["length"]) for found in commands(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/start", [(0, 6)]),
        ("/start@chatlane_bot now", [(0, 19)]),
        ("well /help and /stop", [(5, 5), (15, 5)]),
        ("😀 /start", [(3, 6)]),
        ("ж/start", []),
        ("http://example.org/path", []),
        ("//start", []),
        ("/start/more", []),
        ("/" + "a" * 65, []),
        ("/start@ab", []),
        ("no command", []),
        ("/", []),
    ],
)
def test_commands(text, found):
    assert spans(text) == found


def test_utf16_length_counts_surrogate_pairs_and_lone_surrogates():
    assert [utf16_length(text) for text in ("abc", "ж", "😀", "\ud83d")] == [3, 1, 2, 1]


@pytest.mark.parametrize(
    ("source", "text", "entities"),
    [
        ("plain", "plain", []),
        ("<b>bold</b>", "bold", [("bold", 0, 4)]),
        ("<strong>a</strong><em>b</em>", "ab", [("bold", 0, 1), ("italic", 1, 1)]),
        ("😀<b>x<i>y</i></b>z", "😀xyz", [("bold", 2, 2), ("italic", 3, 1)]),
        ("1 &lt; 2 &amp;&amp; &#65;&#x42; &nbsp;", "1 < 2 && AB &nbsp;", []),
        ("<b></b>x", "x", []),
        ("<a>no address</a>", "no address", []),
        ('<span class="tg-spoiler">x</span>', "x", [("spoiler", 0, 1)]),
        ("<blockquote expandable>x</blockquote>", "x", [("expandable_blockquote", 0, 1)]),
    ],
)
def test_html(source, text, entities):
    parsed, found = parse_html(source)
    assert parsed == text
    assert [(entity["type"], entity["offset"], entity["length"]) for entity in found] == entities


def test_html_attributes():
    _, entities = parse_html('<a href="http://example.org/?a=1">x</a><code class="language-python">y</code>')
    assert entities == [
        {"type": "text_link", "offset": 0, "length": 1, "url": "http://example.org/?a=1"},
        {"type": "code", "offset": 1, "length": 1, "language": "python"},
    ]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("ж<x>", 'Unsupported start tag "x" at byte offset 2'),
        ("1 < 2", 'Unsupported start tag "" at byte offset 2'),
        ("<b>x", 'Can\'t find end tag corresponding to start tag "b"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
    ],
)
def test_html_that_cannot_be_parsed(source, reason):
    with pytest.raises(ApiError) as refusal:
        parse_html(source)
    assert (refusal.value.code, refusal.value.description) == (
        400,
        f"Bad Request: can't parse entities: {reason}",
    )
