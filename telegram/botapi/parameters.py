"""The parameters of each Bot API method, to find a misspelt name where it is written.

Telegram ignores unknown parameters, so with `reply_markpu=` a keyboard would silently be missing.
"""

from collections.abc import Collection
from difflib import get_close_matches
from functools import cache
from typing import Final

from telegram.botapi.methods import Methods

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


def check_names(method: str, names: Collection[str]) -> None:
    """Raise TypeError for a method or a parameter that Bot API 10.3 does not have, with the most similar name."""
    known = parameters_of(method)
    if known is None:
        raise TypeError(f"the Bot API has no method {method!r}{_nearest(method, _methods().values())}")
    if known.issuperset(names):
        return
    wrong = next(name for name in names if name not in known)
    now = _SINCE_THEN.get(wrong)
    hint = f": it is {now!r} now" if now in known else _nearest(wrong, known)
    raise TypeError(f"{method} has no parameter {wrong!r}{hint}")


@cache
def parameters_of(method: str) -> frozenset[str] | None:
    """Return the names of a method's parameters; None for an unknown one. Case is ignored, as at Telegram."""
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
    """Return the Telegram name of each method by its Python name."""
    own = [name for name, value in vars(Methods).items() if callable(value) and not name.startswith("_")]
    return {name: _camel(_RENAMED.get(name, name)) for name in own}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _nearest(name: str, among: Collection[str]) -> str:
    found = get_close_matches(name, list(among), n=1)
    return f": did you mean {found[0]!r}?" if found else ""
