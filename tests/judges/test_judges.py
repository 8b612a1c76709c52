"""What `make judges` makes of what clients say."""

import json
import zlib

import pytest

from telegram.fake import Call, FakeServer
from tests.judges.bots.told import told as tell
from tests.judges.clients import CLIENTS, HERE
from tests.judges.steps import PICTURES, Visit
from tests.judges.verdict import Verdict, differences, refused, table, told, versions

STEPS = ["echo", "photo", "album"]


def test_a_report_is_read_as_the_bots_write_it():
    facts = {"message_id": 7, "captions": ["Red \N{RED APPLE}", None], "answered": True}
    assert told("album", tell("album", **facts)) == facts


@pytest.mark.parametrize("text", ["", "album", "album of mine", 'photo {"message_id": 7}', "{}"])
def test_other_texts_are_no_reports(text):
    assert told("album", text) is None


def test_equal_facts_do_not_differ():
    assert differences({"a": 1, "b": [2, None]}, {"b": [2, None], "a": 1}) == []


def test_every_difference_is_reported():
    assert differences({"a": 1, "b": None, "c": 3}, {"a": 2, "c": 3, "d": None}) == [
        "a is 1, the client says 2",
        "b is None, the client says None",
        "d is None, the client says None",
    ]


def test_calls_that_were_refused():
    statuses = {"getMe": 200, "sendPhoto": 400, "sendMessage": 429}
    calls = [Call(1, 1.0, method, {}, status, status == 200) for method, status in statuses.items()]
    assert refused(calls) == ["sendPhoto 400", "sendMessage 429"]


def test_a_table_shows_the_errors_and_the_last_step_of_each_client():
    verdicts = [
        Verdict("good", dict.fromkeys(STEPS, "")),
        Verdict("other", {"echo": "", "photo": "no photo"}),
        Verdict("absent", {}, "no node"),
    ]
    assert table(verdicts, STEPS).splitlines() == [
        "        echo    photo   album",
        "good    ok      ok      ok",
        "other   ok      FAILED  -",
        "absent  skipped: no node",
        "other, photo: no photo",
    ]
    assert [verdict.is_good for verdict in verdicts] == [True, False, True]


def test_versions_come_from_both_lock_files():
    pins = "a-b==1.2 \\\n    --hash=sha256:0\n    # via x\nc==3\n"
    package_lock = {"packages": {"": {"name": "judges"}, "node_modules/d": {"version": "4.5"}}}
    assert versions(pins, json.dumps(package_lock)) == {"a-b": "1.2", "c": "3", "d": "4.5"}


def test_the_lock_file_names_no_registry():
    lock = (HERE / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') == lock.count('"node_modules/')


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.package)
def test_every_bot_reports_every_step(client):
    source = (HERE / "bots" / client.bot).read_text()
    assert [step for step in Visit(FakeServer()).steps if f'told("{step}"' not in source] == []


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.package)
def test_a_client_that_is_not_installed_is_reported(client, monkeypatch):
    monkeypatch.setenv("PATH", "")
    absent = client._replace(package="absent")
    assert absent.missing() == ("no node" if client.needs_node else "absent is not installed")


def test_the_pictures_are_whole():
    for content in PICTURES.values():
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        side = int.from_bytes(content[16:20], "big")
        start, size = content.index(b"IDAT") + 4, int.from_bytes(content[33:37], "big")
        assert len(zlib.decompress(content[start : start + size])) == (side + 1) * side
