"""STORE_URL=postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME: read, and refused if it is unsafe."""

import ssl
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from engine.errors import StoreError

SCHEMA: Final = "chatlane"
_SCHEMA_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_NAME_MAX: Final = 63  # of PostgreSQL (NAMEDATALEN)
_OPTIONS: Final = {"schema", "sslmode", "sslrootcert"}
_UNREADABLE: Final = "STORE_URL cannot be read: write special characters of the password as %XX"


class Address(NamedTuple):
    """Where the database is. `name` is for logs and errors: it has no password."""

    name: str
    schema: str
    """Quoted, as it stands in SQL."""

    options: dict[str, Any]
    """Arguments of asyncpg.connect."""


def read_address(url: str) -> Address:
    """Read the URL; StoreError says in one line what is wrong, without the password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        given = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True))
    except ValueError:
        raise StoreError(_UNREADABLE) from None
    database = unquote(parts.path[1:])
    if parts.fragment or "@" in f"{parts.path}{parts.query}" or "/" in database:
        raise StoreError(_UNREADABLE)
    if not (parts.username and host and database):
        raise StoreError("STORE_URL has to be postgres://USER:PASSWORD@HOST:PORT/DATABASE")
    if unknown := given.keys() - _OPTIONS:
        raise StoreError(
            f"STORE_URL has the unknown option {min(unknown)!r}: use {', '.join(sorted(_OPTIONS))}"
        )
    schema = given.get("schema", SCHEMA)
    if not schema or len(schema) > _NAME_MAX or schema[0].isdigit() or not _SCHEMA_CHARS.issuperset(schema):
        raise StoreError("STORE_URL: a schema's name has small letters, digits and _ only")
    options: dict[str, Any] = {
        "host": host,
        "port": port or 5432,
        "user": unquote(parts.username),
        "database": database,
        "ssl": _encryption(host, given),
    }
    if parts.password is not None:
        options["password"] = unquote(parts.password)
    name = f"postgres://{host}:{options['port']}/{database}"
    return Address(name if schema == SCHEMA else f"{name}?schema={schema}", f'"{schema}"', options)


def _encryption(host: str, given: dict[str, str]) -> ssl.SSLContext | bool:
    """Return the TLS context; False (plain text) for this machine only.

    sslmode=require and verify-ca protect against a listener only, not against another server (PostgreSQL documentation,
    "SSL Support", table 34.1), so that another machine is always verified in full.
    """
    mode = given.get("sslmode")
    if mode not in {None, "disable", "verify-full"}:
        raise StoreError("STORE_URL: sslmode has to be verify-full, or disable for a server on this machine")
    if mode == "disable" or (mode is None and _is_this_machine(host)):
        if not _is_this_machine(host):
            raise StoreError("STORE_URL: sslmode=disable would send the password and all data unencrypted")
        return False
    try:
        return ssl.create_default_context(cafile=given.get("sslrootcert"))
    except (OSError, ValueError) as error:
        raise StoreError(f"STORE_URL: sslrootcert cannot be read: {error}") from None


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
