"""schema.json as typed data."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

_FILE: Final = Path(__file__).with_name("schema.json")


class Field(NamedTuple):
    """A field of a type, or a parameter of a method; `types` are alternatives in the schema's own grammar."""

    name: str
    types: tuple[str, ...]
    required: bool
    const: str | int | None = None
    attach: bool = False


class Type(NamedTuple):
    """A type: its fields, or the members of a union and its discriminator field `tag` (None: it has none)."""

    name: str
    fields: tuple[Field, ...]
    subtypes: tuple[str, ...] = ()
    tag: str | None = None


class Method(NamedTuple):
    """A method; `returns` are alternatives."""

    name: str
    params: tuple[Field, ...]
    returns: tuple[str, ...]


class Schema(NamedTuple):
    """A version of the Bot API."""

    version: str
    types: dict[str, Type]
    methods: dict[str, Method]


def load() -> Schema:
    """Read schema.json."""
    given = json.loads(_FILE.read_text())
    return Schema(
        given["version"],
        {name: _type(name, facts) for name, facts in given["types"].items()},
        {
            name: Method(name, _fields(facts["params"]), tuple(facts["returns"]))
            for name, facts in given["methods"].items()
        },
    )


def _type(name: str, facts: dict[str, Any]) -> Type:
    discriminator = facts.get("discriminator") or {}
    tag = discriminator.get("field") if discriminator.get("unique") else None
    return Type(name, _fields(facts["fields"]), tuple(facts.get("subtypes", ())), tag)


def _fields(facts: list[dict[str, Any]]) -> tuple[Field, ...]:
    return tuple(
        Field(
            each["name"],
            tuple(each["types"]),
            each["required"],
            each.get("const"),
            each.get("attach", False),
        )
        for each in facts
    )
