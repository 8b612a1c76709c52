"""Serialization of state and payloads as JSON that is exact: values that JSON would change are refused (NotKept).

JSON silently changes some values: {1: "a"} comes back as {"1": "a"}, (1, 2) as [1, 2], an IntEnum's member as an int.
Values that JSON represents exactly are stored; for others NotKept has the path, like "data['votes']". A flow's data is a
pydantic model, whose types restore most values: there the restored value must be equal, in its types too.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time
from enum import Enum
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from telegram.botapi.calls import encode_json

DEPTH_MAX: Final = 100
"""Maximum nesting of lists and dicts. Deeper values could be written, but not read again (RecursionError)."""

M = TypeVar("M", bound=BaseModel)

_SHOWN_MAX: Final = 60  # characters of a value in a message
_LEAVES: Final = frozenset((str, int, float, bool, NoneType))
_KEYS: Final = frozenset((str,))
_PLAIN: Final = _LEAVES | {list, dict, set, tuple}
_NOTHING: Final[Mapping[str, Any]] = {}

_Wrong = tuple[list[object], str]
"""The path of a value (keys and indices, the innermost first), and what is wrong with it."""


class NotKept(TypeError, ValueError):  # noqa: N818 - a fact about a value
    """A value that would be restored as another one, or not at all. A programming error."""


def encode_kept(whole: dict[str, Any], name: str, known: Mapping[str, Any] = _NOTHING) -> bytes:
    """Return a dict as JSON; NotKept for values that JSON would change. `name` is the dict's name in messages.

    `known` is added to it without a check: it consists of JSON's types only.
    """
    if _is_exact(whole, 0):
        try:
            return encode_json({**whole, **known} if known else whole)
        except (ValueError, RecursionError):  # NaN, half a surrogate pair, an int of 5,000 digits
            pass
    steps, what = _wrong(whole) or ([], "cannot be written as JSON")
    raise NotKept(f"{name}{''.join(f'[{_shown(step)}]' for step in reversed(steps))} {what}")


def written(kept: BaseModel, name: str) -> dict[str, Any]:
    """Return a model's data as JSON types; NotKept unless it is restored equal to `kept`, in its types too."""
    try:
        data = fields_of(kept, mode="json")
    except (
        ValueError,
        TypeError,
    ) as error:  # bytes that are not UTF-8, a type unknown to pydantic, a set as a key
        raise NotKept(f"{name}{_unwritten(kept)}: {error}") from None
    if not _is_exact_model(type(kept)):
        if not _is_exact(data, 0):
            encode_kept(data, name)
        try:
            read = read_fields(type(kept), data)
        except ValidationError as error:  # the model accepts the value, but not its JSON form
            raise NotKept(f"{name}{_cannot_be_read(error)}") from None
        check_read(kept, read, name)
    return data


def fields_of(
    kept: BaseModel, mode: Literal["json", "python"] = "python", include: set[str] | None = None
) -> dict[str, Any]:
    """Return the values of a model's fields by their names, for `read_fields`; without computed fields."""
    return kept.model_dump(mode=mode, include=include, warnings=False, by_alias=False, round_trip=True)


def read_fields(model: type[M], data: Mapping[str, Any], *, strict: bool | None = False) -> M:
    """Return a model from data of `written`, or from words that a user typed; ValidationError if they are not valid.

    Not strict even if the model is: JSON has a str for a date and a list for a set, which strict types reject (pydantic,
    strict mode); equality was checked when it was written. `strict=None` leaves it to the model. A field with an alias is
    accepted under both names.
    """
    return model.model_validate(data, strict=strict, by_name=True, by_alias=True)


def _cannot_be_read(error: ValidationError) -> str:
    """Return path and reason of the first error, without the value, which may be a secret."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = "".join(f"[{_shown(each)}]" for each in first["loc"])
    return f"{place} could not be read again: JSON has no such value ({first['msg']})"


def _unwritten(kept: BaseModel) -> str:
    for field in type(kept).model_fields:
        try:
            fields_of(kept, mode="json", include={field})
        except (ValueError, TypeError):
            return f".{field}"
    return ""


def check_read(kept: BaseModel, read: BaseModel, name: str) -> None:
    """Raise NotKept unless `read` equals `kept`, in its types too."""
    for where, one, other in _differences(kept, read, name, 0):
        if one == other and _has_rules(one):
            raise NotKept(
                f"{where} has the time zone {one.tzinfo}, and JSON holds no more of it than the hours from UTC: "
                f"keep it in UTC, or the name of the zone beside it"
            )
        raise NotKept(
            f"{where} is {_shown(one)} of type {type(one).__name__}, and would come back as {_shown(other)} of type "
            f"{type(other).__name__}: give the field the type of what it holds"
        )


def check_models(given: BaseModel, made: BaseModel, name: str) -> None:
    """Raise NotKept if a nested model was converted to another type, which would lose fields that this one lacks.

    Also for changed private attributes with plain values; others (a lock, a connection) are not meant to be stored.
    """
    if _is_flat(type(given)):
        return
    for where, one, other in _differences(given, made, name, 0, only_models=True):
        if not isinstance(one, BaseModel):
            raise NotKept(f"{where} is a private attribute, which is not kept: make it a field")
        raise NotKept(
            f"{where} is of type {type(one).__name__}, and would be kept as {type(other).__name__}: "
            f"give the field that type"
        )


def _is_exact(value: Any, depth: int) -> bool:
    """Return whether a dict or a list has only exact JSON types; the leaves' values are not checked."""
    if depth >= DEPTH_MAX:
        return False
    items: Iterable[Any] = value
    if type(value) is dict:
        if not _KEYS.issuperset(map(type, value)):
            return False
        items = value.values()
    if _LEAVES.issuperset(map(type, items)):  # the usual case, and much faster than one by one
        return True
    for item in items:
        kind = type(item)
        if kind in _LEAVES:
            continue
        if (kind is not dict and kind is not list) or not _is_exact(item, depth + 1):
            return False
    return True


def _wrong(value: Any, depth: int = 0) -> _Wrong | None:
    kind = type(value)
    if kind is dict or kind is list:
        if depth >= DEPTH_MAX:
            return [], f"is nested more than {DEPTH_MAX} deep, or holds itself"
        for key in value if kind is dict else ():
            if (what := _wrong_key(key)) is not None:
                return [], what
        for step, item in value.items() if kind is dict else enumerate(value):
            if (wrong := _wrong(item, depth + 1)) is not None:
                wrong[0].append(step)
                return wrong
        return None
    if kind not in _LEAVES:
        return [], f"is {_of_type(kind)}: {_INSTEAD.get(kind, _ELSE)}"
    if kind is float and not isfinite(value):
        return [], f"is {value}, which JSON cannot hold"
    try:
        encode_json(value)
    except ValueError as error:
        return [], f"cannot be written as JSON: {error}"
    return None


def _wrong_key(key: Any) -> str | None:
    if type(key) is not str:
        return (
            f"has the key {_shown(key)} of type {type(key).__name__}, and JSON has only keys of type str: "
            f"write str(...)"
        )
    try:
        key.encode()
    except UnicodeEncodeError as error:
        return f"has a key that cannot be written as JSON: {error}"
    return None


_INSTEAD: Final[dict[type, str]] = {
    tuple: "JSON would make it a list, so write a list",
    set: "write a sorted list",
    frozenset: "write a sorted list",
    bytes: "write its hex()",
}
_ELSE: Final = (
    "JSON holds str, int, float, bool, None, and lists and dicts of these, and no types made from them"
)


_DECORATORS: Final = (
    "validators", "field_validators", "root_validators", "model_validators", "field_serializers", "model_serializers",
)  # fmt: skip
"""Decorators that may change a value during serialization or validation (pydantic, DecoratorInfos)."""


@cache
def _is_exact_model(model: type[BaseModel], inside: frozenset[type[BaseModel]] = frozenset()) -> bool:
    """Return whether JSON represents every valid value of the model exactly, so that no comparison is needed.

    False for a recursive model, which may be nested too deep (`inside`: the models that contain this one).
    """
    decorators = model.__pydantic_decorators__
    if any(getattr(decorators, each) for each in _DECORATORS) or model.model_config.get("extra") == "allow":
        return False
    return model not in inside and all(
        _is_exact_type(field.annotation, inside | {model})
        and field.exclude is not True
        and all(type(each).__module__ == "annotated_types" for each in field.metadata)
        for field in model.model_fields.values()
    )


@cache
def _is_flat(model: type[BaseModel]) -> bool:
    """Return whether the model is exact, and has no nested models and no private attributes."""
    return (
        _is_exact_model(model)
        and not model.__private_attributes__
        and not any(_holds_model(field.annotation) for field in model.model_fields.values())
    )


def _holds_model(annotation: Any) -> bool:
    return (isinstance(annotation, type) and issubclass(annotation, BaseModel)) or any(
        map(_holds_model, get_args(annotation))
    )


def _is_exact_type(annotation: Any, inside: frozenset[type[BaseModel]]) -> bool:
    origin, of = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return all(type(each) in _LEAVES for each in of)
    if origin in {Union, UnionType}:
        return _LEAVES.issuperset(of)
    if origin is list:
        return all(_is_exact_type(each, inside) for each in of)
    if origin is dict:
        return of[0] is str and _is_exact_type(of[1], inside)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _is_exact_model(annotation, inside)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return all(type(each.value) in {str, int} for each in annotation)
    return annotation in _LEAVES


def _differences(
    kept: Any, read: Any, where: str, depth: int, *, only_models: bool = False
) -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, kept, read) of each difference; with `only_models`, only of models of another type."""
    if type(kept) is not type(read) or depth > DEPTH_MAX:
        if not only_models or isinstance(kept, BaseModel):
            yield where, kept, read
        return
    parts: list[tuple[str, Any, Any]] = []
    if isinstance(kept, BaseModel):
        for name, field in type(kept).model_fields.items():
            if field.exclude is not True:
                parts.append((f"{where}.{name}", getattr(kept, name), getattr(read, name)))
        parts.append((where, kept.model_extra, read.model_extra))
        if only_models:
            yield from _private_differences(kept, read, where)
    elif isinstance(kept, dict):
        parts.append((f"{where}, keys", list(kept), list(read)))
        parts += [(f"{where}[{_shown(key)}]", kept[key], read[key]) for key in kept if key in read]
    elif isinstance(kept, list | tuple):
        parts = [
            (f"{where}[{index}]", one, other)
            for index, (one, other) in enumerate(zip(kept, read, strict=False))
        ]
        if len(kept) != len(read) and not only_models:
            yield where, kept, read
    elif not only_models and (kept != read or _types_in(kept) != _types_in(read) or _has_rules(kept)):
        yield where, kept, read
    for place, one, other in parts:
        yield from _differences(one, other, place, depth + 1, only_models=only_models)


def _private_differences(kept: BaseModel, read: BaseModel, where: str) -> Iterator[tuple[str, Any, Any]]:
    fresh = read.__pydantic_private__ or {}
    for name, value in (kept.__pydantic_private__ or {}).items():
        if type(value) in _PLAIN and (name not in fresh or fresh[name] != value):
            yield f"{where}.{name}", value, fresh.get(name)


def _types_in(value: Any) -> set[type]:
    return {type(each) for each in value} if isinstance(value, set | frozenset) else set()


def _has_rules(value: Any) -> bool:
    """Return whether its time zone is more than a UTC offset, e.g. Europe/Berlin, which would come back as +01:00."""
    return (
        isinstance(value, datetime | time)
        and value.tzinfo is not None
        and value.tzinfo.utcoffset(None) is None
    )


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the author's code
        text = type(value).__name__
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def _of_type(kind: type) -> str:
    return f"{'an' if kind.__name__[:1].lower() in 'aeiou' else 'a'} {kind.__name__}"
