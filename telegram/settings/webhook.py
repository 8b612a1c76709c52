"""The settings of the webhook."""

import base64
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator

from telegram.listening import Address, AddressText, Network, NetworksText, read_address, read_networks

PORTS: Final = (443, 80, 88, 8443)
"""Ports to which Telegram sends (Telegram Bot API, setWebhook)."""

_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")


def new_secret() -> str:
    """Return a random secret."""
    return secrets.token_urlsafe(32)


def derived_secret(token: str, url: str) -> str:
    """Return the secret of a bot's webhook: the same at each start and in each process, and nothing of the token.

    A new secret at each start would refuse what Telegram sends until it knows it.
    """
    mac = hmac.digest(token.encode(), b"chatlane webhook secret\0" + url.encode(), "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """How updates come without polling. Without any value: only by `Bot.accept`, and Telegram is not asked for anything."""

    url: str | None = None
    """The public address that Telegram sends to; None: setWebhook is not called."""

    listen: Address | None = None
    """Where this process serves the path of `url`; None: another application does, and calls `Bot.accept`."""

    secret: str = field(default_factory=new_secret, repr=False)
    """The secret that each request must carry: 1 to 256 of A-Z, a-z, 0-9, _ and -."""

    networks: Sequence[Network] = ()
    """Networks that may send; empty: any, as the secret decides."""

    proxies: Sequence[Network] = ()
    """Networks of reverse proxies whose X-Forwarded-For is believed."""

    certificate: Path | None = None
    """A self-signed certificate that Telegram shall accept (PEM)."""

    connections: int = 40
    """How many requests Telegram sends at a time (setWebhook, max_connections)."""

    def __post_init__(self) -> None:
        """Raise ValueError for an invalid secret or certificate."""
        check_secret(self.secret)
        if self.certificate is not None:
            check_certificate(self.certificate)


def check_secret(text: str) -> str:
    """Return the secret; ValueError, without its text, for one that Telegram refuses (Telegram Bot API, setWebhook)."""
    if _SECRET.fullmatch(text) is None:
        raise ValueError("use 1 to 256 of the characters A-Z, a-z, 0-9, _ and -")
    return text


def check_url(text: str, *, local: bool) -> None:
    """Raise ValueError for a URL that Telegram refuses; a local Bot API server takes http and any port."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("it is not a URL like https://bot.example.com/updates") from None
    if re.search(r"\s", text) or not parts.path.isascii():
        raise ValueError("percent-encode what is no ASCII, and spaces: Telegram sends another path otherwise")
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("it is not a URL like https://bot.example.com/updates")
    if not local and parts.scheme != "https":
        raise ValueError("Telegram sends to https:// only, unless TELEGRAM_API_URL is a local server")
    if not local and (port or 443) not in PORTS:
        raise ValueError("Telegram sends to the ports 443, 80, 88 and 8443 only")


def check_certificate(file: Path) -> None:
    """Raise ValueError for what is no certificate, or would give its private key away: the file is sent to Telegram."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    if b"PRIVATE KEY-----" in text:
        raise ValueError(
            f"{file} has a private key, and would be sent to Telegram: use a file with the certificate only"
        )
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise ValueError(f"{file} is no certificate in PEM format")


class WebhookSettings(BaseModel):
    """The webhook: Telegram sends updates to WEBHOOK_URL, instead of being polled."""

    webhook_url: str | None = Field(
        default=None,
        description="https://HOST/PATH that Telegram sends updates to; default: none, updates are polled",
    )
    webhook_listen: AddressText = Field(
        default="127.0.0.1:8443",
        description="HOST:PORT that serves the path of WEBHOOK_URL in plain HTTP, behind a proxy with TLS",
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="secret of each request of the webhook; default: one that is made of BOT_TOKEN and WEBHOOK_URL",
    )
    webhook_networks: NetworksText | None = Field(
        default=None,
        description="networks that may send to the webhook, comma separated; default: any that has the secret",
    )
    webhook_proxies: NetworksText | None = Field(
        default=None, description="networks of proxies whose X-Forwarded-For is believed, comma separated"
    )
    webhook_certificate: Path | None = Field(
        default=None, description="file with a self-signed certificate (PEM) that Telegram shall accept"
    )

    @field_validator("webhook_secret")
    @classmethod
    def _secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            check_secret(secret.get_secret_value())
        return secret

    @field_validator("webhook_certificate")
    @classmethod
    def _file(cls, file: Path | None) -> Path | None:
        if file is not None:
            check_certificate(file)
        return file

    def webhook_error(self, *, local: bool) -> str | None:
        """Return what is wrong, in one line, for api.telegram.org or a `local` server; None: nothing."""
        if self.webhook_url is None:
            return None
        try:
            check_url(self.webhook_url, local=local)
        except ValueError as error:
            return f"WEBHOOK_URL: {error}"
        listen = read_address(self.webhook_listen)
        networks = read_networks(self.webhook_networks or "127.0.0.1")
        if (
            listen.is_loopback
            and self.webhook_proxies is None
            and not any(network.network_address.is_loopback for network in networks)
        ):
            return (
                f"WEBHOOK_NETWORKS: at {listen} all requests come from a proxy on this machine: name it, such as "
                "WEBHOOK_PROXIES=127.0.0.1/32"
            )
        return None

    def webhook(self, token: str) -> WebhookConfig | None:
        """Return the configuration for the bot with this token; None: updates are polled."""
        if self.webhook_url is None:
            return None
        return WebhookConfig(
            url=self.webhook_url,
            listen=read_address(self.webhook_listen),
            secret=self.webhook_secret.get_secret_value()
            if self.webhook_secret
            else derived_secret(token, self.webhook_url),
            networks=read_networks(self.webhook_networks) if self.webhook_networks else (),
            proxies=read_networks(self.webhook_proxies) if self.webhook_proxies else (),
            certificate=self.webhook_certificate,
        )
