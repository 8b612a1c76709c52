"""What an InputFile is, how it lies in the outbox, how it is read, and how it becomes a part of a form."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from aiohttp import BodyPartReader, MultipartReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import ValidationError

from telegram.botapi.calls import Placed, encode_call, files_of
from telegram.botapi.errors import FileUnusable
from telegram.botapi.files import DURABLE_BYTES_MAX, PIECE, InputFile, path_of, read
from telegram.botapi.types import InputMediaDocument, InputMediaPhoto
from telegram.client.multipart import Multipart, multipart, name_paths

SECRET = "AAH" + "q-9_" * 8


async def stream(*pieces: Any) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


# -- what it is ------------------------------------------------------------------------------------------------


def test_a_path_is_absolute_and_names_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = InputFile("a/b.pdf")
    assert (file.source, file.filename, file.mime) == (
        tmp_path / "a/b.pdf",
        "b.pdf",
        "application/octet-stream",
    )
    assert InputFile(Path("/x/y"), filename="z.png", mime="image/png").filename == "z.png"


def test_its_repr_shows_neither_content_nor_token():
    assert repr(InputFile("/x/y.pdf")) == "InputFile('/x/y.pdf', filename='y.pdf')"
    assert repr(InputFile(b"secret", filename="y")) == "InputFile(<6 bytes>, filename='y')"
    assert repr(InputFile(stream(), filename="y")) == "InputFile(<stream>, filename='y')"
    assert SECRET not in repr(InputFile(f"/var/lib/123456789:{SECRET}/documents/y.pdf"))


def test_it_is_frozen():
    with pytest.raises(FrozenInstanceError):
        InputFile("/x").filename = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("source", "more", "error"),
    [
        (b"x", {}, ValueError),
        (b"x", {"filename": ""}, ValueError),
        ("/x", {"filename": ""}, ValueError),
        ("/", {}, ValueError),
        ("/a\0b", {}, ValueError),
        ("/x", {"mime": "image"}, ValueError),
        ("/x", {"mime": "image/png\r\nX: y"}, ValueError),
        (7, {"filename": "x"}, TypeError),
        (["x"], {"filename": "x"}, TypeError),
        (None, {}, TypeError),
    ],
)
def test_what_can_never_be_sent_is_refused(source, more, error):
    with pytest.raises(error):
        InputFile(source, **more)


def test_a_stream_needs_a_filename():
    with pytest.raises(ValueError, match="filename"):
        InputFile(stream())


def test_types_take_it_where_telegram_takes_a_file():
    file = InputFile("/x.pdf")
    assert InputMediaDocument(media=file, thumbnail=file).media is file
    assert InputMediaPhoto(media="file_id").media == "file_id"
    with pytest.raises(ValidationError):
        InputMediaDocument(media=Path("/x.pdf"))


# -- in the outbox ---------------------------------------------------------------------------------------------

PATHS = st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name and b"/" not in name)


@given(PATHS.map(os.fsdecode), st.none() | st.text(min_size=1, max_size=9))
def test_a_path_of_any_bytes_survives_the_outbox(name, filename):
    file = InputFile(f"/folder/{name}", filename=filename)
    (placed,) = files_of(encode_call("sendDocument", {"document": file}))
    assert placed.file == file


@given(st.binary(max_size=99))
def test_small_content_survives_the_outbox(content):
    file = InputFile(content, filename="x", mime="text/plain")
    assert InputFile.of(file.reference()) == file


def test_content_that_cannot_wait_in_the_outbox_is_an_error_with_a_remedy():
    assert InputFile(b"x" * DURABLE_BYTES_MAX, filename="x").reference()
    for file in (
        InputFile(b"x" * (DURABLE_BYTES_MAX + 1), filename="x"),
        InputFile(stream(b"x"), filename="x"),
    ):
        with pytest.raises(ValueError, match="write it to a file"):
            file.reference()


@pytest.mark.parametrize("uri", ["", "/x", "http://h/x", "file://other/x", "file:"])
def test_what_names_no_file_of_this_machine_is_refused(uri):
    with pytest.raises(ValueError, match="not a file"):
        path_of(uri)


@pytest.mark.parametrize("uri", ["file:///a%20b", "file:/a%20b", "file://localhost/a%20b"])
def test_every_spelling_of_a_path(uri):
    assert path_of(uri) == Path("/a b")


# -- reading ---------------------------------------------------------------------------------------------------


async def content(path: Path, size: int, start: int = 0) -> bytes:
    return b"".join([piece async for piece in read(path, size, start)])


async def test_a_file_is_read_in_pieces(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(os.urandom(2 * PIECE + 5))
    pieces = [piece async for piece in read(path, 2 * PIECE + 5)]
    assert [len(piece) for piece in pieces] == [PIECE, PIECE, 5]
    assert b"".join(pieces) == path.read_bytes()
    assert await content(path, 7, PIECE) == path.read_bytes()[PIECE : PIECE + 7]
    assert await content(path, 0) == b""


async def test_what_a_file_grew_by_is_left_out(tmp_path):
    (tmp_path / "x").write_bytes(b"abcdef")
    assert await content(tmp_path / "x", 3) == b"abc"


async def test_a_file_that_became_shorter(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    with pytest.raises(FileUnusable, match=r"/x became shorter"):
        await content(tmp_path / "x", 4)


async def test_a_file_that_is_missing_or_none(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name, says in {"x": "is missing", ".": "not a regular file", "fifo": "not a regular file"}.items():
        with pytest.raises(FileUnusable, match=says):
            await InputFile(tmp_path / name, filename="n").size()
    with pytest.raises(FileUnusable, match="is missing"):
        await content(tmp_path / "x", 1)
    with pytest.raises(FileUnusable, match="Is a directory"):
        await content(tmp_path, 1)


async def test_a_token_in_a_path_is_not_shown(tmp_path):
    with pytest.raises(FileUnusable) as caught:
        await InputFile(tmp_path / f"123456789:{SECRET}" / "x").size()
    assert SECRET not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


async def test_a_cancelled_reader_lets_go_of_its_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * PIECE)
    opened = open_files()
    pieces = read(tmp_path / "x", 3 * PIECE)
    assert await anext(pieces)
    assert open_files() == opened + 1
    await pieces.aclose()
    assert open_files() == opened


@pytest.mark.parametrize("piece", ["text", None, 5])
async def test_a_stream_gives_bytes_only(piece):
    with pytest.raises(FileUnusable, match="stream x failed: TypeError: a piece is bytes"):
        [_ async for _ in InputFile(stream(b"a", piece), filename="x").pieces(None)]


async def test_a_stream_that_fails():
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise RuntimeError(f"no bot123456789:{SECRET}")

    with pytest.raises(FileUnusable, match="stream x failed: RuntimeError: no") as caught:
        [_ async for _ in InputFile(broken(), filename="x").pieces(None)]
    assert caught.value.__context__ is None
    assert SECRET not in str(caught.value)


# -- as a form -------------------------------------------------------------------------------------------------


async def body_of(form: Multipart) -> bytes:
    return b"".join([piece async for piece in form.pieces()])


async def parsed(form: Multipart) -> dict[str, tuple[str | None, bytes]]:
    """The parts, as aiohttp's own reader sees them: name -> (filename, content)."""
    body = await body_of(form)
    assert form.length in {None, len(body)}
    reading = StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)
    reading.feed_data(body)
    reading.feed_eof()
    found: dict[str, tuple[str | None, bytes]] = {}
    reader = MultipartReader(CIMultiDict({"Content-Type": form.content_type}), reading)
    async for part in reader:
        assert isinstance(part, BodyPartReader)
        assert part.name
        assert part.name not in found
        found[part.name] = (part.filename, bytes(await part.read()))
    return found


NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="_"), min_size=1)
CONTENTS = st.one_of(st.binary(max_size=99), st.sampled_from([b"\r\n", b"--\r\n\r\n--", b"\r\n--"]))


@given(st.dictionaries(NAMES, st.text()), CONTENTS, CONTENTS)
def test_a_form_is_read_as_it_was_meant(fields, one, two):
    async def main() -> None:
        files = (
            Placed(("file",), InputFile(one, filename="1.txt")),
            Placed(("m", 0, "media"), InputFile(two, filename="2")),
        )
        texts = {name: text for name, text in fields.items() if name not in {"file", "m"}}
        form = await multipart({**texts, "file": None, "m": [{"media": None}]}, files)
        found = await parsed(form)
        assert found.pop("file") == ("1.txt", one)
        (name,) = [name for name, (filename, _) in found.items() if filename]
        assert found.pop("m") == (None, f'[{{"media":"attach://{name}"}}]'.encode())
        assert found.pop(name) == ("2", two)
        assert found == {name: (None, text.encode()) for name, text in texts.items()}

    asyncio.run(main())


@given(st.text(min_size=1))
def test_no_filename_can_break_out_of_its_header(filename):
    async def main() -> None:
        body = await body_of(Multipart({}, [("f", InputFile(b"c", filename=filename), 1)]))
        head, content = body.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        assert len(lines) == 3
        assert lines[1].count(b'"') == 4
        assert content.startswith(b"c\r\n--")

    asyncio.run(main())


async def test_a_filename_is_spelled_as_the_server_reads_it():
    """It takes a name like a part of a URL, so "%" is escaped; other letters stay (tdlib, HttpReader)."""
    found = await parsed(Multipart({}, [("f", InputFile(b"", filename='50% "of" Ж; a\\b.pdf'), 0)]))
    assert found == {"f": ("50%25 %22of%22 Ж%3B a%5Cb.pdf", b"")}


async def test_what_is_not_text_is_json():
    form = Multipart({"n": 5, "b": True, "f": 1.5, "l": ["Ж", None], "s": "5"}, [])
    texts = {name: content.decode() for name, (_, content) in (await parsed(form)).items()}
    assert texts == {"n": "5", "b": "true", "f": "1.5", "l": '["Ж",null]', "s": "5"}


async def test_a_stream_makes_the_length_unknown():
    form = await multipart({"f": None}, (Placed(("f",), InputFile(stream(b"a", b"", b"b"), filename="x")),))
    assert form.length is None
    assert await parsed(form) == {"f": ("x", b"ab")}


async def test_parts_never_share_a_name():
    inner, outer = InputFile(b"inner", filename="i"), InputFile(b"outer", filename="o")
    params: dict[str, Any] = {"file0": "text", "file1": None, "m": {"a": None, "b": None}}
    form = await multipart(
        params, (Placed(("m", "a"), inner), Placed(("file1",), outer), Placed(("m", "b"), inner))
    )
    found = await parsed(form)
    assert found["file0"] == (None, b"text")
    assert found["file1"] == ("o", b"outer")
    assert sorted(content for filename, content in found.values() if filename == "i") == [b"inner"] * 2


async def test_a_lone_surrogate_is_refused_before_anything_is_sent():
    with pytest.raises(ValueError, match="surrogates"):
        Multipart({"text": "\ud800"}, [])


async def test_a_local_server_gets_paths(tmp_path):
    (tmp_path / "a b%.pdf").write_bytes(b"123")
    plain, renamed = InputFile(tmp_path / "a b%.pdf"), InputFile(tmp_path / "a b%.pdf", filename="c.pdf")
    params: dict[str, Any] = {"document": None, "media": [{"media": None}]}
    files = (Placed(("document",), plain), Placed(("media", 0, "media"), renamed))
    assert await name_paths(params, files) == (files[1:], 3)
    assert params == {"document": f"file://{tmp_path}/a%20b%25.pdf", "media": [{"media": None}]}
