"""How the files of calls wait: by path on one machine; by a path below FILES_DIR or as content in a store that is shared."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from telegram.botapi.calls import encode_call, files_of
from telegram.botapi.files import DURABLE_BYTES_MAX, InputFile
from telegram.botapi.kept_files import ON_ONE_MACHINE, SHARED_BYTES_MAX, KeptFiles

SHARED = KeptFiles(is_shared=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "a b\udcff.txt"  # a name that is not UTF-8
    path.parent.mkdir()
    path.write_bytes(b"content")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    return folder


def reference(file: InputFile, kept: KeptFiles) -> dict[str, str]:
    body = encode_call("sendDocument", {"chat_id": 1, "document": file}, kept=kept)
    return dict(json.loads(body.split(b"\n")[0].split(b"\t")[1])[0][1])


def sent(file: InputFile, kept: KeptFiles, by: KeptFiles | None = None) -> InputFile:
    (placed,) = files_of(encode_call("sendDocument", {"document": file}, kept=kept), by or kept)
    return placed.file


def test_on_one_machine_a_file_is_its_path(path: Path, folder: Path):
    for kept in (ON_ONE_MACHINE, KeptFiles(folder)):
        assert set(reference(InputFile(path), kept)) == {"uri", "filename", "mime"}
        assert sent(InputFile(path), kept).source == path


def test_a_shared_store_has_the_content(path: Path, folder: Path):
    for kept in (SHARED, KeptFiles(folder, is_shared=True)):
        body = encode_call(
            "sendDocument", {"document": InputFile(path, filename="b.txt", mime="text/plain")}, kept=kept
        )
        path.unlink()  # it was read when the call was made
        (placed,) = files_of(body)
        assert placed.file == InputFile(b"content", filename="b.txt", mime="text/plain")
        path.write_bytes(b"content")
        large = InputFile(b"x" * (DURABLE_BYTES_MAX + 1), filename="x")
        assert sent(large, kept) == large


def test_an_earlier_version_sends_what_this_one_has_stored(path: Path, folder: Path):
    """It reads the content, or the path below its own FILES_DIR, if that is mounted at the same place."""
    inside = folder / "sub" / "x.txt"
    kept = KeptFiles(folder, is_shared=True)
    assert InputFile.of(reference(InputFile(path), kept)).source == b"content"
    assert InputFile.of(reference(InputFile(inside), kept)).source == inside
    assert (
        sent(InputFile(inside), ON_ONE_MACHINE, by=kept).source == inside
    )  # and this one what that has stored


def test_below_the_folder_each_process_reads_in_its_own(folder: Path, tmp_path: Path):
    kept = KeptFiles(folder, is_shared=True)
    elsewhere = tmp_path / "elsewhere"
    for name in ("x.txt", "sub/a b\udcff?#.txt", "sub/../sub/y"):
        found = sent(InputFile(folder / name, filename="n"), kept, by=KeptFiles(elsewhere, is_shared=True))
        assert found.source == elsewhere / os.path.normpath(name)
        assert found.filename == "n"
    assert sent(InputFile(folder / "x"), kept, by=SHARED).source == folder / "x"


def test_what_only_looks_as_if_it_were_below_the_folder_is_content(path: Path, folder: Path):
    kept = KeptFiles(folder, is_shared=True)
    (folder / "link").symlink_to(path)
    (folder.parent / "files2").write_bytes(b"other")
    for outside in (folder / "link", folder / ".." / "files2"):
        assert set(reference(InputFile(outside, filename="x"), kept)) == {"base64", "filename", "mime"}
    (folder / "real.txt").write_bytes(b"x")
    (folder.parent / "mine").symlink_to(folder / "real.txt")
    assert "below" in reference(InputFile(folder.parent / "mine"), kept)


def test_what_cannot_wait_is_an_error_at_the_call(path: Path, folder: Path):
    with path.open("wb") as file:
        file.truncate(SHARED_BYTES_MAX + 1)
    with pytest.raises(ValueError, match=r"sendDocument: .*20 MiB of files at most; .* set FILES_DIR"):
        sent(InputFile(path), SHARED)
    with pytest.raises(ValueError, match=r"for larger ones put it into .*files"):
        sent(InputFile(path), KeptFiles(folder, is_shared=True))
    os.truncate(path, SHARED_BYTES_MAX)
    assert sent(InputFile(path), SHARED).source == bytes(SHARED_BYTES_MAX)
    album = {
        "media": [
            {"type": "document", "media": InputFile(path)},
            {"type": "document", "media": InputFile(b"x", filename="x")},
        ]
    }
    with pytest.raises(ValueError, match="20 MiB of files at most"):
        encode_call("sendMediaGroup", album, kept=SHARED)
    with pytest.raises(FileNotFoundError, match="missing"):
        sent(InputFile(folder.parent / "missing"), SHARED)
    with pytest.raises(IsADirectoryError):
        sent(InputFile(folder), SHARED)

    async def stream() -> AsyncIterator[bytes]:
        yield b""

    with pytest.raises(ValueError, match="write it to a file"):
        sent(InputFile(stream(), filename="x"), SHARED)
