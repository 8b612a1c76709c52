import pytest

from telegram.fake.protocol.params import boolean, integer, structure, text


@pytest.mark.parametrize(
    ("value", "read"), [("5", 5), (5, 5), (" -7 ", -7), ("x", 0), (None, 9), ("", 9), ([], 0), (1e400, 0)]
)
def test_integer(value, read):
    assert integer({"n": value}, "n", 9) == read


def test_an_absent_integer_is_the_default():
    assert integer({}, "n", 9) == 9


@pytest.mark.parametrize(
    ("value", "read"),
    [("True", True), ("yes", True), ("1", True), (True, True), (1, True), ("on", False), (False, False)],
)
def test_boolean(value, read):
    assert boolean({"b": value}, "b") is read
    assert boolean({}, "b") is False


def test_text():
    assert [text({"t": value}, "t") for value in ("hi", 5, True)] == ["hi", "5", "true"]
    assert text({}, "t") == ""


def test_structure():
    assert structure({"s": '{"a":[1]}'}, "s") == structure({"s": {"a": [1]}}, "s") == {"a": [1]}
    assert structure({}, "s") is structure({"s": ""}, "s") is None
    with pytest.raises(ValueError, match="Expecting"):
        structure({"s": "{"}, "s")
