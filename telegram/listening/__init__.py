"""A bounded HTTP server for the service's own ports: the webhook, events, metrics, health.

- address: a setting "HOST:PORT"
- listener: the server, with limits on connections and time, and a graceful stop
- body: JSON of whoever has the secret
- networks: who sends a request, also behind proxies
"""

from .address import Address, AddressText, read_address
from .body import NotTakenError, bearer_of, is_secret, json_body, read_body
from .listener import Listener
from .networks import Network, NetworksText, is_in, read_networks, sender_of

__all__ = [
    "Address",
    "AddressText",
    "Listener",
    "Network",
    "NetworksText",
    "NotTakenError",
    "bearer_of",
    "is_in",
    "is_secret",
    "json_body",
    "read_address",
    "read_body",
    "read_networks",
    "sender_of",
]
