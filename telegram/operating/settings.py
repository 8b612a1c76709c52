"""The settings of the operator's page as text, for run.py."""

import re
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field, SecretStr, field_validator

from telegram.listening import AddressText, NetworksText, read_address

TOKEN_MIN: Final = 16
_ORIGIN: Final = re.compile(r"https://[a-z0-9.-]{1,253}(:[0-9]{1,5})?")
_PATTERNLESS: Final = "like the output of: openssl rand -hex 32"


class OperatorSettings(BaseModel):
    """Where the operator's page is, and who may use it."""

    admin_listen: AddressText | None = Field(
        default=None, description="HOST:PORT of the operator's page, such as 127.0.0.1:8090; default: none"
    )
    admin_token: SecretStr | None = Field(
        default=None,
        description="the secret to log in at the page; default: a new one at each start, printed once",
    )
    admin_read_token: SecretStr | None = Field(
        default=None, description="a second secret, of those who may look and change nothing"
    )
    admin_origin: str | None = Field(
        default=None,
        description="the page's address behind a proxy with TLS, such as https://bots.example.org",
    )
    admin_proxies: NetworksText | None = Field(
        default=None, description="networks of proxies whose X-Forwarded-For is believed, comma separated"
    )
    admin_audit: Path | None = Field(
        default=None,
        description="the log of what operators do; default: beside the database file, or in the database",
    )

    @field_validator("admin_token", "admin_read_token")
    @classmethod
    def _admin_token(cls, token: SecretStr | None) -> SecretStr | None:
        text = "" if token is None else token.get_secret_value()
        if token is not None and not (text.isascii() and text.isprintable() and len(text) >= TOKEN_MIN):
            raise ValueError(f"at least {TOKEN_MIN} printable ASCII characters are needed, {_PATTERNLESS}")
        return token

    @field_validator("admin_origin")
    @classmethod
    def _admin_origin(cls, origin: str | None) -> str | None:
        if origin is not None and not _ORIGIN.fullmatch(origin):
            raise ValueError("https://HOST or https://HOST:PORT is needed, in lower case and without a path")
        return None if origin is None else origin.removesuffix(":443")  # as browsers write it

    def operator_problem(self) -> str | None:
        """Return what is wrong with the settings together, in one line."""
        if self.admin_listen is None:
            for name in ("admin_token", "admin_read_token", "admin_origin", "admin_proxies"):
                if getattr(self, name) is not None:
                    return f"{name.upper()} is set but ADMIN_LISTEN is not: set both"
            return None
        if not read_address(self.admin_listen).is_loopback:
            if self.admin_token is None:
                return "ADMIN_LISTEN is not a loopback address: set ADMIN_TOKEN, too, or use 127.0.0.1"
            if self.admin_origin is None:
                return (
                    "ADMIN_LISTEN is not a loopback address: set ADMIN_ORIGIN to the page's https:// address at a proxy "
                    "with TLS, or use 127.0.0.1"
                )
        if self.admin_token is not None and self.admin_token == self.admin_read_token:
            return "ADMIN_READ_TOKEN is the same as ADMIN_TOKEN: use another one"
        return None
