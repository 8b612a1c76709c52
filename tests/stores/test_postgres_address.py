"""STORE_URL=postgres://...: what is read, and what is refused."""

import ssl
import sys

import pytest

from engine.errors import StoreError
from engine.stores import open_store
from engine.stores.postgres.address import read_address


def test_a_url_is_read():
    address = read_address("postgres://me:p%40ss%2Fw@localhost:5433/bots?schema=prod_1")
    assert address.options == {
        "host": "localhost",
        "port": 5433,
        "user": "me",
        "password": "p@ss/w",
        "database": "bots",
        "ssl": False,
    }
    assert (address.schema, address.name) == ('"prod_1"', "postgres://localhost:5433/bots?schema=prod_1")


def test_port_and_schema_have_defaults():
    address = read_address("postgres://me@localhost/bots")
    assert (address.options["port"], address.schema, address.name) == (
        5432,
        '"chatlane"',
        "postgres://localhost:5432/bots",
    )


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgres://localhost/bots", "has to be postgres://USER"),
        ("postgres://me@/bots", "has to be postgres://USER"),
        ("postgres://me@localhost", "has to be postgres://USER"),
        ("postgres://me:secret@localhost/bots?schema=A", "a schema's name"),
        ("postgres://me:secret@localhost/bots?schema=", "a schema's name"),
        ("postgres://me:secret@localhost/bots?schema=1a", "a schema's name"),
        ('postgres://me:secret@localhost/bots?schema=a"b', "a schema's name"),
        ("postgres://me:secret@localhost/bots?scheme=a", "unknown option 'scheme'"),
        ("postgres://me:secret@localhost/bots?sslmode=require", "sslmode has to be verify-full"),
        ("postgres://me:secret@localhost/bots?sslmode=prefer", "sslmode has to be verify-full"),
        ("postgres://me:secret@db.example.org/bots?sslmode=disable", "unencrypted"),
        ("postgres://me:secret@localhost/bots?sslmode=verify-full&sslrootcert=/no/such", "sslrootcert"),
        ("postgres://me:secret@localhost:x/bots", "cannot be read"),
        ("postgres://me:sec/ret@localhost/bots", "cannot be read"),
        ("postgres://me:sec#secret@localhost/bots", "cannot be read"),
        ("postgres://me:sec?secret@localhost/bots", "cannot be read"),
        ("postgres://[secret@localhost/bots", "cannot be read"),
        ("postgres://me@corp:12/secret@localhost", "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line_without_the_password(url, why):
    with pytest.raises(StoreError, match=why) as refused:
        read_address(url)
    assert "sec" not in str(refused.value).replace("sslrootcert cannot", "").lower()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_this_machine_is_spoken_to_in_plain_text(host):
    assert read_address(f"postgres://me@{host}/bots").options["ssl"] is False


@pytest.mark.parametrize("host", ["db.example.org", "10.0.0.1", "localhost.example.org", "0.0.0.0"])
@pytest.mark.parametrize("mode", ["", "?sslmode=verify-full"])
def test_another_machine_has_to_prove_its_name(host, mode):
    context = read_address(f"postgres://me@{host}/bots{mode}").options["ssl"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_without_the_driver_the_error_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("engine.stores.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(StoreError, match="needs asyncpg: pip install asyncpg"):
        await open_store("postgres://me@localhost/bots", "1")
