"""Who sends a request: its address, behind proxies that are named in a setting."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Final, TypeAlias

from aiohttp import web
from pydantic import AfterValidator

Network: TypeAlias = IPv4Network | IPv6Network
_Address: TypeAlias = IPv4Address | IPv6Address

_WITH_PORT: Final = re.compile(r"\[(?P<six>[^\]]+)\](?::[0-9]{1,5})?|(?P<four>[0-9.]+):[0-9]{1,5}")
_MAPPED_BITS: Final = 96


def read_networks(text: str) -> list[Network]:
    """Read networks separated by commas; ValueError."""
    try:
        return [_unmapped(ip_network(part.strip())) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{error}: use networks like 149.154.160.0/20,91.108.4.0/22") from None


def _checked(text: str) -> str:
    read_networks(text)
    return text


NetworksText: TypeAlias = Annotated[str, AfterValidator(_checked)]
"""The text of networks, as the type of a setting."""


def sender_of(request: web.Request, proxies: Sequence[Network]) -> str:
    """Return the address of the sender: the last one that is no proxy of ours. "": a proxy of ours does not say it.

    X-Forwarded-For is read from its end, and only as far as addresses of `proxies` have written it.
    """
    chain = [
        part.strip() for each in request.headers.getall("X-Forwarded-For", []) for part in each.split(",")
    ]
    sender = _read(request.remote or "")
    while chain and _is_in(sender, proxies):
        sender = _read(chain.pop())
    return "" if sender is None else str(sender)


def is_in(address: str, networks: Sequence[Network]) -> bool:
    """Return whether an address is in one of the networks; False for what is no address."""
    return _is_in(_read(address), networks)


def _is_in(address: _Address | None, networks: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in networks)


def _read(text: str) -> _Address | None:
    """Read an address as proxies write it: also with a port, and an IPv4 address as IPv6 (RFC 4291, 2.5.5.2); None: it is none."""
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(text if found is None else found["six"] or found["four"])
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def _unmapped(network: Network) -> Network:
    """Return the IPv4 network that one of IPv6 stands for, if it does."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((int(mapped), network.prefixlen - _MAPPED_BITS))
