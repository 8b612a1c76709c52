import pytest

from telegram.listening import Address, read_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("[::1]:0", Address("::1", 0)),
        ("localhost:65535", Address("localhost", 65535)),
        ("bot_web.internal:80", Address("bot_web.internal", 80)),
    ],
)
def test_an_address_is_read_and_written(text, address):
    assert read_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "8080", ":8080", "localhost", "localhost:", "a:65536", "::1:80", "[::g]:80", "[1.2.3.4]:80", "1.2.3:80",
     "256.1.1.1:80", "http://a:80", "a:80/x", "a b:80", "-a:80", "a..b:80", "a:+8", "a:\uff18\uff10", "u@a:80", "a:80\n"],
)  # fmt: skip
def test_a_wrong_value_is_one_line(text):
    with pytest.raises(ValueError, match="is not HOST:PORT") as error:
        read_address(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "address", "is_loopback"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464), True),
        ("[::1]:1", ("::1", 1), True),
        ("localhost:80", ("localhost", 80), True),
        ("0.0.0.0:80", ("0.0.0.0", 80), False),
        ("[::]:80", ("::", 80), False),
        ("example.org:80", ("example.org", 80), False),
    ],
)
def test_only_this_machine_can_reach_a_loopback_address(text, address, is_loopback):
    assert read_address(text) == address
    assert read_address(text).is_loopback == is_loopback
