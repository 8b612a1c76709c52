"""The settings of events over HTTP as text, for run.py."""

from typing import Final

from pydantic import BaseModel, Field, SecretStr, field_validator

from telegram.listening import Address, AddressText, read_address

TOKEN_MIN: Final = 16


class EventsSettings(BaseModel):
    """Where events are taken over HTTP, and from whom."""

    events_listen: AddressText | None = Field(
        default=None,
        description="HOST:PORT that takes POST /events/CHAT, such as 127.0.0.1:8444; default: not served",
    )
    events_token: SecretStr | None = Field(
        default=None, description="the bearer token of POST /events/CHAT; always needed"
    )

    @field_validator("events_token")
    @classmethod
    def _events_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            text = token.get_secret_value()
            if len(text) < TOKEN_MIN or not (text.isascii() and text.isprintable()) or " " in text:
                raise ValueError(
                    f"at least {TOKEN_MIN} printable ASCII characters without spaces are needed, like the output of: openssl rand -hex 32"
                )
        return token

    def events_problem(self) -> str | None:
        """Return what is wrong with the settings together, in one line."""
        if (self.events_listen is None) == (self.events_token is None):
            return None
        given, other = ("LISTEN", "TOKEN") if self.events_token is None else ("TOKEN", "LISTEN")
        return f"EVENTS_{given} is set but EVENTS_{other} is not: set both"

    def events(self) -> tuple[Address, str] | None:
        """Return the address and the token; None: no events are taken over HTTP."""
        if self.events_listen is None or self.events_token is None:
            return None
        return read_address(self.events_listen), self.events_token.get_secret_value()
