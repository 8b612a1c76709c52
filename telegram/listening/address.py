"""A setting "HOST:PORT"."""

import ipaddress
import re
from typing import Annotated, Final, NamedTuple, TypeAlias

from pydantic import AfterValidator

_PARTS: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:/@\s]+)):(?P<port>[0-9]{1,5})")
_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")


class Address(NamedTuple):
    """Where a server listens. `host` is without brackets; port 0 picks a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: str) -> Address:
    """Read "127.0.0.1:8080", "[::1]:8080" or "localhost:0"; ValueError of one line."""
    found = _PARTS.fullmatch(text)
    if found is None or not _is_host(found["six"], found["host"]) or int(found["port"]) > 65535:
        raise ValueError(f"{text!r:.80} is not HOST:PORT: use for example 127.0.0.1:8080 or [::1]:8080")
    return Address(found["six"] or found["host"], int(found["port"]))


def _checked(text: str) -> str:
    read_address(text)
    return text


AddressText: TypeAlias = Annotated[str, AfterValidator(_checked)]
"""The text of an address, as the type of a setting."""


def _is_host(six: str | None, host: str) -> bool:
    try:
        if six is not None:
            ipaddress.IPv6Address(six)
        elif re.fullmatch(r"[0-9.]+", host):
            ipaddress.IPv4Address(host)
        else:
            return _NAME.fullmatch(host) is not None
    except ValueError:
        return False
    return True
