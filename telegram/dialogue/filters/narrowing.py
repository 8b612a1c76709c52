"""Filters that are written for narrower contexts: a filter for another context is an error where it is registered."""

import inspect
from collections.abc import Iterable
from typing import Any, get_origin

from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.signature import annotations_of
from telegram.dialogue.filters.conditions import Condition, label_of, walk


def check_contexts(filters: Iterable[Any], contexts: Iterable[type[Any]]) -> None:
    """Raise TypeError for a filter whose annotation asks for another context than those that it may get."""
    for each in walk(filters):
        asked = _context_asked(each)
        for context in contexts if asked is not None else ():
            if not issubclass(context, asked):
                raise TypeError(
                    f"{label_of(each)} is a filter of a {asked.__name__}, but would get a {context.__name__}"
                )


def _context_asked(passes: Any) -> Any:
    """Return the class of context that a filter of an author is annotated for; None if it is not."""
    function = getattr(passes, "read", None) or getattr(passes, "passes", None) or passes
    if isinstance(function, Condition) or not inspect.isroutine(function):
        return None
    hints = {name: hint for name, hint in annotations_of(function).items() if name != "return"}
    first = next(iter(inspect.signature(function).parameters), "") if hints else ""
    asked = get_origin(hints.get(first)) or hints.get(first)
    return asked if isinstance(asked, type) and issubclass(asked, Context) else None
