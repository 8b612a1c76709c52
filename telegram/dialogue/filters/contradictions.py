"""Filters that no update passes together: a handler that would never run is an error where it is written."""

import re
from collections.abc import Callable
from itertools import combinations
from typing import Any, Final

from telegram.dialogue.filters.builtin import Extract, Hint, button, command, label_of, text
from telegram.dialogue.filters.captions import caption, text_or_caption


def check_possible(filters: tuple[Any, ...]) -> None:
    """Raise TypeError for two filters of which one takes only what the other leaves."""
    for pair in combinations(filters, 2):
        for one, other in (pair, pair[::-1]):
            for excludes, advice in _RULES:
                if excludes(one, other):
                    raise TypeError(f"nothing is {label_of(one)} and {label_of(other)}{advice}")


def _hint(given: Any) -> Hint:
    found = getattr(given, "hint", None)
    return found if isinstance(found, Hint) else Hint()


def _words_differ(one: Any, other: Any) -> bool:
    if not (isinstance(one, command | button) and type(one) is type(other)):
        return False
    if _hint(one).words is None or _hint(other).words is None:  # a command with a prefix of its own
        return False
    return (one.hint.words or frozenset()).isdisjoint(_hint(other).words or ())


def _is_a_command_and_none(one: Any, other: Any) -> bool:
    return (
        isinstance(one, command)
        and not one.prefixes
        and any(other is each for each in (text, caption, text_or_caption))
    )


def _is_a_button_and_a_text(one: Any, other: Any) -> bool:
    return isinstance(one, button) and _is_of_texts(other)


def _is_a_thing_and_a_text(one: Any, other: Any) -> bool:
    return _hint(one).without_text and _is_of_texts(other)


def _is_of_texts(given: Any) -> bool:
    return given is text or (isinstance(given, Extract) and given.type is re.Match)


_RULES: Final[tuple[tuple[Callable[[Any, Any], bool], str], ...]] = (
    (_words_differ, ": one of several is command('a', 'b') or button('a', 'b')"),
    (
        _is_a_command_and_none,
        ": `text` and the captions take no commands; what follows a command is ctx.args",
    ),
    (_is_a_button_and_a_text, ": a press has no text"),
    (_is_a_thing_and_a_text, ": the words beside it are a `caption`"),
)
