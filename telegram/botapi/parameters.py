"""The check of a call before it is collected: its method, the names of its parameters, and the types of their values.

Telegram ignores unknown parameters, so with `reply_markpu=` a keyboard would silently be missing; a value of a wrong type
would only be refused when the call is sent, long after the handler.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from telegram.botapi.collecting import WrongCall
from telegram.botapi.methods import Methods
from telegram.botapi.nearest import nearest
from telegram.botapi.values import Shape, WrongValue, accepts, shape_of

_RENAMED: Final = {"close_bot": "close"}  # TgClient has a method `close` of its own

_SINCE_THEN: Final = {
    "reply_to_message_id": "reply_parameters",  # Bot API 7.0
    "allow_sending_without_reply": "reply_parameters",  # 7.0
    "disable_web_page_preview": "link_preview_options",  # 7.0
    "thumb": "thumbnail",  # 6.6
    "switch_pm_text": "button",  # 6.7
    "switch_pm_parameter": "button",  # 6.7
}
"""Parameters of former versions, and what stands for them (Telegram Bot API, changelog)."""


class Spec(NamedTuple):
    """The parameters of a method, the required ones first."""

    shapes: dict[str, Shape]
    exact: dict[str, frozenset[type]]
    """The types of each parameter whose values need no further look."""
    required: tuple[str, ...]
    required_set: frozenset[str]


def check_call(method: str, params: Mapping[str, Any]) -> bool:
    """Return whether a value is None, which is not sent.

    WrongCall for an unknown method or parameter, a value of another type than the schema's, or a required one that is missing.
    """
    spec = spec_of(method)
    if spec is None:
        raise WrongCall(f"the Bot API has no method {method!r}{nearest(method, methods().values())}")
    exact = spec.exact
    has_none = False
    for name, value in params.items():
        types = exact.get(name)
        if types is None:
            raise _unknown(method, name, spec)
        if type(value) not in types:
            if value is None and name not in spec.required_set:
                has_none = True
            else:
                _check_value(method, name, value, spec)
    if not spec.required_set <= params.keys():
        missing = [name for name in spec.required if name not in params]
        raise WrongCall(f"{method} needs {' and '.join(missing)}")
    return has_none


def _unknown(method: str, name: str, spec: Spec) -> WrongCall:
    now = _SINCE_THEN.get(name)
    hint = f": it is {now!r} now" if now in spec.shapes else nearest(name, spec.shapes)
    return WrongCall(f"{method} has no parameter {name!r}{hint}")


def _check_value(method: str, name: str, value: Any, spec: Spec) -> None:
    if value is None:
        raise WrongCall(f"{method} needs {name}, and it is None")
    try:
        accepts(value, spec.shapes[name], name)
    except WrongValue as wrong:
        raise WrongCall(f"{wrong.path} of {method} {wrong.what}") from None
    except RecursionError:
        raise WrongCall(f"{name} of {method} is nested too deep, or contains itself") from None


@cache
def spec_of(method: str) -> Spec | None:
    """Return the parameters of a method; None for an unknown one. Case is ignored, as at Telegram."""
    lower = method.lower()
    own = next((own for own, name in methods().items() if name.lower() == lower), None)
    if own is None:
        return None
    function = getattr(Methods, own)
    code, optional = function.__code__, function.__kwdefaults__ or {}
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    shapes = {name: shape_of(function.__annotations__[name], name) for name in names}
    exact = {name: shape.exact for name, shape in shapes.items()}
    required = tuple(name for name in names if name not in optional)
    return Spec(shapes, exact, required, frozenset(required))


@cache
def methods() -> dict[str, str]:
    """Return the Telegram name of each method by its Python name."""
    own = [name for name, value in vars(Methods).items() if callable(value) and not name.startswith("_")]
    return {name: _camel(_RENAMED.get(name, name)) for name in own}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
