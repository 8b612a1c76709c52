"""The contents of a reply of telegram/load/bot/counting.py: what telegram/load/checkers/checker.py checks."""

from typing import NamedTuple


class Evidence(NamedTuple):
    """The contents of a reply: which handling made it, with its count in the state, its interval and its process."""

    text: str
    update_id: int
    counted: int
    begin_ns: int
    end_ns: int
    pid: int

    def __str__(self) -> str:
        return "|".join(map(str, self))

    @property
    def label(self) -> str:
        """The handling in words."""
        return f"update {self.update_id} (process {self.pid}, count {self.counted})"

    @classmethod
    def parse(cls, reply: str) -> "Evidence":
        """Parse the result of `str`; ValueError for other texts."""
        text, *numbers = reply.rsplit("|", 5)
        return cls(text, *map(int, numbers))
