"""Ports that stay a test's own while nothing listens on them."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_port() -> Iterator[int]:
    """A port of 127.0.0.1 on which servers may be started one after another: others who ask for any port do not get it.

    On Linux a socket that is bound with SO_REUSEADDR, and does not listen, keeps it: other servers with SO_REUSEADDR
    (asyncio, uvloop and PostgreSQL set it) may listen there, and no port that is bound may be picked (socket(7), and
    ip_autobind_reuse in the kernel's ip-sysctl). Elsewhere the port is only likely to stay free.
    """
    with socket.socket() as kept:
        if sys.platform == "linux":
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port = int(kept.getsockname()[1])
        if sys.platform != "linux":
            kept.close()
        yield port
