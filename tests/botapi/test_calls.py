import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram.botapi.calls import decode_call, encode_call, files_of
from telegram.botapi.files import InputFile
from telegram.botapi.types import InputMediaDocument, LinkPreviewOptions, Message


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


# -- files -----------------------------------------------------------------------------------------------------

ALBUM = [
    InputMediaDocument(
        media=InputFile("/a.pdf"), caption="one", thumbnail=InputFile(b"jpg", filename="t.jpg")
    ),
    InputMediaDocument(media="file_id"),
]


def test_a_call_with_files_holds_references_and_their_places():
    body = encode_call("sendDocument", {"chat_id": 1, "document": InputFile("/a b.pdf")})
    reference = '{"uri":"file:///a%20b.pdf","filename":"a b.pdf","mime":"application/octet-stream"}'
    assert body.decode() == f'sendDocument\t[[["document"],{reference}]]\n{{"chat_id":1,"document":null}}'


def test_files_are_found_wherever_they_are():
    body = encode_call("sendMediaGroup", {"chat_id": 1, "media": ALBUM})
    method, params = decode_call(body)
    assert method == "sendMediaGroup"
    assert json.loads(params) == {
        "chat_id": 1,
        "media": [
            {"type": "document", "media": None, "caption": "one", "thumbnail": None},
            {"type": "document", "media": "file_id"},
        ],
    }
    assert dict(files_of(body)) == {
        ("media", 0, "media"): InputFile("/a.pdf"),
        ("media", 0, "thumbnail"): InputFile(b"jpg", filename="t.jpg"),
    }


@given(st.text(), st.text(min_size=1))
def test_nothing_that_a_user_writes_becomes_a_file(text, filename):
    plain = encode_call("sendMessage", {"text": text, text: "x"})
    assert files_of(plain) == ()
    assert json.loads(decode_call(plain)[1]) == {"text": text, text: "x"}
    with_file = encode_call("sendDocument", {"caption": text, "document": InputFile("/x", filename=filename)})
    assert [placed.at for placed in files_of(with_file)] == [("document",)]
    assert json.loads(decode_call(with_file)[1])["caption"] == text


def test_objects_of_telegram_are_params():
    body = encode_call("sendMessage", {"link_preview_options": LinkPreviewOptions(is_disabled=True)})
    assert decode_call(body)[1] == b'{"link_preview_options":{"is_disabled":true}}'
    assert files_of(body) == ()


def test_fields_have_telegrams_names():
    message: dict[str, Any] = {"message_id": 1, "date": 1, "chat": {"id": 5, "type": "private"}, "new": [1]}
    message["from"] = {"id": 6, "is_bot": False, "first_name": "A"}
    given = Message.model_validate(message)
    told = json.loads(decode_call(encode_call("x", {"m": given}))[1])["m"]
    assert told == message


def test_what_cannot_wait_is_refused_at_once():
    async def stream():
        yield b""

    with pytest.raises(ValueError, match="write it to a file"):
        encode_call("sendDocument", {"document": InputFile(stream(), filename="x")})


@pytest.mark.parametrize(
    "references", [b"{", b"5", b"[5]", b'[[["a"],{}]]', b'[[["a"],{"uri":5}]]', b'[[["a"]]]']
)
def test_broken_references_are_a_value_error(references):
    with pytest.raises(ValueError):
        files_of(b"sendDocument\t" + references + b"\n{}")
