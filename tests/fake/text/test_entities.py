import pytest

from telegram.fake.protocol.answers import ApiError
from telegram.fake.text.entities import commands, utf16_length, with_users
from telegram.fake.text.parse_html import parse_html

WRONG_SURROGATES = "Text contains invalid Unicode characters after decoding HTML entities, check for unmatched surrogate code units"


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
        ("<a>t.me</a>", "t.me", [("text_link", 0, 4)]),
        ('<a href="javascript://x">x</a>', "x", []),
        ("&lt&#60b&#x;&#1114111;&lx;", "<<b&#x;&#1114111;&lx;", []),
        ('<tg-time unix="now">x</tg-time>', "x", []),
        ('<span class="tg-spoiler">x</span>', "x", [("spoiler", 0, 1)]),
        ("<blockquote expandable>x</blockquote>", "x", [("expandable_blockquote", 0, 1)]),
    ],
)
def test_html(source, text, entities):
    parsed, found = parse_html(source)
    assert parsed == text
    assert [(entity["type"], entity["offset"], entity["length"]) for entity in found] == entities


def test_html_attributes():
    _, entities = parse_html('<a href="http://example.org/?a=1">x</a><a href=\'t.me/"\'>y</a>')
    assert entities == [
        {"type": "text_link", "offset": 0, "length": 1, "url": "http://example.org/?a=1"},
        {"type": "text_link", "offset": 1, "length": 1, "url": 'http://t.me/"'},
    ]


def only(source):
    """Return the only entity of a text."""
    text, (entity,) = parse_html(source)
    assert (entity["offset"], entity["length"]) == (0, utf16_length(text))
    return {name: value for name, value in entity.items() if name not in ("offset", "length")}


@pytest.mark.parametrize(
    ("source", "entity"),
    [
        (
            '<a href="http://example.org/?a=1&amp;b=&quot;&#39;&lt;">x</a>',
            {"type": "text_link", "url": "http://example.org/?a=1&b=\"'<"},
        ),
        ('<a href="tg://user?id=42">x</a>', {"type": "text_mention", "user": {"id": 42}}),
        ('<a href="tg://user?id=x">x</a>', {"type": "text_link", "url": "tg://user?id=x"}),
        ('<tg-emoji emoji-id="53681">👍</tg-emoji>', {"type": "custom_emoji", "custom_emoji_id": "53681"}),
        ('<tg-time unix="1647531900">x</tg-time>', {"type": "date_time", "unix_time": 1647531900}),
        (
            '<tg-time unix="1647531900" format="wDT">x</tg-time>',
            {"type": "date_time", "unix_time": 1647531900, "date_time_format": "wDT"},
        ),
        ('<pre><code class="language-c&amp;">x</code></pre>', {"type": "pre", "language": "c&"}),
        ('<code class="language-c"><pre>x</pre></code>', {"type": "pre", "language": "c"}),
        ('<code class="language-c">x</code>', {"type": "code"}),
        ("<pre>x</pre>", {"type": "pre"}),
    ],
)
def test_html_attributes_say_more(source, entity):
    assert only(source) == entity


def test_a_block_with_a_piece_of_code_in_it_is_two():
    _, entities = parse_html('<pre>a<code class="language-c">b</code></pre><pre><code>c</code></pre>')
    assert [(entity["type"], entity["offset"], entity["length"]) for entity in entities] == [
        ("pre", 0, 2),
        ("code", 1, 1),
        ("pre", 2, 1),
        ("code", 2, 1),
    ]
    assert not [entity for entity in entities if "language" in entity]


ANN = {"id": 42, "is_bot": False, "first_name": "Ann"}


def users(user_id):
    return ANN if user_id == 42 else None


def test_a_mention_gets_its_user():
    _, entities = parse_html('<a href="tg://user?id=42">x</a><b>y</b>')
    known = with_users({"text": "xy", "entities": entities}, users)
    mention = {"type": "text_mention", "offset": 0, "length": 1, "user": ANN}
    assert known == {"text": "xy", "entities": [mention, {"type": "bold", "offset": 1, "length": 1}]}


@pytest.mark.parametrize("named", [{}, {"user": {"id": 43}}, {"user": {"id": []}}, {"user": 42}])
def test_a_mention_of_an_unknown_user_is_plain_text(named):
    mention = {"type": "text_mention", "offset": 0, "length": 1, **named}
    bold = {"type": "bold", "offset": 0, "length": 1}
    content = {"caption": "x", "caption_entities": [mention, bold]}
    assert with_users(content, users)["caption_entities"] == [bold]
    assert with_users({"text": "x", "entities": [mention]}, users) == {"text": "x"}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("ж<x>", 'Unsupported start tag "x" at byte offset 2'),
        ("1 < 2", 'Unsupported start tag "" at byte offset 2'),
        ("<tg-emoji>x</tg-emoji>", "Invalid custom emoji identifier specified"),
        ('<tg-emoji emoji-id="-5">x</tg-emoji>', "Invalid custom emoji identifier specified"),
        ('<tg-time unix="5" format="x">x</tg-time>', "Invalid date format used"),
        ("<b", "Unclosed start tag at byte offset 0"),
        ("<b x", 'Unclosed start tag "b" at byte offset 0'),
        ("<b ", 'Empty attribute name in the tag "b" at byte offset 0'),
        ("<a href=", 'Unclosed start tag "a" at byte offset 0'),
        ('<a href="x', "Unclosed start tag at byte offset 0"),
        ("<a href=x/y>z</a>", "Unexpected end of name token at byte offset 8"),
        ('<a href="x"/>z', 'Empty attribute name in the tag "a" at byte offset 0'),
        ("<b>x</b", "Unclosed end tag at byte offset 4"),
        ('<span class="big">x</span>', 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
        ("<br>", 'Unsupported start tag "br" at byte offset 0'),
        (
            "&#xd83d;",
            WRONG_SURROGATES,
        ),
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
