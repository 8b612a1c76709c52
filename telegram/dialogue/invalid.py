"""A user's invalid input, and the text about it."""

from pydantic import ValidationError


class Invalid(Exception):  # noqa: N818 - about the user's input, not an error
    """The user's input is invalid: `text` is sent to the user, and the handler's other effects are discarded."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def first_of(error: ValidationError) -> str:
    """Return the first error of a model in one line, with the field's name."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def invalid_of(error: ValidationError) -> Invalid:
    """Return the Invalid for a value that is not valid for a model, with its first error as the text."""
    return Invalid(first_of(error))
