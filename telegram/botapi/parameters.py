"""Which parameters each method of the Bot API has: a misspelt name is found where it is written.

Telegram ignores a parameter that it does not know, so `reply_markpu=` would be a keyboard that never appears.
"""

from collections.abc import Collection
from difflib import get_close_matches
from functools import cache
from typing import Final

from telegram.botapi.methods import Methods

_RENAMED: Final = {"close_bot": "close"}  # a client has a method of its own of that name


def check_names(method: str, names: Collection[str]) -> None:
    """Raise TypeError for a method or a parameter that Bot API 10.3 does not have; it names the nearest one."""
    known = parameters_of(method)
    if known is None:
        raise TypeError(f"the Bot API has no method {method!r}{_nearest(method, _methods().values())}")
    if known.issuperset(names):
        return
    wrong = next(name for name in names if name not in known)
    raise TypeError(f"{method} has no parameter {wrong!r}{_nearest(wrong, known)}")


@cache
def parameters_of(method: str) -> frozenset[str] | None:
    """Return the names of a method's parameters; None for an unknown method. Telegram does not look at its case."""
    own = _own_name(method)
    if own is None:
        return None
    code = getattr(Methods, own).__code__
    return frozenset(code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount])


def _own_name(method: str) -> str | None:
    lower = method.lower()
    return next((own for own, name in _methods().items() if name.lower() == lower), None)


@cache
def _methods() -> dict[str, str]:
    """Python's name of each method, and Telegram's."""
    own = [name for name, value in vars(Methods).items() if callable(value) and not name.startswith("_")]
    return {name: _camel(_RENAMED.get(name, name)) for name in own}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _nearest(name: str, among: Collection[str]) -> str:
    found = get_close_matches(name, list(among), n=1)
    return f": did you mean {found[0]!r}?" if found else ""
