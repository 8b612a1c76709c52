import json

import pytest

from telegram.calls import decode_call, encode_call


def test_a_call_is_a_line_with_the_method_and_compact_json():
    body = encode_call("sendMessage", {"chat_id": 1, "text": "grüß\n👋", "reply_markup": {"a": [1, True]}})
    expected = '{"chat_id":1,"text":"grüß\\n👋","reply_markup":{"a":[1,true]}}'
    assert body == b"sendMessage\n" + expected.encode()


def test_what_is_encoded_is_decoded():
    params = {"text": "line 1\nline 2", "chat_id": "@channel"}
    method, body = decode_call(encode_call("sendMessage", params))
    assert method == "sendMessage"
    assert json.loads(body) == params


def test_a_call_without_params():
    assert decode_call(encode_call("getMe", {})) == ("getMe", b"{}")


@pytest.mark.parametrize("method", ["", "send Message", "send\nMessage", "../getMe", "sendMessagé"])
def test_what_is_no_method_is_refused(method):
    with pytest.raises(ValueError, match="not a Bot API method"):
        encode_call(method, {})


@pytest.mark.parametrize("value", ["\ud83d", float("nan"), float("inf")])
def test_what_telegram_could_not_read_is_refused(value):
    with pytest.raises(ValueError):
        encode_call("sendMessage", {"text": value})


def test_an_object_is_refused():
    with pytest.raises(TypeError):
        encode_call("sendMessage", {"text": object()})


@pytest.mark.parametrize("body", [b"", b"sendMessage", b"\xff\n{}"])
def test_a_body_that_is_no_call_is_refused(body):
    with pytest.raises(ValueError):
        decode_call(body)
