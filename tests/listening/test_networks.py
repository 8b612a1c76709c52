"""Who sends a request, directly or behind proxies."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from telegram.listening import read_networks, sender_of

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
    ],
)
def test_the_last_address_that_is_no_proxy_of_ours(remote: str, forwarded: list[str], found: str):
    assert sender(remote, *forwarded) == found
