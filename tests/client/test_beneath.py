"""What lies below a folder is read, and nothing else, whoever exchanges what and when."""

import os
import shutil
from pathlib import Path

import pytest

from telegram.botapi.errors import FileUnusable
from telegram.client.beneath import find_beneath
from telegram.client.downloads import local_opener


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_bytes(b"below")
    (root / "link").symlink_to(root / "a/b/file")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_bytes(b"secret")
    return root


async def content(path: Path, root: Path) -> bytes:
    found = b""
    async with (await local_opener(str(path), root))(0) as opened:
        async for piece in opened.pieces:
            found += piece
    return found


@pytest.mark.parametrize("name", ["a/b/file", "a/../a/b/file", "link", "./a/b/file"])
async def test_what_lies_below_is_read_also_through_links_that_stay_there(root: Path, name: str) -> None:
    assert await content(root / name, root) == b"below"


async def test_the_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(root)
    assert await content(tmp_path / "other/a/b/file", tmp_path / "other") == b"below"


def secret_file(root: Path) -> None:
    (root / "a/b/file").unlink()
    (root / "a/b/file").symlink_to(root.parent / "secret/file")


def secret_folder(root: Path) -> None:
    shutil.rmtree(root / "a/b")
    (root / "a/b").symlink_to(root.parent / "secret")


def secret_folder_higher_up(root: Path) -> None:
    (root.parent / "secret/b").mkdir()
    shutil.copy(root.parent / "secret/file", root.parent / "secret/b/file")
    shutil.rmtree(root / "a")
    (root / "a").symlink_to(root.parent / "secret")


def secret_root(root: Path) -> None:
    (root.parent / "secret/a/b").mkdir(parents=True)
    shutil.copy(root.parent / "secret/file", root.parent / "secret/a/b/file")
    shutil.rmtree(root)
    root.symlink_to(root.parent / "secret")


def a_pipe(root: Path) -> None:
    (root / "a/b/file").unlink()
    os.mkfifo(root / "a/b/file")


@pytest.mark.parametrize(
    "exchange", [secret_file, secret_folder, secret_folder_higher_up, secret_root, a_pipe]
)
async def test_what_is_exchanged_after_the_look_is_not_read(root: Path, exchange) -> None:
    opener = await local_opener(str(root / "a/b/file"), root)
    exchange(root)
    with pytest.raises(FileUnusable):
        async with opener(0) as opened:
            [piece async for piece in opened.pieces]


@pytest.mark.parametrize("exchange", [secret_file, secret_folder, secret_root, a_pipe])
async def test_what_is_exchanged_after_its_size_was_asked_is_not_read(root: Path, exchange) -> None:
    async with (await local_opener(str(root / "a/b/file"), root))(0) as opened:
        exchange(root)
        with pytest.raises(FileUnusable):
            [piece async for piece in opened.pieces]


def test_what_lies_outside_is_not_found(root: Path) -> None:
    (root / "out").symlink_to(root.parent / "secret")
    for path in (root / "../secret/file", root / "out/file", root, Path("/etc/passwd"), root / "a/../.."):
        assert find_beneath(path, root) is None


async def test_links_in_a_circle_are_refused(root: Path) -> None:
    (root / "x").symlink_to(root / "y")
    (root / "y").symlink_to(root / "x")
    with pytest.raises(FileUnusable):
        await content(root / "x", root)


def test_it_is_only_read(root: Path) -> None:
    found = find_beneath(root / "a/b/file", root)
    assert found is not None
    with pytest.raises(ValueError, match="only read"):
        found.open("wb")
