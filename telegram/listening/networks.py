"""Who sends a request: its address, behind proxies that are named in a setting."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, TypeAlias

from aiohttp import web
from pydantic import AfterValidator

Network: TypeAlias = IPv4Network | IPv6Network


def read_networks(text: str) -> list[Network]:
    """Read networks separated by commas; ValueError."""
    try:
        return [ip_network(part.strip()) for part in text.split(",")]
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
    sender = request.remote or ""
    while chain and is_in(sender, proxies):
        sender = chain.pop()
    try:
        return str(ip_address(sender))
    except ValueError:
        return ""


def is_in(address: str, networks: Sequence[Network]) -> bool:
    """Return whether an address is in one of the networks; False for what is no address."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in networks)
