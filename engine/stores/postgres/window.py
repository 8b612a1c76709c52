"""From which number on mail is read."""

from typing import Final

_ALL_EVERY: Final = 5
"""So many renewals of the session after another everything is read."""


class Window:
    """Mail that was filed leaves dead rows behind: many of them while anybody has an old transaction open.

    A reading that began with the first number would walk through all of them. So it begins with a number below which no more will
    appear, and up to which all was read: the latest at some renewal, when all transactions that ran at the next renewal have
    ended, and a reading has begun after that. Else mail of one session could be read before what it wrote earlier.
    Transactions of other programs are not waited for: a reading of everything finds their mail, now and then.
    """

    def __init__(self) -> None:
        self._from = 0
        self.ended = 0
        """All transactions with a number up to here have ended: a reading that begins now finds what they have written."""

        self._latest = 0
        self._running: frozenset[str] | None = None
        """Transactions that may have a number up to `_latest`; None: they are noted at the next renewal."""

        self._renewals = 0
        self._is_all_due = True

    def renewed(self, latest: int, running: frozenset[str]) -> None:
        """Note the latest number that was given, and the transactions that run, at each renewal."""
        if self._running is None:
            self._running = running
        elif not self._running & running:
            self.ended, self._latest, self._running = self._latest, latest, None
        self._renewals += 1
        if self._renewals % _ALL_EVERY == 0:
            self._is_all_due = True

    def start(self, *, everything: bool) -> int:
        """Return the number behind which to read; `everything`: shares were taken, of which mail may be old."""
        return 0 if everything or self._is_all_due else self._from

    def read(self, start: int, ended: int) -> None:
        """Note a reading from `start` that was not cut off by its limit; `ended` is of when it began."""
        self._from = ended
        if start == 0:
            self._is_all_due = False
