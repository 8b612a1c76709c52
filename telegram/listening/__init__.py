"""A bounded HTTP server for the service's own ports: the webhook, metrics, health.

- address: a setting "HOST:PORT"
- listener: the server, with limits on connections and time, and a graceful stop
"""

from .address import Address, AddressText, read_address
from .listener import Listener

__all__ = ["Address", "AddressText", "Listener", "read_address"]
