"""Which trace a delivery belongs to."""

import pytest

from engine import Queue
from engine.model import TIMER_IDS, Delivery, Envelope, Lease
from telegram.botapi.calls import decode_call, encode_call, files_of
from telegram.botapi.files import InputFile
from telegram.botapi.named import has_flag, is_quiet, naming_of, quiet, update_of, with_update
from telegram.tracing import trace_id_of
from telegram.tracing.identity import identity, source_of


def of(queue: Queue, number: int, body: bytes = b"{}") -> Delivery:
    return Delivery(Lease(queue, "chat:7", 1), Envelope(number, "chat:7", "7", body), 1, None)


def test_a_call_has_the_trace_of_its_update():
    call = with_update(encode_call("sendMessage", {"chat_id": 7, "text": "update=9"}), 5)
    assert source_of(of(Queue.OUTBOX, 1, call)) == (Queue.INBOX, 5)
    trace_id = trace_id_of("42")
    assert trace_id(of(Queue.OUTBOX, 1, call)) == trace_id(of(Queue.INBOX, 5))
    assert trace_id(of(Queue.INBOX, 5)) != trace_id(of(Queue.INBOX, 6))
    assert trace_id(of(Queue.INBOX, 5)) != trace_id_of("43")(of(Queue.INBOX, 5))


def test_a_call_without_an_update_has_its_own():
    call = encode_call("sendMessage", {"chat_id": 7, "text": "update=9"})
    assert source_of(of(Queue.OUTBOX, 5, call)) == (Queue.OUTBOX, 5)
    assert identity("42", Queue.OUTBOX, 5) != identity("42", Queue.INBOX, 5)


def test_ids_are_the_same_in_each_version():
    """Else the processes of two versions would make two traces of one update."""
    assert trace_id_of("42")(of(Queue.INBOX, 5)) == "e47c1ea2513a92d2d644480f474274d6"
    assert f"{identity('42', Queue.INBOX, 5).span_id:016x}" == "03e558868352d949"


@pytest.mark.parametrize(
    "call",
    [
        encode_call("sendMessage", {"chat_id": 7, "text": "a\tb"}),
        encode_call("sendPhoto", {"chat_id": 7, "photo": InputFile("/p.png")}),
        encode_call("sendMessage", {"chat_id": 7, "text": "x", "parse_mode": "HTML"}, "menu", plain=True),
        quiet(encode_call("sendMessage", {"chat_id": 7, "text": "x"})),
    ],
)
@pytest.mark.parametrize("number", [5, TIMER_IDS + 5])
def test_a_call_is_otherwise_the_same_for_its_readers(call: bytes, number: int):
    """Also for those of an earlier version, which knows no such flag."""
    marked = with_update(call, number)
    assert update_of(call) is None
    assert update_of(marked) == number
    assert decode_call(marked) == decode_call(call)
    assert files_of(marked) == files_of(call)
    assert naming_of(marked) == naming_of(call)
    assert is_quiet(marked) == is_quiet(call)
    assert has_flag(marked, b"plain") == has_flag(call, b"plain")


@pytest.mark.parametrize("flag", [b"update=", b"update=x", b"update=-5", b"updates=5"])
def test_other_flags_are_none(flag: bytes):
    assert update_of(b"sendMessage\t[]\t[null,[]]\t" + flag + b"\n{}") is None
