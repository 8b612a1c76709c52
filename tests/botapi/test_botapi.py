"""The generated modules are what the generator makes of the facts, and all the facts are in them."""

import inspect

import pytest

from telegram.botapi import methods, types
from telegram.botapi.generate import HERE, modules
from telegram.botapi.schema import load

SCHEMA = load()


def test_regeneration_changes_nothing():
    for name, text in modules(SCHEMA).items():
        assert (HERE / name).read_text() == text, f"{name}: run `make api`"


def test_every_type_and_every_method_is_there():
    assert len(SCHEMA.types) == 400
    assert len(SCHEMA.methods) == 185
    for name in SCHEMA.types:
        assert hasattr(types, name)
    generated = [name for name, _ in inspect.getmembers(methods.Methods, inspect.iscoroutinefunction)]
    assert len(generated) == 184 + len({"call", "invoke"})  # getUpdates is written by hand


@pytest.mark.parametrize(
    "each", [each for each in SCHEMA.types.values() if each.fields], ids=lambda each: each.name
)
def test_a_type_has_its_fields(each):
    fields = getattr(types, each.name).model_fields
    assert {field.alias or name for name, field in fields.items()} == {field.name for field in each.fields}


def test_each_result_type_of_a_method_can_be_read():
    """Each result type of a method can be read: its validator can be built."""
    from telegram.botapi.generate import _type_hint
    from telegram.botapi.invoking import _reader

    for method in SCHEMA.methods.values():
        _reader(" | ".join(_type_hint(written) for written in method.returns))
