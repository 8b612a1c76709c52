"""The check of a value against a type of the schema, without pydantic: building a validator of a large type takes seconds.

A Telegram object was validated when it was created, so only its class is compared. Dicts and lists are looked through: the
names of their fields, and the values.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    ForwardRef,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel
from typing_extensions import TypeAliasType

from telegram.botapi import constants, types
from telegram.botapi.nearest import nearest
from telegram.botapi.objects import TelegramObject, Unknown

_PARSE_MODES: Final = ("HTML", "MarkdownV2", "Markdown")
_NO_PARSE_MODE: Final = "none"
"""Telegram's name for no parse mode; modes are case-insensitive (tdlib/telegram-bot-api, Client::get_formatted_text)."""


class WrongValue(TypeError):  # noqa: N818 - a fact about a value
    """What is wrong with the value at `path`, e.g. "reply_parameters.message_id"."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path} {what}")
        self.path = path
        self.what = what


class Shape(NamedTuple):
    """What a parameter or a field accepts."""

    exact: frozenset[type]
    """Types whose values are accepted without a further look."""
    classes: tuple[type, ...]
    """Those whose subclasses are accepted, too."""
    models: tuple[type[TelegramObject], ...]
    """Those that may also be given as a dict."""
    items: Any
    """The hint of a list's items; None if a list is not accepted."""
    literals: tuple[Any, ...]
    is_parse_mode: bool
    label: str


_AS_TEXT: Final[tuple[type, ...]] = (types.KeyboardButton, types.InputPollOption)
"""Objects that may also be given as a text (tdlib/telegram-bot-api, get_keyboard_button, get_input_poll_options)."""


@cache
def shape_of(hint: str, name: str = "") -> Shape:
    """Return the shape of a hint of telegram/botapi/methods.py, of the parameter `name`."""
    names = {**vars(constants), **vars(types)}
    return _shape(eval(hint, names), name.endswith("parse_mode"))  # noqa: S307 - our own generated text


@cache
def _shape(hint: Any, is_parse_mode: bool = False) -> Shape:
    found = [each for each in _alternatives(hint) if each is not NoneType]
    items = [get_args(each)[0] for each in found if get_origin(each) is list]
    literals = tuple(value for each in found if get_origin(each) is Literal for value in get_args(each))
    classes = [each for each in found if isinstance(each, type) and get_origin(each) is None]
    classes += [type(literals[0])] if literals else []
    models = tuple(each for each in classes if issubclass(each, TelegramObject))
    label = " or ".join([*_labels(classes), *(["list"] if items else [])])
    classes += [str] if any(each in _AS_TEXT for each in classes) else []
    exact = frozenset(() if is_parse_mode or literals else [*classes, *([int] if float in classes else [])])
    return Shape(exact, tuple(classes), models, items[0] if items else None, literals, is_parse_mode, label)


def _alternatives(hint: Any) -> Iterator[Any]:
    if isinstance(hint, ForwardRef | str):  # inside of a type that contains itself
        hint = vars(types)[hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint]
    origin = get_origin(hint)
    if isinstance(hint, TypeAliasType):
        yield from _alternatives(hint.__value__)
    elif origin is Annotated:
        yield from _alternatives(get_args(hint)[0])
    elif origin in {Union, UnionType}:
        for each in get_args(hint):
            yield from _alternatives(each)
    else:
        yield hint


def _labels(classes: Iterable[type]) -> list[str]:
    names = [each.__name__ for each in classes if each is not Unknown]
    return names if len(names) <= 4 else [*names[:3], "..."]


def accepts(value: Any, shape: Shape, path: str) -> None:
    """Raise WrongValue if the value does not fit."""
    if type(value) in shape.exact:
        return
    is_bool_for_number = isinstance(value, bool) and bool not in shape.classes
    if isinstance(value, shape.classes) and not is_bool_for_number:
        if shape.is_parse_mode:
            _check_parse_mode(str(value), path)
        elif shape.literals and value not in shape.literals and not isinstance(value, bool):
            raise WrongValue(
                path, f"is {_shown(value)}, and must be {' or '.join(map(repr, shape.literals))}"
            )
        return
    if isinstance(value, int) and float in shape.classes and not is_bool_for_number:
        return
    if shape.items is not None and isinstance(value, list | tuple):
        inner = _shape(shape.items)
        for index, item in enumerate(value):
            if type(item) not in inner.exact:
                accepts(item, inner, f"{path}[{index}]")
        return
    if shape.models and isinstance(value, Mapping):
        _check_dict(value, shape.models, path)
        return
    if (shape.models or shape.items) and isinstance(value, str) and value[:1] in {"{", "["}:
        return  # JSON
    raise WrongValue(path, f"is {_shown(value)}, and must be {shape.label}")


def _check_parse_mode(value: str, path: str) -> None:
    lower = value.lower()
    if lower and lower != _NO_PARSE_MODE and lower not in {each.lower() for each in _PARSE_MODES}:
        hint = nearest(value, _PARSE_MODES)
        raise WrongValue(path, f"is {value[:40]!r}, and must be one of {', '.join(_PARSE_MODES)}{hint}")


def _check_dict(value: Mapping[Any, Any], models: tuple[type[TelegramObject], ...], path: str) -> None:
    """Check the fields of a dict against the one type of `models` that it can be."""
    known = [each for each in models if each is not Unknown]
    tagged = [each for each in known if _has_tag(value, each)]
    if not tagged and len(known) > 1 and (tag := _tag_of(known)):
        names = ", ".join(str(value) for each in known for value in _fields(each)[tag][0].literals)
        raise WrongValue(path, f"needs {tag!r}, which is one of {names}")
    fitting = [each for each in tagged or known if value.keys() <= _fields(each).keys()]
    if not fitting:
        models = tuple(tagged or known)
        fields = {name for each in models for name in _fields(each)}
        wrong = next((name for name in value if name not in fields), None)
        if wrong is None:
            return  # fields of several types: Telegram decides
        advice = nearest(str(wrong), fields) or f" ({' or '.join(_labels(models))})"
        raise WrongValue(path, f"has no field {wrong!r}{advice}")
    if len(fitting) > 1:
        return
    for name, (shape, is_required) in _fields(fitting[0]).items():
        item = value.get(name)
        if item is not None:
            accepts(item, shape, f"{path}.{name}")
        elif is_required:
            raise WrongValue(path, f"needs {name!r} ({fitting[0].__name__})")


def _has_tag(value: Mapping[Any, Any], model: type[TelegramObject]) -> bool:
    """Return whether the dict has the value of a field that is constant in the type, e.g. type="photo"."""
    return any(
        is_required and shape.literals and value.get(name) in shape.literals
        for name, (shape, is_required) in _fields(model).items()
    )


def _tag_of(models: Iterable[type[TelegramObject]]) -> str | None:
    """Return the name of the field that is constant in all of the types; None if there is none."""
    named = [
        {name for name, (shape, is_required) in _fields(each).items() if is_required and shape.literals}
        for each in models
    ]
    return next(iter(set.intersection(*named)), None)


@cache
def _fields(model: type[BaseModel]) -> dict[str, tuple[Shape, bool]]:
    """Return the shape of each field of a type by Telegram's name, and whether Telegram requires it."""
    hints = get_type_hints(model, include_extras=True)
    found: dict[str, tuple[Shape, bool]] = {}
    for name, field in model.model_fields.items():
        shape = _shape(hints[name], name.endswith("parse_mode"))
        found[field.alias or name] = (shape, field.is_required() or field.default in shape.literals)
    return found


def _shown(value: Any) -> str:
    """Return the value, if it is short and no text of a user, and its type."""
    kind = type(value).__name__
    return f"{value!r} of type {kind}" if isinstance(value, bool | int | float) else f"of type {kind}"
