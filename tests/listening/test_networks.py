"""Who sends a request, directly or behind proxies."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from telegram.listening import is_in, read_networks, sender_of

PROXIES = "10.0.0.0/8,fd00::/8"


def sender(remote: str, *forwarded: str, proxies: str = PROXIES) -> str:
    headers = CIMultiDict([("X-Forwarded-For", each) for each in forwarded])
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=remote)
    return sender_of(request, read_networks(proxies))


@pytest.mark.parametrize(
    ("remote", "forwarded", "found"),
    [
        ("1.1.1.1", [], "1.1.1.1"),
        ("1.1.1.1", ["2.2.2.2"], "1.1.1.1"),  # no proxy of ours: anybody may write this
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["2.2.2.2"], "2.2.2.2"),
        ("10.0.0.1", ["3.3.3.3, 2.2.2.2"], "2.2.2.2"),
        ("10.0.0.1", ["3.3.3.3", "2.2.2.2"], "2.2.2.2"),
        ("10.0.0.1", ["3.3.3.3, 2.2.2.2 , 10.0.0.2"], "2.2.2.2"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("fd00::1", ["2001:DB8::0:1"], "2001:db8::1"),  # one spelling of an address, for limits
        ("10.0.0.1", ["unknown"], ""),
        ("10.0.0.1", ["2.2.2.2, "], ""),
        ("10.0.0.1", ['"><script>'], ""),
        ("10.0.0.1", ["2.2.2.2, _hidden"], ""),
        ("", ["2.2.2.2"], ""),
        # IPv4 as IPv6, of proxies with a socket for both: aiogram issue 672, jshttp/proxy-addr issue 24
        ("10.0.0.1", ["2.2.2.2, ::ffff:10.42.144.238"], "2.2.2.2"),
        ("10.0.0.1", ["::FFFF:2.2.2.2"], "2.2.2.2"),
        ("::ffff:10.0.0.1", ["3.3.3.3, ::ffff:202:202"], "2.2.2.2"),
        ("::10.0.0.1", ["2.2.2.2"], "::a00:1"),  # IPv4-compatible addresses are no IPv4 ones
        # with a port: Azure Application Gateway, goauthentik/authentik issue 25679, rack/rack issue 1227
        ("10.0.0.1", ["2.2.2.2:61598"], "2.2.2.2"),
        ("10.0.0.1", ["2.2.2.2:17085, 10.0.0.6:80"], "2.2.2.2"),
        ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", ["[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", ["2.2.2.2:"], ""),
        ("10.0.0.1", ["2.2.2.2:x"], ""),
        ("10.0.0.1", ["2001:db8::1:"], ""),
    ],
)
def test_the_last_address_that_is_no_proxy_of_ours(remote: str, forwarded: list[str], found: str):
    assert sender(remote, *forwarded) == found


@pytest.mark.parametrize(
    ("network", "address", "is_in_it"),
    [
        ("149.154.160.0/20", "::ffff:149.154.167.220", True),
        ("149.154.160.0/20", "::ffff:149.154.176.1", False),
        ("::ffff:10.0.0.0/104", "10.9.9.9", True),
        ("::ffff:10.0.0.0/104", "11.0.0.1", False),
        ("::/0", "10.0.0.1", False),
        ("fd00::/8", "fd00::7", True),
        ("0.0.0.0/0", "unknown", False),
    ],
)
def test_an_ipv4_address_is_the_same_one_as_ipv6(network: str, address: str, is_in_it: bool):
    assert is_in(address, read_networks(network)) is is_in_it
