"""The base of the generated types, and the discriminators of their unions."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict


class TelegramObject(BaseModel):
    """Frozen; keeps unknown fields; its validator is built at the first use, which saves time at import."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        defer_build=True,
        validate_by_name=True,
        validate_by_alias=True,
        protected_namespaces=(),
    )

    if not TYPE_CHECKING:  # mypy is to find such names itself

        def __getattr__(self, name: str) -> Any:
            """Raise pydantic's AttributeError here: one from inside a library would be no mistake of the bot's code."""
            try:
                return super().__getattr__(name)
            except AttributeError as error:
                raise AttributeError(*error.args, name=name, obj=self) from None


class Unknown(TelegramObject):
    """A member of a union that this version does not know; its fields are kept as extra fields."""


def by_tag(field: str, *known: str) -> Callable[[Any], str]:
    """Return a discriminator: the value of `field` if it is in `known`, "" for a member that Telegram added later.

    For a str or a list, which RichText may be, the tag is the type's name.
    """
    values = frozenset(known)

    def tag(value: Any) -> str:
        if isinstance(value, str | list):
            return type(value).__name__
        found = value.get(field) if isinstance(value, dict) else getattr(value, field, None)
        return found if isinstance(found, str) and found in values else ""

    return tag


def by_date(value: Any) -> str:
    """Discriminate Message and InaccessibleMessage: the latter's date is 0 (Telegram Bot API, InaccessibleMessage)."""
    date = value.get("date") if isinstance(value, dict) else getattr(value, "date", None)
    return "InaccessibleMessage" if date == 0 else "Message"
