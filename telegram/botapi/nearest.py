"""The advice for a misspelled name."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ": did you mean ...?" with the most similar known name, in whatever case; empty if none is similar."""
    by_lower = {each.lower(): each for each in known}
    found = get_close_matches(name.lower(), by_lower, n=1)
    return f": did you mean {by_lower[found[0]]!r}?" if found else ""
