"""Replies that are too large for the event loop: split as the small ones are, in short steps, in little memory."""

import json
import re
import threading
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram.botapi import intake_large
from telegram.botapi.intake import UPDATE_BYTES_MAX, UPDATES_MAX, BrokenReply, RawUpdate, split
from telegram.botapi.intake_large import HARD_HERE_MAX, SPLIT_HERE_MAX, split_large
from telegram.botapi.routing import route
from tests.botapi.test_intake import ODD_IDS, UPDATES, bodies, body_of, ids, one, reply_of


def bare(raws: list[RawUpdate]) -> list[tuple[int, bytes, bool]]:
    return [(raw.update_id, raw.body, raw.fields is None) for raw in raws]


@given(UPDATES, st.sampled_from([b",", b" ,\r\n\t "]))
def test_it_splits_as_the_other_one(updates: list[tuple[int, dict[str, Any], bool]], comma: bytes) -> None:
    sent = [
        body_of(i, {k: v for k, v in rest.items() if k != "update_id"}, flag) for i, rest, flag in updates
    ]
    reply = b'{"ok":true,"result":[ ' + comma.join(sent) + b" ]}"
    assert bare(split_large(reply)) == bare(split(reply))


@given(st.binary(), st.integers(0, 200))
def test_garbage_is_split_as_by_the_other_one(garbage: bytes, place: int) -> None:
    place %= len(one(2)) + 1
    spoilt = one(2)[:place] + garbage + one(2)[place:]
    for reply in (reply_of(one(1), spoilt, one(3), one(4)), reply_of(garbage), garbage):
        try:
            expected = bare(split(reply))
        except BrokenReply:
            with pytest.raises(BrokenReply):
                split_large(reply)
        else:
            assert bare(split_large(reply)) == expected


MARKS = st.lists(
    st.sampled_from(
        [*'{}[],:"\\x ', '{"update_id":7', ',{"update_id":8,', '"a":', "\\\\", '\\"', "]}", "1", "é"]
    ),
    max_size=40,
)


@given(MARKS)
def test_brackets_and_quotes_are_split_as_by_the_other_one(marks: list[str]) -> None:
    for reply in (reply_of("".join(marks).encode()), reply_of(one(1), "".join(marks).encode(), one(9))):
        assert bare(split_large(reply)) == bare(split(reply))


@given(st.data())
def test_a_cut_reply_is_split_as_by_the_other_one(data: st.DataObject) -> None:
    reply = reply_of(one(1), one(2), one(3))
    cut = reply[: data.draw(st.integers(len(b'{"ok":true,"result":['), len(reply)))]
    assert bare(split_large(cut)) == bare(split(cut))


@pytest.mark.parametrize("odd", ODD_IDS)
def test_odd_ids_are_replaced_as_by_the_other_one(odd: bytes) -> None:
    body = b'{"update_id":%b,"message":{}}' % odd
    for reply in (reply_of(one(10), body, one(12)), reply_of(body, body)):
        assert bare(split_large(reply, offset=30)) == bare(split(reply, offset=30))


def test_invalid_utf8_is_kept_and_routed() -> None:
    body = b'{"update_id":7,"message":{"chat":{"id":5},"from":{"id":5},"text":"\xc3\x28\xff"}}'
    [raw] = split_large(reply_of(body))
    assert raw.body == body
    assert route(raw.fields, 7) == route({"message": {"chat": {"id": 5}, "from": {"id": 5}}}, 7)


def test_updates_keep_their_lanes() -> None:
    winners = [{"id": n, "first_name": "x" * 30, "is_bot": False} for n in range(100)]
    message = {
        "winners": winners,
        "chat": {"id": -5, "type": "supergroup", "is_forum": True},
        "text": "x" * 4096,
        "is_topic_message": True,
        "message_thread_id": 9,
        "from": {"id": 7},
    }
    reply = reply_of(*[body_of(n, {"message": message}) for n in range(1, 101)])
    for large, small in zip(split_large(reply), split(reply), strict=True):
        assert route(large.fields, 1) == route(small.fields, 1)


def test_no_more_updates_are_taken_than_were_asked_for() -> None:
    reply = reply_of(*[one(number) for number in range(1, 201)])
    assert ids(split_large(reply, limit=3)) == [1, 2, 3]
    assert len(split_large(reply)) == UPDATES_MAX


def test_an_update_that_is_too_long_costs_only_itself() -> None:
    long = body_of(
        2, {"message": {"text": "x," * UPDATE_BYTES_MAX, "chat": {"id": 5}, "more": [[1, 2], {"a": "]}"}]}}
    )
    raws = split_large(reply_of(one(1), long, one(3)))
    assert bodies(raws) == [one(1), long, one(3)]
    assert ids(raws) == [1, 2, 3]
    assert raws[1].fields is None
    assert bodies(split_large(reply_of(one(1), long))) == [one(1), long]


def test_an_update_that_is_too_long_and_cut_is_not_taken() -> None:
    long = body_of(2, {"message": {"text": "x," * UPDATE_BYTES_MAX, "entities": [{}]}})
    assert ids(split_large(reply_of(one(1), long)[:-8])) == [1]


SIZE = 2**20
HOSTILE = {
    "commas": b"x," * (SIZE // 2),
    "nothing": b"," * SIZE,
    "lists": b"[],[],[],",
    "lists in a list": b"[" + b"[]," * (SIZE // 3),
    "open lists": b"[" * SIZE,
    "closed lists": b"]" * SIZE,
    "objects in an object": b'{"update_id":1,"a":{' + b'"b":{},' * (SIZE // 7) + b'"c":1}}',
    "a number": b"1" * SIZE,
    "a text": b'{"update_id":1,"a":"' + b"x" * SIZE + b'"}',
    "a text of escapes": b'{"update_id":1,"a":"' + b"\\u00e9" * (SIZE // 6) + b'"}',
    "a text of quotes": b'{"update_id":1,"a":"' + b'\\"' * (SIZE // 2) + b'"}',
    "a text without an end": b'{"update_id":1,"a":"' + b"x," * (SIZE // 2),
    "an end of the reply at every place": b"]}" * (SIZE // 2),
    "beginnings": b'{"update_id":1,"a":[' * (SIZE // 20),
    "nearly beginnings": b',{"update_id" ' * (SIZE // 14),
    "white space": b" " * SIZE,
    "white space behind a comma": b"1," + b" " * SIZE + b"2",
    "bytes that are no UTF-8": b"\xff" * SIZE,
    "wide letters": b'{"update_id":1,"a":"' + "\U0001f600".encode() * (SIZE // 4) + b'"}',
    "updates": b",".join(
        [b'{"update_id":%d,"message":{"text":"%b"}}' % (n, b"x" * 10_000) for n in range(100)]
    ),
    "lists in updates": b",".join([b'{"update_id":%d,"a":[%b1]}' % (n, b"[]," * 3_000) for n in range(100)]),
    "objects in updates": b",".join(
        [
            b'{"update_id":%d,"a":{%b"c":1}}' % (n, b",".join(b'"%d":{}' % k for k in range(3000)) + b",")
            for n in range(100)
        ]
    ),
}


class _Counting:
    """Stands in for a pattern or the scanner; notes the longest piece that one call reads, and how much all read."""

    def __init__(self, real: Any) -> None:
        self.real, self.longest, self.all = real, 0, 0

    def _note(self, count: int) -> None:
        self.longest, self.all = max(self.longest, count), self.all + count

    def __call__(self, text: str, at: int) -> Any:
        self._note(len(text))
        return self.real(text, at)

    def search(self, text: str, at: int, end: int = 2**62) -> Any:
        found = self.real.search(text, at, end)
        self._note((found.end() if found else min(len(text), end)) - at)
        return found

    def finditer(self, text: str, at: int, end: int) -> Any:
        for found in self.real.finditer(text, at, end):
            yield found
            self._note(found.end() - at)
            at = found.end()
        self._note(end - at)

    def match(self, text: str, at: int = 0) -> Any:
        found = self.real.match(text, at)
        self._note(found.end() - at if found else 0)
        return found


PATTERNS = ("scan", "_NEXT_UPDATE", "_AFTER_UPDATE", "_TOKEN", "_IN_STRING", "REPLY_END")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_reply_is_read_once_and_in_short_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counters = {name: _Counting(getattr(intake_large, name)) for name in PATTERNS}
    for each, counter in counters.items():
        monkeypatch.setattr(intake_large, each, counter)
    reply = reply_of(HOSTILE[name])
    split_large(reply)
    assert {name for name, counter in counters.items() if counter.longest > UPDATE_BYTES_MAX} == set()
    # The parser is given a copy of what it may read: each of 100 updates may cost one of these.
    most = {"scan": 2 * len(reply) + UPDATES_MAX * UPDATE_BYTES_MAX}
    assert {
        name for name, counter in counters.items() if counter.all > most.get(name, 2 * len(reply) + 2**17)
    } == set()


@pytest.mark.parametrize(
    "name",
    ["commas", "a text", "wide letters", "beginnings", "updates", "lists in updates", "objects in updates"],
)
def test_the_memory_is_bounded_by_the_reply(name: str) -> None:
    reply = reply_of(HOSTILE[name])
    tracemalloc.start()
    try:
        raws = split_large(reply)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del raws
    parsed_at_once = 40 * UPDATE_BYTES_MAX
    assert kept < 3 * len(reply) + 2**23
    assert peak < 4 * len(reply) + parsed_at_once


def test_the_envelope_is_short() -> None:
    reply = b'{"ok":true,"description":"' + b"x" * 2**20 + b'","result":[' + one(1) + b"]}"
    with pytest.raises(BrokenReply):
        split_large(reply)
    assert re.search(b"result", reply)
    assert json.loads(reply)["ok"]


@pytest.mark.parametrize(
    ("reply", "is_off_loop"),
    [
        (reply_of(one(1), b"x", one(2)), False),
        (reply_of(*[one(n) for n in range(1, 90)]) + b" " * HARD_HERE_MAX, False),
        (reply_of(one(1), b"x" * HARD_HERE_MAX), True),
        (reply_of(one(1)) + b" " * SPLIT_HERE_MAX, True),
    ],
)
async def test_what_takes_long_is_read_in_a_thread(
    reply: bytes, is_off_loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []

    def noted(*args: Any, **more: Any) -> Any:
        threads.append(threading.current_thread() is not threading.main_thread())
        return split_large(*args, **more)

    monkeypatch.setattr(intake_large, "split_large", noted)
    assert bare(await intake_large.split_off_loop(reply)) == bare(split(reply))
    assert threads == [True] * is_off_loop
