"""Texts whose markup cannot be parsed, as plain text."""

import time

import pytest

from telegram.fake.text.parse_html import parse_html
from telegram.text.plain import plain


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<b>not closed", "not closed"),
        ("Hello <b>Tom <3</b>!", "Hello Tom <3!"),
        ("5 < 6 & 7 > 6", "5 < 6 & 7 > 6"),
        (
            "a <br/> b <x>c</x>",
            "a <br/> b <x>c</x>",
        ),  # no tags of Telegram's: who wrote them meant them, or did not
        ("&lt;b&gt; &amp;amp; &quot;x&quot; &#39;y&#x27; &copy;", "<b> &amp; \"x\" 'y' &copy;"),
        ('<a href="https://a.b/?x=1&amp;y=2">here</a>, <i>there', "here (https://a.b/?x=1&y=2), there"),
        ("<a href='https://a.b'>here</a> <A HREF=tg://x>x</A>", "here (https://a.b) x (tg://x)"),
        ("<a>no address</a> </a> <a name='x'>y</a>", "no address  y"),
        ('<pre><code class="language-python">x = 1</code></pre>', "x = 1"),
        ('<tg-emoji emoji-id="5">👍</tg-emoji> <tg-spoiler>s</tg-spoiler>', "👍 s"),
        ("<blockquote expandable>q</blockquote> <span class='tg-spoiler'>s</span>", "q s"),
        ("<u>a</u><ins>b</ins><s>c</s><strike>d</strike><del>e</del><strong>f</strong><em>g</em>", "abcdefg"),
        ("<B>x</B", "x</B"),
        ('<a href="https://a.b>here</a>', '<a href="https://a.b>here'),
    ],
)
def test_html_without_its_tags(markup: str, text: str) -> None:
    assert plain(markup, "HTML") == plain(markup, "html") == text


def test_the_addresses_of_links_can_be_left_out() -> None:
    assert plain('<a href="https://a.b">here</a>', "HTML", links=False) == "here"


@pytest.mark.parametrize(
    "markup", ["<b>a</b> &lt;", "<i>x<u>y</u></i>", "<code>&amp;</code>", "a\n<b>b</b> "]
)
def test_of_a_text_that_can_be_parsed_it_is_what_telegram_shows(markup: str) -> None:
    assert plain(markup, "HTML") == parse_html(markup)[0]


def test_markdown_keeps_its_signs_which_may_be_meant() -> None:
    assert plain(r"snake_case *bold \. \_", "Markdown") == r"snake_case *bold \. \_"
    assert plain(r"snake_case *bold \. 1\+1\=2 \a \\", "MarkdownV2") == r"snake_case *bold . 1+1=2 \a" + " \\"


@pytest.mark.parametrize("piece", ["<a ", '<a href="', "<a href='x", "<", "&#1", "<a>", "</a", "\\"])
def test_a_long_text_takes_no_long_time(piece: str) -> None:
    text = piece * (
        65_536 // len(piece)
    )  # Telegram reads at most 65,536 characters (tdlib/td, parseTextEntities)
    began = time.process_time()
    plain(text, "HTML")
    plain(text, "MarkdownV2")
    assert time.process_time() - began < 1.0
