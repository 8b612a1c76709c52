"""Checks for the values of all types of the schema.

A check raises InvalidValue, with the path to the invalid value; it is built at its first use, since types are recursive.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from telegram.botapi.schema import Field, Schema, load

from .params import Params, Upload

Check = Callable[[Any, Params], None]
"""Raises InvalidValue for an invalid value; the parameters of the call are needed for `attach://`."""

_DIGITS = re.compile(r"\s*[+-]?\d{1,19}\s*", re.ASCII)
_INTEGER_MAX = 2**63
_TEXT_STANDS_FOR = frozenset(
    {"KeyboardButton", "InputPollOption"}
)  # the Bot API also accepts a String for these


class InvalidValue(Exception):  # noqa: N818 - not an error of this program
    """A value does not match the schema; `path`: where it is inside the parameter, such as `[0].text`."""

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path


@cache
def schema() -> Schema:
    """Return the Bot API's schema; it is loaded once."""
    return load()


def anything(_value: Any, _params: Params) -> None:
    """Accept any value: the real server ignores invalid ones, or the method itself checks them."""


def integer(value: Any, _params: Params) -> None:
    """Check an integer, or its digits as text."""
    if type(value) is int:
        if -_INTEGER_MAX <= value < _INTEGER_MAX:
            return
    elif isinstance(value, str) and _DIGITS.fullmatch(value):
        return
    raise InvalidValue("must be an Integer")


def floating(value: Any, _params: Params) -> None:
    """Check a finite number, or its text."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            if math.isfinite(float(value)):
                return
        except (ValueError, OverflowError):
            pass
    raise InvalidValue("must be a Float")


def attached(value: str, params: Params) -> None:
    """Check that the request has the uploaded part of an `attach://` value."""
    part = value.removeprefix("attach://")
    if not isinstance(params.get(part), Upload):
        raise InvalidValue(f'there is no uploaded file "{part}" in the request')


class Types:
    """Checks for values inside objects and arrays, by type; built on demand, since types are recursive."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self._known: dict[str, Check] = {}

    def string(self, value: Any, _params: Params) -> None:
        """Check a string; unless strict also a number, as the real server accepts it."""
        if not isinstance(value, str) and (self.strict or type(value) not in (int, float)):
            raise InvalidValue("must be a String")

    def number(self, value: Any, params: Params) -> None:
        """Check an integer; unless strict also its digits, as the real server accepts them."""
        if self.strict and type(value) is not int:
            raise InvalidValue("must be an Integer")
        integer(value, params)

    def alternatives(self, written: Iterable[str]) -> Check:
        """Return a check for a value of one of several types."""
        names = list(written)
        if len(names) == 1:
            return self.of(names[0])
        return self._any_of(names)

    def of(self, name: str) -> Check:
        """Return the check for a type in the schema's notation ("Array of Integer", "A|B")."""
        found = self._known.get(name)
        if found is None:
            self._known[name] = self._later(name)  # placeholder while it is built: types are recursive
            found = self._known[name] = self._build(name)
        return found

    def _later(self, name: str) -> Check:
        def later(value: Any, params: Params) -> None:
            self._known[name](value, params)

        return later

    def _build(self, name: str) -> Check:
        if name.startswith("Array of "):
            return self._array(name.removeprefix("Array of "))
        if "|" in name:
            return self._by_tag(name.split("|"), "type")
        plain = {
            "Integer": self.number,
            "String": self.string,
            "Float": floating,
            "Boolean": _flag,
            "True": _true,
        }
        if name in plain:
            return plain[name]
        each = schema().types[name]
        if not each.subtypes:
            return self._object(name, each.fields)
        tags = [member for member in each.subtypes if _tag(member)]
        if len(tags) < len(each.subtypes) and name != "RichText":
            return self._any_of(list(each.subtypes))
        return self._by_tag(list(each.subtypes), _tag(tags[0]))

    def _array(self, name: str) -> Check:
        element = self.of(name)

        def array(value: Any, params: Params) -> None:
            if not isinstance(value, list):
                raise InvalidValue(f"expected an Array of {name}")
            for n, part in enumerate(value):
                try:
                    element(part, params)
                except InvalidValue as wrong:
                    raise InvalidValue(wrong.problem, f"[{n}]{wrong.path}") from None

        return array

    def _object(self, name: str, fields: tuple[Field, ...]) -> Check:
        required = [field.name for field in fields if self._is_needed(field)]
        checks = {field.name: self._field(field) for field in fields}
        strict, text_too = self.strict, name in _TEXT_STANDS_FOR

        def thing(value: Any, params: Params) -> None:
            if text_too and isinstance(value, str):
                return
            if not isinstance(value, dict):
                raise InvalidValue(f"can't parse {name}: expected an Object")
            for field in required:
                if value.get(field) is None:
                    raise InvalidValue(f"can't parse {name}: Can't find field \"{field}\"")
            for key, part in value.items():
                found = checks.get(key)
                if part is None or (found is None and not strict):
                    continue
                if found is None:
                    raise InvalidValue(f'{name} has no field "{key}"')
                try:
                    found(part, params)
                except InvalidValue as wrong:
                    raise InvalidValue(wrong.problem, f".{key}{wrong.path}") from None

        return thing

    def _is_needed(self, field: Field) -> bool:
        """Whether the field must be present; unless strict not a Boolean: clients of an older Bot API omit new ones."""
        return field.required and (self.strict or field.types != ("Boolean",))

    def _field(self, field: Field) -> Check:
        if field.const is not None:
            return _constant(field.const)
        if field.attach:
            return _attachable
        if field.name.endswith("entities") and not self.strict:
            return anything
        return self.alternatives(field.types)

    def _any_of(self, names: list[str]) -> Check:
        """Return a check that accepts any of the types; otherwise it raises the error with the longest path."""
        checks = [self.of(name) for name in names]

        def any_of(value: Any, params: Params) -> None:
            closest = InvalidValue(f"expected {' or '.join(names)}")
            for each in checks:
                try:
                    each(value, params)
                except InvalidValue as wrong:
                    if len(wrong.path) > len(closest.path):
                        closest = wrong
                else:
                    return
            raise closest

        return any_of

    def _by_tag(self, names: list[str], tag: str) -> Check:
        """Return a check for a union whose members differ in field `tag`; RichText may also be a string or a list."""
        objects = [name for name in names if not name.startswith("Array of ") and name != "String"]
        lists = [self.of(name) for name in names if name.startswith("Array of ")]
        members: dict[object, list[str]] = {}
        for name in objects:
            members.setdefault(_constant_of(name, tag), []).append(name)
        checks = {value: self.alternatives(each) for value, each in members.items()}

        def by_tag(value: Any, params: Params) -> None:
            if isinstance(value, str) and "String" in names:
                return
            if isinstance(value, list) and lists:
                lists[0](value, params)
                return
            if not isinstance(value, dict):
                raise InvalidValue("expected an Object")
            kind = value.get(tag)
            if kind is None:
                raise InvalidValue(f'Can\'t find field "{tag}"')
            found = checks.get(kind) if isinstance(kind, str) else None
            if found is None:
                raise InvalidValue(f'Unsupported "{tag}" specified')
            found(value, params)

        return by_tag


def _tag(name: str) -> str:
    """Return the field with a constant value, which identifies a member of a union; "" if there is none."""
    each = schema().types.get(name)
    return next((field.name for field in each.fields if field.const is not None), "") if each else ""


def _constant_of(name: str, tag: str) -> object:
    return next((field.const for field in schema().types[name].fields if field.name == tag), None)


def _constant(expected: str | int) -> Check:
    def constant(value: Any, _params: Params) -> None:
        if value != expected:
            raise InvalidValue(f"must be {json.dumps(expected)}")

    return constant


def _attachable(value: Any, params: Params) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidValue("must be a String that names a file")
    if value.startswith("attach://"):
        attached(value, params)


def _flag(value: Any, _params: Params) -> None:
    if not isinstance(value, bool):
        raise InvalidValue("must be a Boolean")


def _true(value: Any, _params: Params) -> None:
    if value is not True:
        raise InvalidValue("must be True")
