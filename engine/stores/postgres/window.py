"""From which number on mail is read."""

from typing import Final

_ALL_EVERY: Final = 5
"""So many renewals of the session after another everything is read."""


class Window:
    """Mail that was filed leaves dead rows behind: many of them while anybody has an old transaction open.

    A reading that began with the first number would walk through all of them. So it begins with the number that was the
    latest at the last renewal but one, a second ago or more. A row of a transaction that took longer has a lower number: a reading
    of everything finds it, now and then. One session writes one transaction after the other, but for those of handlers.
    """

    def __init__(self) -> None:
        self._from = self._latest = 0
        self._renewals = 0
        self._is_all_due = True

    def renewed(self, latest: int) -> None:
        """Note the latest number that was given, at each renewal."""
        self._from, self._latest = self._latest, latest
        self._renewals += 1
        if self._renewals % _ALL_EVERY == 0:
            self._is_all_due = True

    def start(self, *, everything: bool) -> int:
        """Return the number behind which to read; `everything`: shares were taken, of which mail may be old."""
        return 0 if everything or self._is_all_due else self._from

    def read(self, start: int, *, is_all: bool) -> None:
        """Note a reading from `start`; `is_all`: it was not cut off by its limit."""
        if start == 0 and is_all:
            self._is_all_due = False
