import asyncio
import errno
import socket
import sys

import pytest

from telegram.load.bot.service import held_port


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the port is only free at first")
async def test_a_held_port_is_for_who_names_it_again_and_again():
    """As a bot does that is killed and started: meanwhile connections are refused, and no other program gets the port."""
    loop = asyncio.get_running_loop()
    with held_port() as port:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            with socket.socket() as other, pytest.raises(OSError) as refused:
                other.bind(("127.0.0.1", port))
            assert refused.value.errno == errno.EADDRINUSE
            server = await loop.create_server(asyncio.Protocol, "127.0.0.1", port)
            server.close()
            await server.wait_closed()
