"""What becomes of a new message while its handler works: the policy of a handler, `on_new=`.

New is an update of the same conversation (user, chat and topic; of a flow that of its scope) that this handler would handle, too.

| `on_new`            | the running handler                     | the new update                                                  |
|---------------------|-----------------------------------------|-----------------------------------------------------------------|
| "queue"             | continues                               | is handled in its turn                                          |
| "stop"              | is stopped, its effects are discarded   | is handled in its turn                                          |
| "restart"           | is stopped, and runs again at once      | is handed over together with the earlier ones: `ctx.messages`   |
| "merge"             | continues                               | waits; all that wait at the handler's turn are handed over together |
| "drop", drop("...") | continues                               | is acknowledged without a handler                               |
"""

from typing import Final, Literal, TypeAlias

from telegram.dialogue.contexts.conduct import check_answer

Policy: TypeAlias = Literal["queue", "stop", "restart", "merge", "drop"]

_POLICIES: Final = ("queue", "stop", "restart", "merge", "drop")


class drop:  # noqa: N801 - read as a word: on_new=drop("One moment, please.")
    """The policy "drop" with a text, at most 200 characters, which the user gets at once, at most once per run of the handler."""

    def __init__(self, tell: str | None = None, /) -> None:
        self.tell = None if tell is None else check_answer(tell)


OnNew: TypeAlias = Policy | drop


def policy_of(on_new: OnNew) -> Policy:
    """Return the policy; TypeError or ValueError for anything else."""
    if isinstance(on_new, drop):
        return "drop"
    if not isinstance(on_new, str):
        raise TypeError(f"on_new is one of {', '.join(_POLICIES)}, or drop(...), not {on_new!r:.60}")
    if on_new not in _POLICIES:
        raise ValueError(f"on_new is one of {', '.join(_POLICIES)}, or drop(...), not {on_new!r:.60}")
    return on_new
