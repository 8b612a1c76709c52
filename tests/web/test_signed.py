"""Init data and login data: what is signed by Telegram for this bot passes, and nothing else.

The signed examples are public: aiogram's tests (tests/test_utils/test_web_app.py, test_auth_widget.py), and
Telegram-Mini-Apps/init-data-golang#11, where a name with "+", "?" and "\\/" made others' checks fail, as `photo_url` did in
nimaxin/init-data-py#6 (a parsed and rewritten JSON has another hash).
"""

import hmac
from hashlib import sha256
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from telegram.web import Expired, Unverified, check_init_data, check_login

TOKEN = "42:TEST"
SIGNED = (
    "auth_date=1650385342&user=%7B%22id%22%3A42%2C%22first_name%22%3A%22Test%22%7D&query_id=test"
    "&hash=46d2ea5e32911ec8d30999b56247654460c0d20949b6277af519e76271182803"
)
AT = 1650385342.0

TOKEN_2 = "7342037359:AAHI25ES9xCOMPokpYoz-p8XVrZUdygo2J4"
SIGNED_2 = (
    "user=%7B%22id%22%3A279058397%2C%22first_name%22%3A%22Vladislav%20%2B%20-%20%3F%20%5C%2F%22%2C%22last_name%22%3A%22"
    "Kibenko%22%2C%22username%22%3A%22vdkfrost%22%2C%22language_code%22%3A%22ru%22%2C%22is_premium%22%3Atrue%2C%22"
    "allows_write_to_pm%22%3Atrue%2C%22photo_url%22%3A%22https%3A%5C%2F%5C%2Ft.me%5C%2Fi%5C%2Fuserpic%5C%2F320%5C%2F"
    "4FPEE4tmP3ATHa57u6MqTDih13LTOiMoKoLDRG4PnSA.svg%22%7D&chat_instance=8134722200314281151&chat_type=private"
    "&auth_date=1733509682&signature=TYJxVcisqbWjtodPepiJ6ghziUL94-KNpG8Pau-X7oNNLNBM72APCpi_RKiUlBvcqo5L-LAxIc3dnTzcZX_PDg"
    "&hash=a433d8f9847bd6addcc563bff7cc82c89e97ea0d90c11fe5729cae6796a36d73"
)
AT_2 = 1733509682.0

LOGIN_TOKEN = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"
LOGIN = {
    "id": "42",
    "first_name": "John",
    "last_name": "Smith",
    "username": "username",
    "photo_url": "https://t.me/i/userpic/320/picname.jpg",
    "auth_date": "1565810688",
    "hash": "c303db2b5a06fe41d23a9b14f7c545cfc11dcc7473c07c9c5034ae60062461ce",
}
LOGIN_AT = 1565810688.0


def hash_of(fields: dict[str, str], secret: bytes) -> str:
    lines = "\n".join(f"{key}={value}" for key, value in sorted(fields.items()))
    return hmac.new(secret, lines.encode(), "sha256").hexdigest()


def signed(**fields: str) -> str:
    """Init data, as Telegram would sign it for TOKEN."""
    fields = {"auth_date": str(int(AT)), **fields}
    secret = hmac.new(b"WebAppData", TOKEN.encode(), "sha256").digest()
    return urlencode({**fields, "hash": hash_of(fields, secret)}, quote_via=quote)


def test_signed_by_telegram():
    read = check_init_data(SIGNED, TOKEN, now=AT)
    assert (read.user.id, read.user.first_name, read.query_id) == (42, "Test", "test")
    assert read.auth_date.timestamp() == AT and read.auth_date.utcoffset().total_seconds() == 0
    assert (read.chat, read.start_param, read.user.is_premium) == (None, None, False)


def test_the_values_are_hashed_as_they_came():
    read = check_init_data(SIGNED_2, TOKEN_2, now=AT_2)
    assert read.user.first_name == "Vladislav + - ? /"
    assert read.user.photo_url == "https://t.me/i/userpic/320/4FPEE4tmP3ATHa57u6MqTDih13LTOiMoKoLDRG4PnSA.svg"
    assert (read.chat_type, read.user.language_code) == ("private", "ru")


def test_the_signature_is_covered_by_the_hash():
    """Since Bot API 8.0: what leaves `signature` out of the lines refuses everything (tdlib/telegram-bot-api#747)."""
    with pytest.raises(Unverified, match="hash"):
        check_init_data(SIGNED_2.replace("signature=TYJ", "signature=XYJ"), TOKEN_2, now=AT_2)


def test_all_fields():
    text = signed(
        chat='{"id":-100,"type":"supergroup","title":"a & b = c","new":1}',
        receiver='{"id":7,"first_name":"R"}',
        start_param="ref_1-2",
        can_send_after="5",
        chat_type="supergroup",
        chat_instance="-123",
        added_later="x",
    )
    read = check_init_data(text, TOKEN, now=AT)
    assert (read.chat.id, read.chat.title, read.receiver.id) == (-100, "a & b = c", 7)
    assert (read.start_param, read.can_send_after, read.user) == ("ref_1-2", 5, None)
    assert read.model_extra == {"added_later": "x"}
    with pytest.raises(ValidationError):
        read.start_param = "other"  # type: ignore[misc]


def test_a_plus_is_a_space_as_in_every_query_string():
    assert "%20" in (text := signed(start_param="a b"))
    assert check_init_data(text.replace("%20", "+"), TOKEN, now=AT).start_param == "a b"


@pytest.mark.parametrize("token", ["42:test", "43:TEST", "42:TEST2", TOKEN_2])
def test_another_bots_token(token):
    with pytest.raises(Unverified, match="hash") as caught:
        check_init_data(SIGNED, token, now=AT)
    assert token not in str(caught.value)


@pytest.mark.parametrize("token", ["", "TEST", "42:TEST\n", " 42:TEST", "42:TE ST", None, b"42:TEST"])
def test_a_token_that_is_none_is_the_authors_error(token):
    with pytest.raises(ValueError, match="token is empty") as caught:
        check_init_data(SIGNED, token, now=AT)
    assert "TEST" not in str(caught.value)
    assert not isinstance(caught.value, Unverified)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "&",
        "=",
        "hash",
        "hash=",
        "user",
        SIGNED.replace("&hash=46", "&hash=47"),
        SIGNED.replace("&hash=46d2", "&hash=46D2"),
        SIGNED.partition("&hash")[0],
        SIGNED + "&a=b",
        SIGNED + "&",
        SIGNED.replace("42", "43"),
        SIGNED.replace("&hash=4", "&hash=%C3%A4"),
        SIGNED.replace("query_id=test", "query_id=%FF"),
        SIGNED.replace("query_id=test", "query_id=%ED%A0%80"),
        SIGNED.replace("query_id=test", "query_id=te%00st"),
        "hash=" + "0" * 64,
        "&".join(f"a{n}=1" for n in range(65)),
        "a" * 20_000,
        "x=" + "%41" * 100_000,
        "\ud800=1",
    ],
)
def test_what_is_not_signed_is_refused_in_one_line(text):
    with pytest.raises(Unverified) as caught:
        check_init_data(text, TOKEN, now=AT)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 120


@pytest.mark.parametrize("key", ["hash", "auth_date", "user", "query_id"])
def test_a_field_that_is_there_twice(key):
    """Parsers differ in which one counts: what is checked must be what is read."""
    for text in (f"{key}=1&{SIGNED}", f"{SIGNED}&{key}=1"):
        with pytest.raises(Unverified, match="twice"):
            check_init_data(text, TOKEN, now=AT)


def test_fields_cannot_be_joined_under_the_same_hash():
    """The lines are the same: start_param would vanish into chat_type, or appear out of it."""
    text = signed(chat_type="private", start_param="admin")
    joined = text.replace("&start_param=", "%0Astart_param%3D")
    assert joined != text
    with pytest.raises(Unverified, match="line break"):
        check_init_data(joined, TOKEN, now=AT)
    shifted = signed(start_param="a=b").replace("start_param=a%3D", "start_param%3Da=")
    with pytest.raises(Unverified, match="name"):
        check_init_data(shifted, TOKEN, now=AT)
    with pytest.raises(Unverified, match="line break"):
        check_init_data(signed(chat_type="a\nstart_param=admin"), TOKEN, now=AT)


def test_age():
    assert check_init_data(SIGNED, TOKEN, now=AT + 86_400).user.id == 42
    with pytest.raises(Expired, match="86401 s ago"):
        check_init_data(SIGNED, TOKEN, now=AT + 86_401)
    with pytest.raises(Expired):
        check_init_data(SIGNED, TOKEN)
    with pytest.raises(Expired):
        check_init_data(SIGNED, TOKEN, max_age_s=60, now=AT + 61)
    assert check_init_data(SIGNED, TOKEN, max_age_s=None, now=AT + 1e9).user.id == 42
    assert check_init_data(SIGNED, TOKEN, now=AT - 300).user.id == 42
    with pytest.raises(Unverified, match="clock"):
        check_init_data(SIGNED, TOKEN, max_age_s=None, now=AT - 301)


@pytest.mark.parametrize("max_age_s", [0, -1, float("nan"), float("inf")])
def test_an_age_that_would_allow_all_or_nothing_is_the_authors_error(max_age_s):
    with pytest.raises(ValueError, match="max_age_s"):
        check_init_data(SIGNED, TOKEN, max_age_s=max_age_s, now=AT)


@pytest.mark.parametrize(
    "fields",
    [
        {"auth_date": "soon"},
        {"auth_date": ""},
        {"auth_date": "1" * 5000},
        {"auth_date": "-5"},
        {"auth_date": "\uff11650385342"},
        {"user": "{"},
        {"user": "[" * 4_000},
        {"user": '{"id":"many"}'},
    ],
)
def test_signed_and_yet_not_as_documented(fields):
    with pytest.raises(Unverified, match="signed, and"):
        check_init_data(signed(**fields), TOKEN, now=AT)


def test_wrong_types_are_the_authors_error():
    with pytest.raises(TypeError, match="str, not bytes"):
        check_init_data(SIGNED.encode(), TOKEN)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mapping, not list"):
        check_login([], TOKEN)  # type: ignore[arg-type]


@given(st.text(max_size=200))
def test_no_text_is_accepted_or_raises_anything_else(text):
    with pytest.raises(Unverified):
        check_init_data(text, TOKEN, now=AT)


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=9) | st.integers() | st.none(), max_size=4))
def test_no_mapping_is_accepted_or_raises_anything_else(fields):
    with pytest.raises(Unverified):
        check_login(fields, TOKEN, now=AT)


def test_a_login_as_an_object_or_a_redirect():
    wanted = check_login(LOGIN, LOGIN_TOKEN, now=LOGIN_AT)
    assert (wanted.id, wanted.first_name, wanted.username) == (42, "John", "username")
    assert check_login(urlencode(LOGIN), LOGIN_TOKEN, now=LOGIN_AT) == wanted
    numbers = {**LOGIN, "id": 42, "auth_date": 1565810688}
    assert check_login(numbers, LOGIN_TOKEN, now=LOGIN_AT) == wanted


@pytest.mark.parametrize(
    "change",
    [
        {"id": "43"},
        {"id": 43},
        {"id": True},
        {"id": 42.0},
        {"id": 10**5000},
        {"id": None},
        {"hash": "ä"},
        {"hash": ""},
        {"hash": None},
        {"username": "username\nx=y"},
        {"first_name": "\ud800"},
        {"first_name": "a" * 20_000},
        {"next": "/admin"},
        {1: "2"},
    ],
)
def test_a_changed_login_is_refused(change):
    with pytest.raises(Unverified) as caught:
        check_login({**LOGIN, **change}, LOGIN_TOKEN, now=LOGIN_AT)
    assert "\n" not in str(caught.value)


def test_a_login_expires():
    with pytest.raises(Expired):
        check_login(LOGIN, LOGIN_TOKEN)


def test_what_is_signed_for_one_is_not_valid_for_the_other():
    fields = {"id": "42", "first_name": "Test", "auth_date": str(int(AT))}
    login = {**fields, "hash": hash_of(fields, sha256(TOKEN.encode()).digest())}
    assert check_login(login, TOKEN, now=AT).id == 42
    with pytest.raises(Unverified, match="hash"):
        check_init_data(urlencode(login), TOKEN, now=AT)
    with pytest.raises(Unverified, match="hash"):
        check_login(SIGNED, TOKEN, now=AT)
