"""Catalogues: what a .po file may contain, and what is an error at the start, with file and line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram.dialogue.languages.catalogue import read_catalogue
from telegram.dialogue.languages.texts import Texts, ours

HEADER = r"""msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);\n"

"""


def catalogue(tmp_path: Path, text: str):
    path = tmp_path / "ru.po"
    path.write_text(text, encoding="utf-8")
    return read_catalogue(path)


def test_texts_in_several_lines_escapes_and_comments(tmp_path):
    read = catalogue(
        tmp_path,
        "\ufeff"
        + HEADER
        + r"""# a translator's comment
#: handlers.py:3
#, python-brace-format
msgid "A \"quoted\" text\n"
"and {name:>5}, 100%, a \\ and {{braces}}"
msgstr ""
"Б «цитата»\n"
"и {name:>5}, 100%, \\ и {{скобки}}"

#, fuzzy
msgid "unsure"
msgstr "не уверен"

msgid "missing"
msgstr ""

#~ msgid "gone"
#~ msgstr "нет"
""",
    )
    text = 'A "quoted" text\nand {name:>5}, 100%, a \\ and {{braces}}'
    assert {key: entry.forms for key, entry in read.entries.items()} == {
        text: ("Б «цитата»\nи {name:>5}, 100%, \\ и {{скобки}}",)
    }


def test_plural_forms(tmp_path):
    read = catalogue(
        tmp_path,
        HEADER
        + """msgid "{n} task"
msgid_plural "{n} tasks"
msgstr[0] "{n} задача"
msgstr[1] "{n} задачи"
msgstr[2] "{n} задач"
""",
    )
    entry = read.entries["{n} task"]
    assert [entry.forms[read.form_of(n)] for n in (1, 2, 5, 11, 21, 0)] == [
        "{n} задача",
        "{n} задачи",
        "{n} задач",
        "{n} задач",
        "{n} задача",
        "{n} задач",
    ]


PLURAL = 'msgid "{n} task"\nmsgid_plural "{n} tasks"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hello", "line 1: not a line of a .po file: 'hello'"),
        ('msgid "a"', "line 1: this msgid has no msgstr"),
        ('msgstr "a"', "line 1: msgstr without a msgid"),
        ('"a"', "line 1: a text without msgid"),
        ('msgid "a"\nmsgstr "b"\nmsgstr "c"', "line 3: msgstr without a msgid"),
        ('msgid "a"\nmsgstr "b"\n\nmsgid "a"\nmsgstr "c"', "line 4: the msgid 'a' is there twice"),
        ('msgid "a"\nmsgstr "b"c"', "line 2: a quotation mark is not escaped"),
        ('msgid "a"\nmsgstr "b\\"', "line 2: a quotation mark is not escaped"),
        ('msgid "a"\nmsgstr "\\x41"', "line 2: \\x is not an escape"),
        ('msgctxt "x"\nmsgid "a"\nmsgstr "b"', "line 1: msgctxt is not supported"),
        ('msgid "a {name}"\nmsgstr "b {name"', "line 1: "),
        ('msgid "a {name}"\nmsgstr "b {name.__class__}"', "line 1: {name.__class__} is not a placeholder"),
        ('msgid "a {name}"\nmsgstr "b {0}"', "line 1: {0} is not a placeholder"),
        ('msgid "a {name}"\nmsgstr "b {name!r}"', "line 1: {name} is not a placeholder"),
        ('msgid "a {name}"\nmsgstr "b {}"', "line 1: {} is not a placeholder"),
        (PLURAL + 'msgstr[0] "a"\nmsgstr[1] "b"', "line 1: plural forms, and the header has no Plural-Forms"),
        (HEADER + PLURAL + 'msgstr[0] "a"\nmsgstr[1] "b"', "line 6: 2 plural forms, and Plural-Forms says 3"),
        (HEADER + PLURAL + 'msgstr "a"', "line 6: this msgid has no msgstr[0]"),
        (HEADER.replace("nplurals=3", "nplurals=2"), "line 1: Plural-Forms is no rule for 2 forms"),
        (HEADER.replace("(n%10==1", "(__import__('os')"), "line 1: Plural-Forms is no rule"),
        (HEADER.replace("(n%10==1", "1/(n-n)+(n%10==1"), "line 1: Plural-Forms is no rule"),
        (HEADER.replace("n%10==1", "10%n==1"), "line 1: Plural-Forms is no rule"),  # not for 0
        (HEADER.replace("UTF-8", "koi8-r"), "ru.po: the charset is koi8-r"),
    ],
)
def test_a_broken_catalogue_is_one_line_with_file_and_line(tmp_path, text, says):
    with pytest.raises(ValueError, match=".") as caught:  # noqa: RUF043
        catalogue(tmp_path, text)
    assert str(caught.value).startswith("ru.po") and says in str(caught.value), caught.value
    assert "\n" not in str(caught.value)


def test_a_catalogue_that_is_not_utf_8(tmp_path):
    path = tmp_path / "ru.po"
    path.write_bytes(b'msgid "a"\nmsgstr "\xff"')
    with pytest.raises(ValueError, match=r"ru\.po, line 2: not UTF-8"):
        read_catalogue(path)
    with pytest.raises(ValueError, match=r"none\.po: No such file"):
        read_catalogue(tmp_path / "none.po")


@given(st.text(alphabet='msgidtr "\\\n[]0#{}n'))
def test_no_text_raises_anything_else(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.po"
    path.write_text(text, encoding="utf-8")
    try:
        read_catalogue(path)
    except ValueError as error:
        assert "\n" not in str(error)


# -- folders of catalogues --------------------------------------------------------------------------


def folder(tmp_path: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (tmp_path / f"{name}.po").write_text(text, encoding="utf-8")
    return tmp_path


def test_both_layouts(tmp_path):
    path = folder(tmp_path, ru='msgid "a"\nmsgstr "б"')
    (path / "pt_BR" / "LC_MESSAGES").mkdir(parents=True)
    (path / "pt_BR" / "LC_MESSAGES" / "messages.po").write_text('msgid "a"\nmsgstr "á"', encoding="utf-8")
    assert Texts(path).languages == {"en", "ru", "pt-br"}


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"ru": 'msgid "a {x}"\nmsgstr "б"'}, "ru.po, line 1: 'б' has other placeholders than 'a {x}': {x}"),
        ({"ru": 'msgid "a"\nmsgstr "б {y}"'}, "{y}"),
        ({"en": 'msgid "key"\nmsgstr "a {x}"', "ru": 'msgid "key"\nmsgstr "б {y}"'}, "{x}, {y}"),
        ({"ru": HEADER + PLURAL + 'msgstr[0] "a"\nmsgstr[1] "{m}"\nmsgstr[2] "{n}"'}, "{m}"),
        ({}, "no catalogue"),
        ({"readme": ""}, "is not a language"),
    ],
)
def test_other_placeholders_are_an_error(tmp_path, texts, says):
    """python-i18n and gettext find this when the text is sent: KeyError in the handler, for users of that language only."""
    with pytest.raises(ValueError, match=".") as caught:  # noqa: RUF043
        Texts(folder(tmp_path, **texts))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_plural_form_may_leave_out_the_number_and_keys_may_be_names(tmp_path):
    Texts(folder(tmp_path, ru=HEADER + PLURAL + 'msgstr[0] "одна задача"\nmsgstr[1] "{n}"\nmsgstr[2] "{n}"'))
    Texts(folder(tmp_path, en='msgid "key"\nmsgstr "a {x}"', ru='msgid "key"\nmsgstr "б {x}"'))


def test_our_own_texts_are_complete():
    """Each of Chatlane's texts is in Russian, and each translation is of a text that is there."""
    from telegram.dialogue.contexts import conduct, invalid
    from telegram.dialogue.inbox import backlog
    from telegram.dialogue.router import menus
    from telegram.widgets import dates, menu

    texts = {
        *invalid.WORDS.values(),
        conduct.APOLOGY,
        conduct.OLD_BUTTON,
        conduct.OTHERS_BUTTON,
        backlog.BACKLOG_TEXT,
        menu.OUTDATED,
        dates.UNAVAILABLE,
        menus.WHAT_I_CAN_DO,
        "Write it like this: {usage}",
    }
    (russian,) = ours().catalogues["ru"]
    assert set(russian.entries) == texts
