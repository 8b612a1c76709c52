import json

from telegram.fake.protocol.answers import ApiError, Described, accepted, bad_request, forbidden, refused


def test_a_result():
    assert accepted({"text": "ж\ud83d"}) == b'{"ok":true,"result":{"text":"\\u0436\\ud83d"}}'


def test_a_result_with_a_description():
    described = Described(True, "Webhook was deleted")
    assert json.loads(accepted(described)) == {
        "ok": True,
        "result": True,
        "description": "Webhook was deleted",
    }


def test_an_error():
    assert refused(bad_request("chat not found")) == (
        b'{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}'
    )
    assert json.loads(refused(forbidden("go away")))["error_code"] == 403


def test_an_error_with_parameters():
    error = ApiError(429, "Too Many Requests: retry after 3", retry_after=3)
    assert json.loads(refused(error))["parameters"] == {"retry_after": 3}
    assert str(error) == "Too Many Requests: retry after 3"
