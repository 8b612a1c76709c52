"""The log of what operators did."""

import json
import os
import stat

import pytest

from telegram.operating.audit import Audit, AuditFailed, Who

ME = Who("me", may_write=True, where="here")


async def test_lines_are_appended_and_only_the_owner_reads_them(tmp_path):
    path = tmp_path / "audit"
    path.write_text("what was there\n")
    audit = Audit(path, lambda: 7.0)
    await audit.note(ME, "park", {"key": "chat:1"}, "begun")
    await audit.note(ME, "park", {"key": "line\nend"}, "done")
    lines = path.read_text().splitlines()
    assert lines[0] == "what was there"
    assert len(lines) == 3
    assert json.loads(lines[1]) == {
        "at": 7.0,
        "who": "me",
        "where": "here",
        "what": "park",
        "about": {"key": "chat:1"},
        "result": "begun",
    }
    assert [entry["result"] for entry in await audit.tail(10)] == ["done", "begun"]
    assert [entry["result"] for entry in await audit.tail(1)] == ["done"]
    await Audit(tmp_path / "new").note(ME, "x", {}, "y")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


async def test_a_renamed_file_is_begun_anew(tmp_path):
    audit = Audit(tmp_path / "audit")
    await audit.note(ME, "a", {}, "x")
    (tmp_path / "audit").rename(tmp_path / "audit.1")
    await audit.note(ME, "b", {}, "x")
    assert [entry["what"] for entry in await audit.tail(10)] == ["b"]


async def test_a_link_and_what_is_no_file_are_refused(tmp_path):
    (tmp_path / "target").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", ".", "no/folder"):
        with pytest.raises(AuditFailed, match="cannot be written") as failed:
            await Audit(tmp_path / name).note(ME, "a", {}, "x")
        assert "\n" not in str(failed.value)
    assert (tmp_path / "target").read_text() == ""


async def test_a_long_line_is_cut_and_damaged_lines_are_left_out(tmp_path):
    audit = Audit(tmp_path / "audit")
    await audit.note(ME, "a", {"letters": ["x" * 100] * 1000}, "x")
    assert len((tmp_path / "audit").read_text()) < 20_000
    with (tmp_path / "audit").open("ab") as file:
        file.write(b'{"half": \n\xff\xfe\n[1]\n{"at": 1}\n')
    assert [entry["what"] for entry in await audit.tail(10)] == ["a"]


async def test_a_log_of_any_length_is_read_from_its_end(tmp_path):
    path = tmp_path / "audit"
    entry = {"at": 1, "who": "w", "what": "w", "about": {}, "result": "r"}
    path.write_text("".join(json.dumps({**entry, "at": at}) + "\n" for at in range(20_000)))
    found = await Audit(path).tail(500)
    assert [each["at"] for each in found] == list(range(19_999, 19_499, -1))
    assert await Audit(tmp_path / "none").tail(5) == []
