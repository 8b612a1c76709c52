import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram.botapi import intake
from telegram.botapi.intake import UPDATE_ID_MAX, UPDATES_MAX, BrokenReply, RawUpdate, split

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
UPDATES = st.lists(
    st.tuples(st.integers(0, UPDATE_ID_MAX), st.dictionaries(TEXT, JSON, max_size=2), st.booleans()),
    min_size=1,
    max_size=5,
)


def body_of(update_id: int, rest: dict[str, Any], escaped: bool = True) -> bytes:
    return json.dumps({"update_id": update_id} | rest, ensure_ascii=escaped).encode()


def reply_of(*bodies: bytes) -> bytes:
    return b'{"ok":true,"result":[' + b",".join(bodies) + b"]}"


def one(update_id: int) -> bytes:
    return body_of(update_id, {"message": {"text": "hi, {you} [there]", "chat": {"id": 5}, "entities": [{}]}})


def ids(raws: list[RawUpdate]) -> list[int]:
    return [raw.update_id for raw in raws]


def bodies(raws: list[RawUpdate]) -> list[bytes]:
    return [raw.body for raw in raws]


@given(UPDATES, st.sampled_from([b",", b" ,\r\n\t "]))
def test_split_undoes_join(updates: list[tuple[int, dict[str, Any], bool]], comma: bytes) -> None:
    # Another "update_id" inside the object would be the same key twice.
    sent = [
        body_of(i, {k: v for k, v in rest.items() if k != "update_id"}, flag) for i, rest, flag in updates
    ]
    raws = split(b'{"ok":true,"result":[ ' + comma.join(sent) + b" ]}")
    assert bodies(raws) == sent
    assert ids(raws) == [update_id for update_id, _, _ in updates]
    assert [raw.fields for raw in raws] == [json.loads(body) for body in sent]


@given(st.binary(), st.integers(0, 200))
def test_garbage_in_one_update_spares_those_before_it(garbage: bytes, place: int) -> None:
    place %= len(one(2)) + 1
    spoilt = one(2)[:place] + garbage + one(2)[place:]
    raws = split(reply_of(one(1), spoilt, one(3), one(4)))
    assert raws[0] == RawUpdate(1, one(1), json.loads(one(1)))


@given(st.binary().filter(lambda garbage: not set(garbage) & set(b',[]{}"\\')), st.integers(1, 200))
def test_garbage_without_brackets_spares_all_others(garbage: bytes, place: int) -> None:
    place = 1 + place % (len(one(2)) - 1)
    spoilt = one(2)[:place] + garbage + one(2)[place:]
    raws = split(reply_of(one(1), spoilt, one(3), one(4)))
    assert bodies(raws) == [one(1), spoilt, one(3), one(4)]
    assert ids(raws)[2:] == [3, 4]


@pytest.mark.parametrize(
    "garbage",
    [b'"', b"\\x", b"{", b"[", b"}", b"]", b"{{{", b'"{"', b"\\\\\\u1", b'x":[', b"\x00\xff", b"[" * 100_000],
)
def test_broken_update_in_the_middle_keeps_its_bytes_and_its_id(garbage: bytes) -> None:
    spoilt = one(2).replace(b"hi, ", b"hi" + garbage + b'" oops ')
    raws = split(reply_of(one(1), spoilt, one(3)))
    assert bodies(raws) == [one(1), spoilt, one(3)]
    assert ids(raws) == [1, 2, 3]
    assert raws[1].fields is None


@pytest.mark.parametrize("garbage", [b'"', b"{", b"[", b"]", b"]]]", b"\\", b'":{"', b"\x00"])
def test_garbage_between_the_keys_of_an_update(garbage: bytes) -> None:
    spoilt = one(2).replace(b', "message"', garbage + b', "message"')
    assert split(reply_of(one(1), spoilt, one(3)))[1:] == [
        RawUpdate(2, spoilt, None),
        RawUpdate(3, one(3), json.loads(one(3))),
    ]


def test_depth_beyond_the_parser_costs_one_update() -> None:
    deep = b'{"update_id":2,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    raws = split(reply_of(one(1), deep, one(3)))
    assert raws[1] == RawUpdate(2, deep, None)
    assert ids(raws) == [1, 2, 3]


@pytest.mark.parametrize("tail", [b"]}", b"] } \n", b'],"ok":true}'])
def test_broken_update_at_the_end_of_a_whole_reply_is_not_held_back(tail: bytes) -> None:
    spoilt = b'{"update_id":2,"message":{{"text":"a"}}'
    raws = split(b'{"result":[' + one(1) + b"," + spoilt + tail)
    assert bodies(raws) == [one(1), spoilt]
    assert raws[1] == RawUpdate(2, spoilt, None)


@given(st.data())
def test_cut_reply_gives_a_readable_prefix(data: st.DataObject) -> None:
    sent = [one(1), one(2), one(3)]
    reply = reply_of(*sent)
    start = len(b'{"ok":true,"result":[')
    raws = split(reply[: data.draw(st.integers(start, len(reply)))])
    assert bodies(raws) == sent[: len(raws)]
    assert all(raw.fields is not None for raw in raws)


def test_cut_reply_gives_all_that_is_whole() -> None:
    reply = reply_of(one(1), one(2))
    assert ids(split(reply[:-2])) == [1, 2]
    assert ids(split(reply[:-3])) == [1]


def test_invalid_utf8_is_routable_and_byte_exact() -> None:
    body = b'{"update_id":7,"callback_query":{"data":"\xc3\x28\xff\xed\xa0\x80"}}'
    [raw] = split(reply_of(body))
    assert raw.body == body
    assert raw.fields is not None
    assert raw.fields["update_id"] == 7


def test_control_characters_do_not_cost_the_fields() -> None:
    body = b'{"update_id":7,"message":{"text":"a\x00\nb"}}'
    [raw] = split(reply_of(body))
    assert raw.fields == {"update_id": 7, "message": {"text": "a\x00\nb"}}


@pytest.mark.parametrize(
    "reply",
    [
        b'{"result":[%b],"ok":true}',
        b' \n{ "ok" : true , "result" : [ %b ] } ',
        b'{"ok":true,"description":"result\\":[","extra":{"result":[1]},"result":[%b],"more":[1]}',
        b'\xef\xbb\xbf{"ok":true,"result":[%b]}',
    ],
)
def test_envelope_in_any_order(reply: bytes) -> None:
    assert bodies(split(reply % one(9))) == [one(9)]


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"<html></html>",
        b"[]",
        b"null",
        b"{}",
        b'{"ok":true}',
        b'{"ok":true,"result":true}',
        b'{"ok":true,"result":{"result":[]}}',
        b'{"ok":tru',
        b'{"a":' + b"[" * 100_000,
    ],
)
def test_reply_without_a_list_is_broken(reply: bytes) -> None:
    with pytest.raises(BrokenReply):
        split(reply)


@given(st.binary())
def test_total_for_any_bytes(garbage: bytes) -> None:
    for reply in (garbage, reply_of(garbage), b'{"ok":true,"result":[' + garbage):
        try:
            raws = split(reply)
        except BrokenReply:
            continue
        assert all(type(raw.update_id) is int and raw.update_id >= 0 for raw in raws)


def test_empty_list() -> None:
    assert split(b'{"ok":true,"result":[]}') == []
    assert split(b'{"ok":true,"result":[ \n]}') == []


ODD_IDS = [b"true", b"7.0", b'"7"', b"-7", b"9007199254740992", b"1" * 5000, b"null", b"[7]"]


@pytest.mark.parametrize("odd", ODD_IDS)
def test_odd_id_is_replaced_by_the_one_left_free(odd: bytes) -> None:
    body = b'{"update_id":%b,"message":{}}' % odd
    assert ids(split(reply_of(one(10), body, one(12)))) == [10, 11, 12]
    assert ids(split(reply_of(body, body, one(12)))) == [10, 11, 12]
    assert ids(split(reply_of(one(10), body, body))) == [10, 11, 12]
    assert ids(split(reply_of(body, body), offset=30)) == [30, 31]
    assert ids(split(reply_of(body), offset=-1)) == [0]


def test_invented_id_never_takes_a_later_updates_place() -> None:
    raws = split(reply_of(one(10), b"null", b"5", one(11), b"{}"))
    assert ids(raws)[3] == 11
    assert 11 not in ids(raws)[:3]
    assert ids(raws)[4] == 12


def test_ids_may_go_down() -> None:
    assert ids(split(reply_of(one(900), b"{}", one(7)))) == [900, 6, 7]


def test_what_is_no_object_has_no_fields() -> None:
    raws = split(reply_of(b"5", b'"update_id"', b"[{}]", b"null"))
    assert [raw.fields for raw in raws] == [None] * 4


def test_id_of_a_broken_update_is_its_own_not_a_users_word() -> None:
    body = b'{"message":{"text":"\\"update_id\\":5, x"}, oops "update_id" : 42}'
    assert ids(split(reply_of(body))) == [42]
    assert ids(split(reply_of(one(1), b'{"update_id":4.5, oops}'))) == [1, 2]


def test_no_more_updates_are_taken_than_were_asked_for() -> None:
    sent = [one(number) for number in range(1, 201)]
    assert ids(split(reply_of(*sent), limit=3)) == [1, 2, 3]
    assert len(split(reply_of(*sent))) == UPDATES_MAX  # Telegram Bot API, getUpdates: limit is 1 to 100


class _Counting:
    """Stands in for a pattern or a scanner, and counts the characters that it reads."""

    def __init__(self, real: Any) -> None:
        self.real, self.read = real, 0

    def __call__(self, text: str, at: int) -> Any:
        try:
            value, end = self.real(text, at)
        except ValueError as error:
            self.read += getattr(error, "pos", at) - at + 1
            raise
        self.read += end - at
        return value, end

    def search(self, text: str, at: int) -> Any:
        found = self.real.search(text, at)
        self.read += (found.end() if found else len(text)) - at
        return found

    def finditer(self, text: str, at: int, limit: int) -> Any:
        for found in self.real.finditer(text, at, limit):
            yield found
            at, before = found.end(), at
            self.read += at - before


@pytest.mark.parametrize(
    "items",
    [
        b"x," * 2000,
        b'{"a":[1,' * 2000,
        b'"' + b"x," * 2000,
        b'{"update_id":1,"a":[1,' * 500,
        (b'{"update_id":1,"a":[1,' + b"2," * 50) * 90,
        b'{"update_id":1,"a":[],"b":[' + b'1],"c":' * 2000,
        b"[}," * 2000 + b'{"update_id":7}',
        b"]}" * 2000 + b'{"update_id":7}',
    ],
)
def test_a_hostile_reply_is_read_a_fixed_number_of_times(
    items: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = {name: _Counting(getattr(intake, name)) for name in ("scan", "_NEXT_UPDATE", "_TOKEN")}
    for name, counter in counters.items():
        monkeypatch.setattr(intake, name, counter)
    reply = b'{"ok":true,"result":[' + items + b"]}"
    split(reply, limit=10**6)
    assert {name: counter.read for name, counter in counters.items() if counter.read > 3 * len(reply)} == {}
