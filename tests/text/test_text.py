"""Formatted text: offsets, markup read back by independent parsers, and splitting."""

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from telegram.fake.text.entities import utf16_length
from telegram.fake.text.parse_html import parse_html
from telegram.text import (
    TEXT_MAX,
    Text,
    bold,
    code,
    custom_emoji,
    escape_html,
    escape_markdown,
    italic,
    link,
    mention,
    pre,
    quote,
    split,
    spoiler,
    strike,
    to_html,
    to_markdown,
    underline,
    utf16_len,
    utf16_slice,
)

FAMILY = "👨‍👩‍👧"  # three people and two joiners: 8 UTF-16 units, one grapheme cluster
STYLES = ("bold", "italic", "underline", "strikethrough", "spoiler")
QUOTES = ("blockquote", "expandable_blockquote")
CODES = ("pre", "code")
MANY = settings(max_examples=200, deadline=None)  # machines that test are slow at times
LAYERS = (*QUOTES, *CODES, "date_time", "text_link", "text_mention", *STYLES, "custom_emoji")


# Readers of markup, written from the documented rules (Telegram Bot API, Formatting options).


def addressed(address, offset, length):
    """Return the entity for the URL of a link."""
    where = {"offset": offset, "length": length}
    parts = urlsplit(address) if address.startswith("tg://") else None
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} if parts else {}
    match parts and parts.netloc:
        case "user":
            return {"type": "text_mention", **where, "user": {"id": int(query["id"])}}
        case "emoji":
            return {"type": "custom_emoji", **where, "custom_emoji_id": query["id"]}
        case "time":
            form = {"date_time_format": query["format"]} if "format" in query else {}
            return {"type": "date_time", **where, "unix_time": int(query["unix"]), **form}
    return {"type": "text_link", **where, "url": address}


class MarkdownReader:
    """MarkdownV2, strictly: ValueError where Telegram would refuse it."""

    MARKS = {"bold": "*", "italic": "_", "underline": "__", "strikethrough": "~", "spoiler": "||"} | {
        "code": "`",
        "pre": "```",
    }

    def __init__(self, source):
        self.source, self.at, self.text = source, 0, ""
        self.entities: list[dict[str, Any]] = []
        self.open: list[tuple[str, int, int, str]] = []  # kind, offset, position in the source, language
        self.line_begins = True
        while self.at < len(source):
            self.step()
        if self.quoting:
            self.end_quote(len(source))
        if self.open:
            raise ValueError(f"no end of {self.open[-1]}")

    @property
    def top(self):
        return self.open[-1][0] if self.open else None

    @property
    def quoting(self):
        return any(kind == "quote" for kind, *_ in self.open)

    def ahead(self, mark):
        return self.source.startswith(mark, self.at)

    def take(self, text, line_begins):
        self.text += text
        self.line_begins = line_begins

    def step(self):
        sign = self.source[self.at]
        following = self.source[self.at + 1 : self.at + 2]
        if sign == "\\" and following and 0 < ord(following) <= 126:
            self.take(following, following == "\n")
            self.at += 2
        elif sign not in ("`" if self.top in CODES else "_*[]()~`>#+-=|{}.!\n"):
            self.take(sign, False)
            self.at += 1
        elif sign == "\n" and self.quoting and following != ">":
            self.end_quote(self.at)
            self.at += 1
        elif self.ends():
            self.close()
        else:
            self.begin(sign)

    def ends(self):
        if self.top == "italic":
            return self.ahead("_") and not self.ahead("__")
        if self.top in ("label", "picture"):
            return self.ahead("]")
        return self.top in self.MARKS and self.ahead(self.MARKS[self.top])

    def close(self):
        kind, offset, _, language = self.open.pop()
        length = utf16_length(self.text) - offset
        if kind in self.MARKS:
            self.at += len(self.MARKS[kind])
            entity = {"type": kind, "offset": offset, "length": length}
            entity |= {"language": language} if language else {}
        else:
            found = re.compile(r"\]\(((?:\\.|[^\\)])*)\)", re.DOTALL).match(self.source, self.at)
            if not found:
                raise ValueError(f"no address at {self.at}")
            self.at = found.end()
            entity = addressed(re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL), offset, length)
        self.entities += [entity] if length else []

    def begin(self, sign):
        language = ""
        if sign == "\n":
            self.take("\n", True)
            self.at += 1
            return
        if sign == ">" and self.line_begins:
            self.at += 1
            if self.quoting:
                return
            kind = "quote"
        elif self.ahead("```"):
            kind, language = "pre", self.language()
        elif self.ahead("!["):
            kind = "picture"
            self.at += 2
        elif sign == "[":
            kind = "label"
            self.at += 1
        else:
            kind = next((mark for mark in ("underline", *self.MARKS) if self.ahead(self.MARKS[mark])), "")
            if not kind:
                raise ValueError(f"{sign} is reserved at {self.at}")
            self.at += len(self.MARKS[kind])
        self.open.append((kind, utf16_length(self.text), self.at, language))

    def language(self):
        found = re.compile(r"```([^\s`]*)\n?").match(self.source, self.at)
        assert found
        self.at = found.end()
        return found[1]

    def end_quote(self, at):
        kind = "blockquote"
        if self.top == "spoiler" and self.open[-1][2] == at:
            kind = "expandable_blockquote"
            self.open.pop()
        opened, offset, *_ = self.open.pop()
        if opened != "quote":
            raise ValueError(f"no end of {opened} at {at}")
        if at < len(self.source):
            self.take("\n", True)
        self.entities.append({"type": kind, "offset": offset, "length": utf16_length(self.text) - offset})


TAGS = {"b": "bold", "i": "italic", "u": "underline", "s": "strikethrough", "tg-spoiler": "spoiler"}


class HtmlReader(HTMLParser):
    """parse_mode HTML, strictly."""

    def __init__(self, source):
        super().__init__()
        self.text, self.language = "", ""
        self.entities: list[dict[str, Any]] = []
        self.open: list[tuple[str, int, dict[str, str | None]]] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append((tag, utf16_length(self.text), dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def handle_endtag(self, tag):
        opened, offset, attributes = self.open.pop()
        assert opened == tag
        where = {"offset": offset, "length": utf16_length(self.text) - offset}
        assert where["length"], "an empty entity is noise"
        if tag in TAGS or tag == "pre":
            self.entities.append({"type": TAGS.get(tag, tag), **where})
            if tag == "pre" and self.entities[-2:-1] == [{"type": "pre code", **where}]:
                self.entities[-2:] = [{"type": "pre", **where, "language": self.language}]
        elif tag == "code":
            self.language = (attributes.get("class") or "").removeprefix("language-")
            self.entities.append({"type": "pre code" if self.language else "code", **where})
        elif tag == "blockquote":
            kind = "expandable_blockquote" if "expandable" in attributes else "blockquote"
            self.entities.append({"type": kind, **where})
        elif tag == "a":
            self.entities.append(addressed(attributes["href"], *where.values()))
        elif tag == "tg-emoji":
            self.entities.append({"type": "custom_emoji", **where, "custom_emoji_id": attributes["emoji-id"]})
        else:
            assert tag == "tg-time"
            form = {"date_time_format": attributes["format"]} if "format" in attributes else {}
            entity = {"type": "date_time", **where, "unix_time": int(attributes["unix"] or ""), **form}
            self.entities.append(entity)


def read_markdown(source):
    reader = MarkdownReader(source)
    return reader.text, reader.entities


def read_html(source):
    reader = HtmlReader(source)
    return reader.text, reader.entities


def first_of(entities):
    """Keep the first of overlapping entities, of those with the same start the longer."""
    kept: list[dict[str, Any]] = []
    for entity in sorted(entities, key=lambda e: (e["offset"], -e["length"], LAYERS.index(e["type"]))):
        if entity["length"] and (not kept or entity["offset"] >= kept[-1]["offset"] + kept[-1]["length"]):
            kept.append(entity)
    return kept


def painted(text, entities):
    """Return for each character its visible format: (character, styles, quotation, other entities)."""
    quotes = first_of(e for e in entities if e["type"] in QUOTES)
    solids = first_of(e for e in entities if e["type"] in LAYERS and e["type"] not in (*QUOTES, *STYLES))
    styles = [e for e in entities if e["type"] in STYLES]
    seen, offset = [], 0
    for character in text:
        quoted = [e["type"] for e in quotes if e["offset"] <= offset < e["offset"] + e["length"]]
        solid = [bare(e) for e in solids if e["offset"] <= offset < e["offset"] + e["length"]]
        within = {e["type"] for e in styles if e["offset"] <= offset < e["offset"] + e["length"]}
        coded = solid and solid[0]["type"] in CODES
        seen.append((character, set() if coded else within, quoted, solid))
        offset += utf16_length(character)
    return seen


def bare(entity):
    return {name: entity[name] for name in entity if name not in ("offset", "length")}


def without(signs, paint):
    return [seen for seen in paint if seen[0] not in signs]


def entity(kind, offset, length, **more):
    return {"type": kind, "offset": offset, "length": length, **more}


MORE = {
    "text_link": st.fixed_dictionaries({"url": st.text('a)(\\"&<>_', max_size=3).map("http://e/".__add__)}),
    "text_mention": st.fixed_dictionaries({"user": st.fixed_dictionaries({"id": st.integers(1, 2**52)})}),
    "custom_emoji": st.fixed_dictionaries({"custom_emoji_id": st.integers(1, 9**9).map(str)}),
    "date_time": st.fixed_dictionaries(
        {"unix_time": st.integers(1, 2**31)}, optional={"date_time_format": st.sampled_from(["r", "wDT"])}
    ),
    "pre": st.fixed_dictionaries({}, optional={"language": st.sampled_from(["c++", 'a"\\b', "_"])}),
}


@st.composite
def formatted(draw, alphabet="ab _*[]()~`>#+-=|{}.!\\\n\n\n&<\"'😀é", size=30):
    """A text and any entities, nested or not."""
    text = draw(st.text(alphabet, max_size=size))
    entities = []
    for kind in draw(st.lists(st.sampled_from(LAYERS), max_size=6)):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        more = draw(MORE.get(kind, st.just({})))
        entities.append(
            entity(kind, utf16_length(text[:start]), utf16_length(text[start:end]), **more),
        )
    return text, entities


# The readers themselves


def test_the_reader_of_markdown_reads_the_documented_example():
    source = "*bold _italic ~struck ||hidden||~ __both___ bold*\n>q\n**>x\n>y||\nz"
    text, found = read_markdown(source)
    assert text == "bold italic struck hidden both bold\nq\nx\ny\nz"
    assert sorted((e["type"], utf16_slice(text, e["offset"], e["length"])) for e in found) == [
        ("blockquote", "q\n"),
        ("bold", "bold italic struck hidden both bold"),
        ("expandable_blockquote", "x\ny\n"),
        ("italic", "italic struck hidden both"),
        ("spoiler", "hidden"),
        ("strikethrough", "struck hidden"),
        ("underline", "both"),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "a.b",
        "a > b",
        "*a",
        "a|b",
        "!",
        "]",
        "_a__b_",
        "___a___",
        "[a]",
        "[a](b",
        "![a]",
        "```a``",
        ">*a\nb*",
        "*>a*",
    ],
)
def test_the_reader_of_markdown_refuses(source):
    with pytest.raises(ValueError, match=r"reserved|no end|no address"):
        read_markdown(source)


# Units


@pytest.mark.parametrize(
    ("text", "units"),
    [("", 0), ("abc", 3), ("שלום", 4), ("漢字", 2), ("😀", 2), (FAMILY, 8), ("e\u0301", 2), ("\ud83d", 1)],
)
def test_utf16_len(text, units):
    assert utf16_len(text) == units


@MANY
@given(st.text("aé😀漢"), st.data())
def test_utf16_slice_is_the_slice_of_the_encoded_text(text, data):
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    offset, length = utf16_len(text[:start]), utf16_len(text[start:end])
    assert utf16_slice(text, offset, length) == text[start:end]
    assert utf16_slice(text, offset, length + 1000) == text[start:]


def test_utf16_slice_rounds_the_middle_of_a_pair_to_its_begin():
    assert utf16_slice("😀😀x", 1, 2) == "😀"


# Building


def test_offsets_count_utf16_units():
    made = Text("😀 ", bold("né", italic("漢😀")), ", ", link("this", "http://e/"), 5)
    assert made.text == "😀 né漢😀, this5"
    assert made.entities == [
        entity("bold", 3, 5),
        entity("italic", 5, 3),
        entity("text_link", 10, 4, url="http://e/"),
    ]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (bold("x"), entity("bold", 0, 1)),
        (italic("x"), entity("italic", 0, 1)),
        (underline("x"), entity("underline", 0, 1)),
        (strike("x"), entity("strikethrough", 0, 1)),
        (spoiler("x"), entity("spoiler", 0, 1)),
        (quote("x"), entity("blockquote", 0, 1)),
        (quote("x", expandable=True), entity("expandable_blockquote", 0, 1)),
        (code("x"), entity("code", 0, 1)),
        (pre("x"), entity("pre", 0, 1)),
        (pre("x", "python"), entity("pre", 0, 1, language="python")),
        (link("x", "http://e/"), entity("text_link", 0, 1, url="http://e/")),
        (custom_emoji("👍", "53"), entity("custom_emoji", 0, 2, custom_emoji_id="53")),
        (
            mention(7, Text("A", bold("b"))),
            entity("text_mention", 0, 2, user={"id": 7, "is_bot": False, "first_name": "Ab"}),
        ),
    ],
)
def test_each_kind(made, expected):
    assert made.entities[0] == expected


def test_nothing_is_never_marked():
    assert Text("a", bold(""), link("", "http://e/")) == Text("a")


def test_a_text_cannot_be_changed():
    part = bold("x")
    part.entities[0]["offset"] = 9
    again = Text("ab", part, part)
    assert [found["offset"] for found in again.entities] == [2, 3]
    assert part.entities == [entity("bold", 0, 1)]
    with pytest.raises(AttributeError):
        part.text = "y"  # type: ignore[misc]


def test_a_received_text_becomes_a_part():
    marked = entity("bold", 2, 1)
    received = Text.of("😀b", [marked])
    marked["offset"] = 0
    assert quote("> ", received).entities == [entity("blockquote", 0, 5), entity("bold", 4, 1)]


TREES = st.recursive(
    st.text("aé😀漢\u0301 "),
    lambda inner: st.tuples(st.sampled_from((bold, italic, quote, Text)), st.lists(inner, max_size=4)),
)


@MANY
@given(TREES)
def test_each_entity_marks_the_string_that_was_marked(tree):
    marked: list[str] = []

    def build(node):
        if isinstance(node, str):
            return node
        kind, inner = node
        place = len(marked)
        made = kind(*map(build, inner))
        if made.text and kind is not Text:
            marked.insert(place, made.text)
        return made

    made = Text(build(tree))
    assert [utf16_slice(made.text, e["offset"], e["length"]) for e in made.entities] == marked


# Escaping


@MANY
@given(st.text())
@example("&lt;&amp; <b>&#65;")
def test_escaped_html_is_the_text_again(text):
    assert parse_html(escape_html(text)) == (text, [])
    assert read_html(escape_html(text)) == (text, [])
    assert read_html(f'<a href="http://{escape_html(text)}">x</a>')[1][0]["url"] == f"http://{text}"


@MANY
@given(st.text())
@example("_*[]()~`>#+-=|{}.!\\\n>")
def test_escaped_markdown_is_the_text_again(text):
    assert read_markdown(escape_markdown(text)) == (text, [])
    assert read_markdown(f"`{escape_markdown(text, 'code')}`")[0] == text
    [address] = read_markdown(f"[x](http://{escape_markdown(text, 'link')})")[1]
    assert address["url"] == f"http://{text}"


# Markup


@pytest.mark.parametrize(
    ("made", "html", "markdown"),
    [
        (Text("1 < 2 & 3."), "1 &lt; 2 &amp; 3.", "1 < 2 & 3\\."),
        (Text("😀", bold("é", italic("x")), "z"), "😀<b>é<i>x</i></b>z", "😀*é_x_*z"),
        (italic(underline("x")), "<i><u>x</u></i>", "_**__x___"),
        (underline("a", italic("x")), "<u>a<i>x</i></u>", "__a_x_**__"),
        (Text(italic("a"), underline("b")), "<i>a</i><u>b</u>", "_a_**__b__"),
        (Text(underline("a"), italic("b")), "<u>a</u><i>b</i>", "__a___b_"),
        (Text(italic("a"), italic("b")), "<i>ab</i>", "_ab_"),
        (Text(bold("a"), code("b")), "<b>a</b><code>b</code>", "*a*`b`"),
        (bold("a", code("b")), "<b>a</b><code>b</code>", "*a*`b`"),
        (bold("a ", link("b", "http://e/)")), '<b>a <a href="http://e/)">b</a></b>', "*a [b](http://e/\\))*"),
        (strike("a", spoiler("b")), "<s>a<tg-spoiler>b</tg-spoiler></s>", "~a||b||~"),
        (link("x", 'http://e/"&'), '<a href="http://e/&quot;&amp;">x</a>', '[x](http://e/"&)'),
        (mention(7, "A"), '<a href="tg://user?id=7">A</a>', "[A](tg://user?id=7)"),
        (custom_emoji("👍", "53"), '<tg-emoji emoji-id="53">👍</tg-emoji>', "![👍](tg://emoji?id=53)"),
        (code("a`\\_"), "<code>a`\\_</code>", "`a\\`\\\\_`"),
        (pre("x\n"), "<pre>x\n</pre>", "```\nx\n```"),
        (pre("x", "c"), '<pre><code class="language-c">x</code></pre>', "```c\nx```"),
        (pre("x", "c d"), '<pre><code class="language-c d">x</code></pre>', "```\nx```"),
        (Text("a\n", quote("b\nc"), "\nd"), "a\n<blockquote>b\nc</blockquote>\nd", "a\n>b\n>c\nd"),
        (Text("a\n", bold(quote("\n")), "b"), "a\n<blockquote><b>\n</b></blockquote>b", "a\n\nb"),
        (quote("a", expandable=True), "<blockquote expandable>a</blockquote>", ">a||"),
        (
            Text(quote("a\n"), quote("b", expandable=True), "\n", quote("c")),
            "<blockquote>a\n</blockquote><blockquote expandable>b</blockquote>\n<blockquote>c</blockquote>",
            ">a\n**>b||\n**>c",
        ),
        (Text("a", quote("b"), "c"), "a<blockquote>b</blockquote>c", "a\n>b\nc"),
        (
            bold("a\n", quote("b\n"), "c"),
            "<b>a\n</b><blockquote><b>b\n</b></blockquote><b>c</b>",
            "*a\n*>*b*\n*c*",
        ),
        (quote(pre("a\nb\n")), "<blockquote><pre>a\nb\n</pre></blockquote>", ">```\na\nb```\n"),
        (Text(pre("a\n"), quote("b")), "<pre>a\n</pre><blockquote>b</blockquote>", "```\na\n```\n>b"),
    ],
)
def test_markup(made, html, markdown):
    assert to_html(made) == html
    assert to_markdown(made) == markdown
    assert to_html(made.text, made.entities) == html
    assert to_markdown(made.text, made.entities) == markdown


def test_a_date_needs_no_format():
    plain = entity("date_time", 0, 1, unix_time=5)
    assert to_html("x", [plain]) == '<tg-time unix="5">x</tg-time>'
    assert to_markdown("x", [plain]) == "![x](tg://time?unix=5)"
    assert to_html("x", [{**plain, "date_time_format": "r"}]) == '<tg-time unix="5" format="r">x</tg-time>'
    assert to_markdown("x", [{**plain, "date_time_format": "r"}]) == "![x](tg://time?unix=5&format=r)"


def test_what_telegram_finds_itself_needs_no_markup():
    assert to_html("@name #tag", [entity("mention", 0, 5), entity("hashtag", 6, 4)]) == "@name #tag"


def test_styles_that_cross_are_closed_and_opened_again():
    crossing = [entity("bold", 0, 2), entity("italic", 1, 2), entity("text_link", 2, 2, url="u")]
    assert to_html("abcd", crossing) == '<b>a<i>b</i></b><a href="u"><i>c</i>d</a>'


def test_of_two_links_that_overlap_the_first_counts():
    both = [entity("text_link", 1, 2, url="v"), entity("text_link", 0, 2, url="u")]
    assert to_html("abc", both) == '<a href="u">ab</a>c'


@MANY
@given(formatted())
def test_html_reads_back(both):
    text, found = read_html(to_html(*both))
    assert text == both[0]
    assert painted(text, found) == painted(*both)


@MANY
@given(formatted())
def test_markdown_reads_back(both):
    text, found = read_markdown(to_markdown(*both))
    quoted = any(e["type"] in QUOTES for e in both[1])
    assert text == both[0] or (quoted and text.replace("\n", "") == both[0].replace("\n", ""))
    expected = painted(*both)
    assert without("\n" if quoted else "", painted(text, found)) == without("\n" if quoted else "", expected)


@MANY
@given(formatted())
def test_the_fake_server_reads_the_html(both):
    unknown_to_it = ("custom_emoji", "date_time", "pre", "text_mention")
    entities = [e for e in both[1] if e["type"] not in unknown_to_it and '"' not in e.get("url", "")]
    text, _ = parse_html(to_html(both[0], entities))
    assert text == both[0]


@pytest.mark.parametrize("work", [to_html, to_markdown, split])
def test_a_text_has_its_own_entities(work):
    with pytest.raises(ValueError, match="its own"):
        work(Text("x"), [entity("bold", 0, 1)])


# Splitting


def texts(*args, **named):
    return [text for text, _ in split(*args, **named)]


def test_what_fits_is_left_alone():
    whole = Text(" ", bold("a"), "\n")
    assert split(whole) == [(whole.text, whole.entities)]
    assert split("a" * TEXT_MAX) == [("a" * TEXT_MAX, [])]
    assert len(split("a" * (TEXT_MAX + 1))) == 2


@pytest.mark.parametrize("nothing", ["", "  \n", "\u200b", "\u2800\x01", " " * 5000])
def test_nothing_has_no_parts(nothing):
    assert split(nothing) == []


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("aaa bb.\nc\n\nd. ee ff", 14, ["aaa bb.\nc", "d. ee ff"]),  # paragraph
        ("aaaaaa\n \t\nb\nccc", 12, ["aaaaaa", "b\nccc"]),
        ("aaa\n\nbb\n\nc", 7, ["aaa\n\nbb", "c"]),
        ("aa. bbb\ncc. dddd", 12, ["aa. bbb", "cc. dddd"]),  # line
        ("a\nbbbb bb. cc dd", 12, ["a\nbbbb bb.", "cc dd"]),  # the line's end is too early: sentence
        ('aa "bb cc!" dd ee', 14, ['aa "bb cc!"', "dd ee"]),
        ("3.14159 2.71 828", 12, ["3.14159 2.71", "828"]),  # word, and no sentence ends inside a number
        ("漢字漢字。漢字漢字漢字", 8, ["漢字漢字。", "漢字漢字漢字"]),
        ("שלום עולם טוב", 10, ["שלום עולם", "טוב"]),
        ("aaaa bb\u00a0cc", 8, ["aaaa", "bb\u00a0cc"]),
        ("aaaa bbb", 4, ["aaaa", "bbb"]),
        ("aaaaaaaa", 3, ["aaa", "aaa", "aa"]),
        ("a bbbbbbbbbb", 10, ["a bbbbbbbb", "bb"]),
        ("😀😀😀", 5, ["😀😀", "😀"]),
        (f"a{FAMILY}{FAMILY}", 16, [f"a{FAMILY}", FAMILY]),
        ("aaae\u0301\u0302", 4, ["aaa", "e\u0301\u0302"]),
        ("a👍🏽", 4, ["a", "👍🏽"]),
        ("🇩🇪🇫🇷", 6, ["🇩🇪", "🇫🇷"]),
        ("x🇩🇪🇫🇷", 7, ["x🇩🇪", "🇫🇷"]),
        ("aa1\ufe0f\u20e3", 4, ["aa", "1\ufe0f\u20e3"]),
        ("a\u1112\u1161\u11ab", 3, ["a", "\u1112\u1161\u11ab"]),
        ("🏴\U000e0067\U000e007f🏴\U000e0067\U000e007f", 8, ["🏴\U000e0067\U000e007f"] * 2),
        ("aaa\r\nb", 4, ["aaa", "b"]),
        (FAMILY, 5, ["👨‍👩", "‍👧"]),  # cannot be avoided
        ("aaaa\n  bbbb", 8, ["aaaa", "  bbbb"]),  # indentation stays
        ("aaaa\n\n\n   \n  bb bb", 8, ["aaaa", "  bb bb"]),
        ("aaaa\n          bbbb", 8, ["aaaa", "bbbb"]),  # unless it fills the part
        ("          bbbb", 8, ["bbbb"]),
        ("     \nbbbbbbbbbb", 10, ["     \nbbbb", "bbbbbb"]),  # no part of white space only
        ("aaaa      ", 8, ["aaaa"]),
        ("aaaaaaaa\u200b\u200b", 8, ["aaaaaaaa"]),
        ("aaaaaa\u200bbbb", 8, ["aaaaaa\u200b", "bbb"]),
    ],
)
def test_the_sensible_place(text, limit, parts):
    assert texts(text, limit=limit) == parts


def test_an_indentation_goes_where_the_first_sign_would_not_fit():
    assert texts("aaaa\n  😀", limit=3) == ["aaa", "a", "😀"]


@pytest.mark.parametrize(
    "whole",
    [
        link("cc dd", "http://e/"),
        mention(7, "cc dd"),
        code("cc dd"),
        Text.of("cc.dd", [entity("url", 0, 5)]),
        Text.of("cc dd", [entity("date_time", 0, 5, unix_time=5)]),
        custom_emoji("👍👍", "5"),
    ],
)
def test_what_belongs_together_stays_together(whole):
    parts = split(Text("aaaa bbbb ", whole, " eee"), limit=13)
    assert parts == [("aaaa bbbb", []), (Text(whole, " eee").text, whole.entities)]


def test_a_cut_beside_what_belongs_together_is_no_cut_through_it():
    parts = texts(Text("aaaa", link("bb bb", "u"), "cccc"), limit=9)
    assert parts == ["aaaabb bb", "cccc"]
    assert texts(Text("aaaa", link("bb bb", "u"), "cccc"), limit=8) == ["aaaa", "bb bbccc", "c"]


def test_a_sign_that_reaches_out_of_a_link_takes_the_link_along():
    assert texts(Text("aaaa", link("bb", "u"), "\u0301c"), limit=6) == ["aaaa", "bb\u0301c"]


def test_what_is_inside_a_link_does_not_open_it_for_a_cut():
    label = Text(custom_emoji("👍", "5"), " b b")
    assert texts(Text("aaaa ", link(label, "u"), "ccc"), limit=10) == ["aaaa", "👍 b bccc"]


def test_a_link_that_fits_nowhere_goes_on():
    assert texts(Text("aaaabb", link("cccccccccc", "u")), limit=8) == ["aaaabbcc", "cccccccc"]
    assert split(link("aaaaaa", "u"), limit=4) == [
        ("aaaa", [entity("text_link", 0, 4, url="u")]),
        ("aa", [entity("text_link", 0, 2, url="u")]),
    ]


def test_entities_go_on_in_the_next_part():
    made = Text("😀", bold("b ", pre("x = 1\ny = 2\n", "python")), italic("i"))
    assert split(made, limit=10) == [
        ("😀b x = 1", [entity("bold", 2, 7), entity("pre", 4, 5, language="python")]),
        (
            "y = 2\ni",
            [entity("bold", 0, 6), entity("pre", 0, 6, language="python"), entity("italic", 6, 1)],
        ),
    ]


@pytest.mark.parametrize("limit", [1, 0, -4])
def test_a_limit_holds_at_least_one_emoji(limit):
    with pytest.raises(ValueError, match="at least 2"):
        split("a", limit=limit)
    assert texts("😀😀", limit=2) == ["😀", "😀"]


@MANY
@given(formatted("ab. \n\n😀é漢\u0301\u200d🇩", 60), st.integers(2, 20))
def test_split(both, limit):
    text, entities = both
    parts = split(text, entities, limit=limit)
    assert all(utf16_len(part) <= limit for part, _ in parts)
    assert all(part.strip(" \n\u0301\u200d") or "\u0301" in part for part, _ in parts)
    end = 0
    for part, _ in parts:
        begin = text.index(part, end)
        assert not text[end:begin].strip(" \n\u200d")
        end = begin + len(part)
    assert not text[end:].strip(" \n\u200d")
    for part, found in parts:
        size = utf16_len(part)
        assert all(0 <= e["offset"] < e["offset"] + e["length"] <= size for e in found)
    seen = [seen for part in parts for seen in covered(*part)]
    assert without(" \n\u200d", seen) == without(" \n\u200d", covered(text, entities))


def covered(text, entities):
    """Return for each character its entities, without offset and length."""
    seen, offset = [], 0
    for character in text:
        around = [e for e in entities if e["offset"] <= offset < e["offset"] + e["length"]]
        seen.append((character, sorted(str(bare(e)) for e in around)))
        offset += utf16_length(character)
    return seen


@pytest.mark.parametrize(
    "unit", ["a", "word ", "a.", "。", "\n", " \n", "a\u0301", "\u0301", "\u200d", "([", FAMILY]
)
def test_half_a_million_characters(unit):
    in_linear_time(unit * (500_000 // len(unit)))


def test_long_stretches_without_a_place_to_cut():
    in_linear_time(("x" + " " * 5000) * 100)
    in_linear_time("🇩" * 2_000_000)  # where counting flags from the text's begin takes minutes


def in_linear_time(text):
    parts = texts(Text.of(text, [entity("bold", 0, utf16_len(text))]))
    assert sum(map(len, parts)) >= len(text) - sum(map(text.count, " \n\u200d"))
    assert all(utf16_len(part) <= TEXT_MAX for part in parts)
