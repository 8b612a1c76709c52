"""The address of the metrics' listener, as text in a setting."""

import re
from ipaddress import ip_address
from typing import NamedTuple

_FORM = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")


class Address(NamedTuple):
    """Host (an IP address or a name) and port; port 0: any free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def read_address(text: str) -> Address:
    """Read HOST:PORT or [IPV6]:PORT; ValueError otherwise."""
    found = _FORM.fullmatch(text)
    if found is None or int(found[3]) > 65535:
        raise ValueError("HOST:PORT is needed, like 127.0.0.1:9464 or [::1]:9464")
    return Address(found[1] or found[2], int(found[3]))
