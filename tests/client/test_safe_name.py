"""A name that somebody made up is one harmless name of a file."""

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram.client.downloads import part_of
from telegram.client.safe_name import safe_name

NAMES = {
    "report.pdf": "report.pdf",
    "Zoë's résumé (2).docx": "Zoë's résumé (2).docx",
    "日本語 ファイル.txt": "日本語 ファイル.txt",
    "archive.tar.gz": "archive.tar.gz",
    "../../etc/passwd": "passwd",
    "..\\..\\boot.ini": "boot.ini",
    "/etc/passwd": "passwd",
    "C:\\Windows\\system.ini": "system.ini",
    "C:evil.exe": "C_evil.exe",
    "a.txt:stream": "a.txt_stream",
    "..": "file",
    ".": "file",
    "": "file",
    "   ": "file",
    "/": "file",
    "a/": "file",
    "\0": "file",
    ".bashrc": "bashrc",
    ".ssh/authorized_keys": "authorized_keys",
    "-rf": "rf",
    "~root": "root",
    "name. . .": "name",
    "CON": "_CON",
    "con.txt": "_con.txt",
    "NUL .tar.gz": "_NUL .tar.gz",
    "COM1.log": "_COM1.log",
    "LPT\u00b2": "_LPT\u00b2",
    "CONIN$": "_CONIN$",
    "COM10": "COM10",
    "console.txt": "console.txt",
    "a\x1b[2Jb\r\n.txt": "a[2Jb.txt",
    "gpj.\u202egnp.exe": "gpj.gnp.exe",
    "a\u200b\u2066b.txt": "ab.txt",
    "a\ud800b.txt": "ab.txt",
    "a\u2028b": "a b",
    'q<u>e|s?t*i"on': "q_u_e_s_t_i_on",
    "e\u0301.txt": "\u00e9.txt",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_and_what_becomes_of_them(name):
    assert safe_name(name) == NAMES[name]


def test_no_name_is_the_fallback():
    assert safe_name(None) == "file"
    assert safe_name("...", fallback="photo.jpg") == "photo.jpg"


def test_a_long_name_keeps_its_ending():
    for letter in ("x", "é", "日", "👩"):
        short = safe_name(letter * 500 + ".tar.gz")
        assert short.endswith(".gz")
        assert 100 < len(short.encode()) <= 150
    assert len(safe_name("x." + "y" * 500).encode()) <= 150


def check(text: str) -> None:
    name = safe_name(text)
    assert 1 <= len(name.encode()) <= 150
    assert PurePosixPath(name).name == PureWindowsPath(name).name == name
    assert PureWindowsPath(name).drive == PureWindowsPath(name).root == ""
    assert name[0] not in " .-~"
    assert name[-1] not in " ."
    assert not [each for each in name if unicodedata.category(each)[0] == "C"]
    assert not PureWindowsPath(name).is_reserved()
    assert safe_name(name) == name
    assert len(part_of(Path(name), "x" * 100).name.encode()) <= 255


@given(st.text(st.characters(), max_size=300))
def test_any_text_is_one_part_of_a_path(text):
    check(text)


@given(st.text(st.sampled_from('./\\:CONcon19$ \0\u202e_-~"a'), max_size=12))
def test_what_is_near_the_forbidden_is_one_part_of_a_path(text):
    check(text)


def test_it_can_be_a_file(tmp_path):
    for name in NAMES:
        (tmp_path / safe_name(name)).write_bytes(b"")
    assert {each.parent for each in tmp_path.rglob("*")} == {tmp_path}
