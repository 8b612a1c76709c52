import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram.botapi.errors import (
    RETRY_AFTER_DEFAULT_S,
    TEXT_MAX,
    ApiError,
    Conflict,
    NotSent,
    OutcomeUnknown,
    Refused,
    RetryAfter,
    ServerTrouble,
    TelegramError,
    Unauthorized,
    Unreadable,
    api_error,
    one_line,
    parse,
    redact,
)

SECRET = "AAF-x_y" + "k3" * 14
TOKEN = f"123456789:{SECRET}"
HTML = b"<html>\r\n<head><title>502 Bad Gateway</title></head></html>"


def answer(code: int, description: str = "", **parameters: object) -> bytes:
    body = {"ok": False, "error_code": code, "description": description}
    return json.dumps(body | ({"parameters": parameters} if parameters else {})).encode()


@pytest.mark.parametrize(
    ("method", "status", "body", "kind"),
    [
        ("sendMessage", 400, answer(400, "Bad Request: chat not found"), Refused),
        (
            "sendMessage",
            400,
            answer(400, "Bad Request: can't parse entities: Unsupported start tag"),
            Refused,
        ),
        ("sendMessage", 400, answer(400, "Logged out"), Unauthorized),
        ("sendMessage", 400, answer(400, "Bad Request: Logged out"), Unauthorized),
        ("sendMessage", 400, answer(400, "Bad Request: can't parse entities: logged out"), Refused),
        ("sendMessage", 401, answer(401, "Unauthorized"), Unauthorized),
        ("getUpdates", 401, HTML, Unauthorized),
        ("sendMessage", 403, answer(403, "Forbidden: bot was blocked by the user"), Refused),
        ("getMe", 404, answer(404, "Not Found"), Unauthorized),
        ("GETME", 404, HTML, Unauthorized),
        ("sendMessage", 404, answer(404, "Not Found"), Refused),
        ("getUpdates", 409, answer(409, "Conflict: terminated by other getUpdates request"), Conflict),
        ("sendDocument", 413, answer(413, "Request Entity Too Large"), Refused),
        ("sendDocument", 413, HTML, Refused),
        ("sendMessage", 421, answer(421, "Misdirected Request"), Unauthorized),
        ("sendMessage", 429, answer(429, "Too Many Requests: retry after 7", retry_after=7), RetryAfter),
        ("sendMessage", 429, HTML, RetryAfter),
        ("sendMessage", 420, answer(420, "FLOOD_WAIT_3"), RetryAfter),
        ("sendMessage", 408, HTML, ServerTrouble),
        ("sendMessage", 500, answer(500, "Internal Server Error: restart"), ServerTrouble),
        ("getMe", 502, HTML, ServerTrouble),
        ("sendMessage", 504, b"", ServerTrouble),
        ("sendMessage", 200, HTML, ServerTrouble),
        ("sendMessage", 200, b"[]", ServerTrouble),
        ("sendMessage", 200, b'{"result":1}', ServerTrouble),
        ("sendMessage", 302, HTML, ServerTrouble),
        # The envelope's own code counts, where it is one.
        ("sendMessage", 200, answer(403, "Forbidden"), Refused),
        ("sendMessage", 502, b'{"ok":false,"error_code":"403"}', ServerTrouble),
        ("sendMessage", 502, b'{"error_code":403}', ServerTrouble),
    ],
)
def test_status_and_body_decide_the_type(method: str, status: int, body: bytes, kind: type[ApiError]) -> None:
    error = api_error(method, status, body)
    assert type(error) is kind
    assert error.method == method


@pytest.mark.parametrize(
    ("parameters", "header", "wait_s"),
    [
        ({"retry_after": 7}, None, 7),
        ({"retry_after": 7}, "9", 7),
        ({}, "9", 9),
        ({"retry_after": 0}, None, RETRY_AFTER_DEFAULT_S),
        ({"retry_after": -3}, "4", 4),
        ({"retry_after": True}, None, RETRY_AFTER_DEFAULT_S),
        ({"retry_after": "7"}, None, 7),
        ({"retry_after": "7 s"}, None, RETRY_AFTER_DEFAULT_S),
        ({"retry_after": 7.2}, "9", 8),
        ({"retry_after": 0.4}, None, 1),
        ({"retry_after": 0}, "9", 9),
        ({"retry_after": float("nan")}, None, RETRY_AFTER_DEFAULT_S),
        ({"retry_after": float("inf")}, None, RETRY_AFTER_DEFAULT_S),
        ({"retry_after": 42_371}, None, 42_371),  # tucnak/telebot#517
        (
            {"retry_after": 200_000},
            None,
            86_400,
        ),  # longer than a day: asked again after one, not after five seconds
        ({}, "17.5", 18),
        ({"retry_after": 10**30}, None, RETRY_AFTER_DEFAULT_S),
        ({"retry_after": 86_400}, None, 86_400),
        ({}, None, RETRY_AFTER_DEFAULT_S),
        ({}, "Wed, 21 Oct 2026 07:28:00 GMT", RETRY_AFTER_DEFAULT_S),
        ({}, "٣", RETRY_AFTER_DEFAULT_S),
        ({}, "9" * 5000, RETRY_AFTER_DEFAULT_S),
    ],
)
def test_wait_after_a_flood(parameters: dict[str, object], header: str | None, wait_s: float) -> None:
    error = api_error("sendMessage", 429, answer(429, "Too Many Requests", **parameters), header)
    assert isinstance(error, RetryAfter)
    assert error.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("description", "parameters", "wait_s"),
    [
        # NousResearch/hermes-agent#110118: an answer without parameters; the number stands in its words alone
        ("Too Many Requests: retry after 30", {}, 30),
        ("Too Many Requests: retry after 30", {"retry_after": 31}, 31),
        ("Too Many Requests: retry after 30, or so", {}, RETRY_AFTER_DEFAULT_S),
    ],
)
def test_the_words_of_a_flood_name_the_wait_too(description, parameters, wait_s) -> None:
    error = api_error("sendMessage", 429, answer(429, description, **parameters))
    assert isinstance(error, RetryAfter)
    assert error.retry_after_s == wait_s


def test_wait_named_by_a_front_that_speaks_html() -> None:
    error = api_error("sendMessage", 429, HTML, "12")
    assert isinstance(error, RetryAfter)
    assert error.retry_after_s == 12


def test_migration_names_the_new_chat() -> None:
    moved = "Bad Request: group chat was upgraded to a supergroup chat"
    error = api_error("sendMessage", 400, answer(400, moved, migrate_to_chat_id=-1001234567890))
    assert isinstance(error, Refused)
    assert error.migrate_to_chat_id == -1001234567890
    other = api_error("sendMessage", 400, answer(400, moved, migrate_to_chat_id="-100"))
    assert isinstance(other, Refused)
    assert other.migrate_to_chat_id is None


def test_text_is_one_printable_line_and_short() -> None:
    error = api_error("sendMessage", 400, answer(400, "a\r\nb\x1b[31m\u2028c" + "d" * 1000))
    assert error.description.startswith("a b [31m cdd")
    assert len(error.description) == TEXT_MAX
    assert str(error).startswith("sendMessage: 400 a b")


def test_html_is_not_quoted() -> None:
    assert str(api_error("getMe", 502, HTML)) == "getMe: 502 HTTP 502, not JSON"
    assert str(api_error("getMe", 502, b"[]")) == "getMe: 502 HTTP 502, not an answer of the Bot API"


def test_invalid_utf8_does_not_hide_the_answer() -> None:
    error = api_error("sendMessage", 403, answer(403, "Forbidden: @").replace(b"@", b"\xff"))
    assert error.description == "Forbidden: \N{REPLACEMENT CHARACTER}"


@given(st.text(), st.text(), st.sampled_from([TOKEN, SECRET, TOKEN.replace(":", "%3A"), f"/bot{TOKEN}/x"]))
def test_token_never_survives_in_an_answer(before: str, after: str, leak: str) -> None:
    body = answer(400, before + leak + after, retry_after=leak, **{leak: leak})
    error = api_error("sendMessage", 400, body, token=TOKEN)
    assert SECRET not in f"{error} {error!r} {error.args} {vars(error)}"


def test_token_is_redacted_before_the_text_is_cut() -> None:
    line = one_line("x" * (TEXT_MAX - 20) + TOKEN, TOKEN)
    assert SECRET[:5] not in line


@pytest.mark.parametrize(
    "text",
    [
        f"https://api.telegram.org/bot{TOKEN}/getMe",
        f"https://api.telegram.org/file/bot{TOKEN}/a.jpg",
        f"bot{TOKEN.replace(':', '%3A')}/test/getMe",
        f"bot{TOKEN.replace(':', '%3a')}",
    ],
)
def test_any_token_is_redacted(text: str) -> None:
    assert SECRET not in redact(text)
    assert "123456789:***" in redact(text)


@pytest.mark.parametrize("text", ["2026-11-22T12:30:00", "127.0.0.1:8081", "sha256:" + "ab" * 32, "id 5"])
def test_innocent_text_is_left_alone(text: str) -> None:
    assert redact(text, TOKEN) == text


@pytest.mark.parametrize("secret", ["a.secret/of other+letters", SECRET])
def test_a_secret_is_struck_out_without_its_neighbours(secret: str) -> None:
    assert redact(f"user_{secret}!", f"1:{secret}") == "user_***!"


def test_short_secret_does_not_shred_words() -> None:
    assert redact("a cat and 1:a", "1:a") == "a cat and 1:***"


@given(st.integers(100, 599), st.binary(), st.text())
def test_any_answer_has_a_type(status: int, body: bytes, header: str) -> None:
    error = api_error("sendMessage", status, body, header)
    assert len(error.description) <= TEXT_MAX


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"9" * 5000, b"\xff"])
def test_parse_is_total(body: bytes) -> None:
    assert parse(body) is ...


def test_every_error_is_a_telegram_error_with_a_reason() -> None:
    errors = [NotSent("getMe", "refused"), OutcomeUnknown("getMe", "reset"), Unreadable("broken JSON")]
    assert all(isinstance(error, TelegramError) for error in errors)
    assert [str(error) for error in errors] == [
        "getMe: not sent, refused",
        "getMe: outcome unknown, reset",
        "broken JSON",
    ]
