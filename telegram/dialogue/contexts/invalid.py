"""A user's invalid input, and the text about it."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from telegram.dialogue.contexts.context import Context

_NUMBER: Final = "Please write a number."
_WHOLE: Final = "Please write a whole number."
_YES_NO: Final = "Please write yes or no."
_DATE: Final = "Please write a date like 2026-12-31."
_TIME: Final = "Please write a time like 18:30."
_DATE_TIME: Final = "Please write a date and a time like 2026-12-31 18:30."
_LINK: Final = "Please write a link like https://example.org."
_FORM: Final = "This does not have the right form."
_ONE_OF: Final = "Please write one of these: {expected}."

WORDS: Final[Mapping[str, str]] = {
    "missing": "This is missing.",
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), _WHOLE),
    "int_parsing_size": "This number is too long.",
    **dict.fromkeys(
        ("float_parsing", "float_type", "decimal_parsing", "decimal_type", "finite_number"), _NUMBER
    ),
    "greater_than": "Please write a number greater than {gt}.",
    "greater_than_equal": "Please write a number of at least {ge}.",
    "less_than": "Please write a number less than {lt}.",
    "less_than_equal": "Please write a number of at most {le}.",
    "multiple_of": "Please write a multiple of {multiple_of}.",
    "string_type": "Please write a text.",
    "string_too_short": "This is too short. The minimum number of characters is {min_length}.",
    "string_too_long": "This is too long. The maximum number of characters is {max_length}.",
    **dict.fromkeys(("string_pattern_mismatch", "uuid_parsing"), _FORM),
    **dict.fromkeys(("bool_parsing", "bool_type"), _YES_NO),
    **dict.fromkeys(("literal_error", "enum"), _ONE_OF),
    **dict.fromkeys(("date_parsing", "date_from_datetime_parsing", "date_type"), _DATE),
    "date_past": "Please write a date in the past.",
    "date_future": "Please write a date in the future.",
    **dict.fromkeys(("time_parsing", "time_type"), _TIME),
    **dict.fromkeys(("datetime_parsing", "datetime_from_date_parsing", "datetime_type"), _DATE_TIME),
    **dict.fromkeys(("url_parsing", "url_scheme", "url_syntax_violation"), _LINK),
}
"""Texts for pydantic's types of errors (pydantic, Validation errors); the others have pydantic's own message."""

_OF_NUMBERS: Final = frozenset(("greater_than", "greater_than_equal", "less_than", "less_than_equal"))


class Invalid(Exception):  # noqa: N818 - about the user's input, not an error
    """The user's input is invalid: `text` is sent to the user, and the handler's other effects are discarded."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def first_of(error: ValidationError, ctx: Context) -> str:
    """Return the first error of a model in words, in one line, with the field's name."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    what = _in_words(first["type"], first.get("ctx") or {}, ctx)
    if what is None:  # written by the model's author, or by pydantic
        what = ctx.said(first["msg"].removeprefix("Value error, "))
    return f"{where}: {what}" if where else what


def _in_words(type_: str, values: Mapping[str, Any], ctx: Context) -> str | None:
    """Return the text for a type of error; None if there is none."""
    text = WORDS.get(type_)
    if text is None or (
        type_ in _OF_NUMBERS and not all(isinstance(each, int | float) for each in values.values())
    ):
        return None  # the latter also compare dates, sizes, ...
    if isinstance(expected := values.get("expected"), str):  # without pydantic's quotation marks and "or"
        values = {**values, "expected": expected.replace("'", "").replace(" or ", ", ")}
    try:
        return ctx.t(text, **values)
    except TypeError:  # a version of pydantic with other values
        return None


def invalid_of(error: ValidationError, ctx: Context) -> Invalid:
    """Return the Invalid for a value that is not valid for a model, with its first error as the text."""
    return Invalid(first_of(error, ctx))
