"""The state of a conversation: a JSON object in the store.

Besides the handlers' own values it has the record of the running flow, under a reserved name.
"""

import json
from collections.abc import Callable
from typing import Any, Final, Literal

from engine import KEEP, Delivery, Reject, StateChange
from telegram.dialogue.state.kept import NotKept, encode_kept

Scope = Literal["", "chat", "topic", "user"]
"""Whose conversation: a person's in a chat, the chat's, a topic's, a person's in all chats (telegram/dialogue/state/scopes.py)."""
OWN_SCOPE: Final = ""
_FLOW: Final = "~flow"
_TIMERS: Final = "~timers"
_LANG: Final = "~lang"
# Faster than json.loads, which detects the encoding and skips spaces: that takes twice as long.
_READ: Final = json.JSONDecoder().raw_decode

Where = tuple[str, str]
"""Key and scope of a conversation in the store."""


class Conversation:
    """The state of one scope: `data`, to be changed in place, and `flow`, the record of the running flow, or None.

    `timers`: the author's timers that were set or removed from another lane than the conversation's, by their name in the
    store, each with the turn that set it, or "" if it was removed (telegram/dialogue/state/timers.py). `lang`: the language that the
    user has chosen.
    """

    __slots__ = ("data", "flow", "lang", "timers", "was")

    def __init__(self, was: bytes | None) -> None:
        """Parse a state; Reject if it is not readable."""
        self.was = was
        self.data = _load(was)
        self.flow: dict[str, Any] | None = self.data.pop(_FLOW, None)
        self.timers: dict[str, str] = self.data.pop(_TIMERS, {})
        self.lang: str | None = self.data.pop(_LANG, None)

    def encoded(self) -> bytes | None:
        """Return the state to save, None for an empty one. NotKept for values that JSON would change."""
        for name in (_FLOW, _TIMERS, _LANG):
            if name in self.data:
                raise ValueError(f"{name!r} is not a name for your data: it is Chatlane's own")
        kept = {**self.data, _TIMERS: self.timers} if self.timers else self.data
        if self.lang is not None:
            kept = {**kept, _LANG: self.lang}
        if self.flow is None:
            return encode_kept(kept, "data") if kept else None
        try:
            return encode_kept(kept, "data", {_FLOW: self.flow})
        except NotKept:
            for frame in self.flow["stack"]:  # so that the message names the field
                encode_kept(frame["data"], f"flow {frame['flow']}: data")
            raise


def _load(state: bytes | None) -> dict[str, Any]:
    if state is None:
        return {}
    try:
        text = state.strip().decode()
        data, end = _READ(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or end < len(text):
        raise Reject("the conversation state is not readable")
    return data


class Memory:
    """The conversations that one update can read and change: its delivery's own, and others added by `lend`.

    A flow's scope names one of them. OWN_SCOPE and DATA are the delivery's own, unless `lend` replaced them.
    """

    __slots__ = ("_found", "_inherits", "_lent", "_names", "_own", "_state")

    def __init__(self, delivery: Delivery) -> None:
        self._own: Where = (delivery.envelope.key, delivery.envelope.scope)
        self._state = delivery.state
        self._names: dict[str, Where] = {}
        self._lent: dict[Where, tuple[bytes | None, Callable[[bytes | None], Conversation]]] = {}
        self._found: dict[Where, Conversation] = {}  # parsed at the first use
        self._inherits: str | None = None

    def lend(
        self,
        name: str,
        where: Where,
        was: bytes | None,
        make: Callable[[bytes | None], Conversation] = Conversation,
    ) -> None:
        """Add the conversation at `where` with the state `was`, under `name`: a flow's scope, DATA, or shared data."""
        self._names[name] = where
        self._lent[where] = (was, make)

    def inherit(self, scope: str, was: bytes) -> None:
        """Start the delivery's own conversation, which has no state yet, with the state `was` of another scope of the lane.

        The commit that changes it deletes the other scope's state.
        """
        self._inherits = scope
        self._found[self._own] = Conversation(was)

    def where(self, name: str) -> Where | None:
        """Return key and scope of the conversation of this name; None if it is the delivery's own."""
        return self._names.get(name)

    def place(self, name: str) -> Where:
        """Return key and scope of the conversation of this name."""
        return self._names.get(name) or self._own

    def places(self) -> list[Where]:
        """Return key and scope of all conversations of this update."""
        return [self._own, *self._names.values()]

    def has(self, name: str) -> bool:
        """Return whether there is a conversation of this name."""
        return name == OWN_SCOPE or name in self._names

    def of(self, name: str) -> Conversation:
        """Return the conversation of this name; Reject if its state is not readable."""
        own = self._own
        where = self._names.get(name, own) if name in _OWN else self._names[name]
        found = self._found.get(where)
        if found is None:
            was, make = (self._state, Conversation) if where == own else self._lent[where]
            found = self._found[where] = make(was)
        return found

    def timers(self) -> dict[str, str] | None:
        """Return `timers` of the conversation of `data`; None if it is the delivery's own and has none."""
        if DATA not in self._names and _TIMERS.encode() not in (self._state or b""):
            return None  # without parsing the state
        return self.of(DATA).timers

    def forget(self) -> None:
        """Discard all changes."""
        own = self._own
        inherited = self._found.get(own) if self._inherits is not None else None
        self._found = {} if inherited is None else {own: Conversation(inherited.was)}

    def changes(self) -> tuple[Any, tuple[StateChange, ...]]:
        """Return the changes to commit: the delivery's own state (or KEEP), and those of others."""
        state: Any = KEEP
        states: list[StateChange] = []
        own = self._own
        for where, conversation in self._found.items():
            now = conversation.encoded()
            if now == conversation.was:
                continue
            if where != own:
                states.append(StateChange(*where, self._lent[where][0], now))
                continue
            state = now
            if self._inherits is not None:
                states.append(StateChange(own[0], self._inherits, conversation.was, None))
        return state, tuple(states)


DATA: Final = "~data"
"""The name of the conversation of `Context.data`."""

_OWN: Final = frozenset((OWN_SCOPE, DATA))
