"""The names of sent messages: what the sender knows of an outbox lane's named messages, kept as a state of the lane, NAMES.

| a call                                       | its message                                                          |
|----------------------------------------------|----------------------------------------------------------------------|
| with `name=` is about to be sent             | nothing has the name any more (a call FORGET, directly before it)    |
| was sent                                     | has the name, from the commit of the call on                         |
| was sent, and the process died before that   | is sent again: the last one has the name                             |
| was refused, or dropped                      | nothing has the name; a replay of its dead letter gives it           |
| refers to a name that nothing has            | delete, unpin: done; a reply: sent without it; else dropped, logged  |
| refers to a message that users have deleted  | as for any other message (botapi/late.py)                            |
| refers to a message of a group that became a | as to a name that nothing has: the ids of a supergroup are others    |
| supergroup since                             | (Telegram Bot API, ResponseParameters: migrate_to_chat_id)           |

Only the deliveries of the lane change its names, one after the other, so nothing interferes between a read and the commit.
"""

import json
from typing import Any, Final, NamedTuple

import structlog

from engine import Effects, StateChange, Work
from telegram.botapi.calls import encode_json
from telegram.botapi.errors import Refused
from telegram.botapi.named import Naming
from telegram.dialogue.contexts.editing import edit_of_caption, is_captioned
from telegram.dialogue.inbox.lending import asked

log = structlog.get_logger(__name__)

NAMES: Final = "~names"
"""The scope of the state."""

NAMES_MAX: Final = 100
"""How many names one lane has; above it, the one that was given first is dropped."""

_REPLY: Final = "reply_parameters"
_DONE_WITHOUT: Final = frozenset(("deleteMessage", "unpinChatMessage"))


class _Known(NamedTuple):
    """A named message: its chat, its id (of an album the ids of all its messages), and whether its text is a caption."""

    chat_id: int | str
    ids: list[int]
    captioned: bool


class NamedCall:
    """One call with names, and the names of its lane."""

    def __init__(self, lane: str, naming: Naming, was: bytes | None) -> None:
        self.naming = naming
        self._lane = lane
        self._was = was
        self._known = {name: _Known(*known) for name, known in json.loads(was or b"{}").items()}

    @classmethod
    async def read(cls, work: Work, naming: Naming) -> "NamedCall":
        """Read the names of the delivery's lane; Park if the store cannot do it now."""
        lane = work.delivery.lease.key
        return cls(lane, naming, await asked(work.state_of(lane, NAMES)))

    def forgotten(self) -> Effects:
        """Return the effects of a call FORGET."""
        if self.naming.name is not None:
            self._known.pop(self.naming.name, None)
        return self._effects()

    def filled(self, method: str, params: bytes) -> tuple[str, bytes] | None:
        """Return method and params with the ids; None if nothing has the name (any more), and the call is not to be sent."""
        fields = json.loads(params)
        for at, name in self.naming.ids:
            known = self._known.get(name)
            if at[0] == _REPLY:
                self._fill_reply(fields, name, known)
                continue
            if known is None:
                self._log_unknown(method, name)
                return None
            method = _fill(method, fields, known)
        return method, encode_json(fields)

    def after_move(self, moved: bytes | None) -> bytes | None:
        """Return the params for the supergroup that the group became; None for a call about a message of the group."""
        if moved is None or self._is_about_one:
            return None
        fields = json.loads(moved)
        for _, name in self.naming.ids:
            self._fill_reply(fields, name, None)
        return encode_json(fields)

    def is_gone(self, error: Refused) -> bool:
        """Return whether the call is about a message of a group that is a supergroup now; logged if it is no deletion."""
        if not self._is_about_one or error.migrate_to_chat_id is None:
            return False
        self._log_unknown(error.method, self.naming.ids[0][1])
        return True

    def sent(self, method: str, params: bytes, result: Any) -> Effects:
        """Return the effects of a call that was sent, with Telegram's `result`."""
        name = self.naming.name
        if name is not None:
            self._known.pop(name, None)
            if (known := _known_of(params, result)) is None:
                log.warning("a named message was sent, but its id is not known", lane=self._lane, name=name)
            else:
                self._known[name] = known
                for oldest in list(self._known)[:-NAMES_MAX]:
                    del self._known[oldest]
        elif self._is_about_one:
            of = self.naming.ids[0][1]
            if method in {"deleteMessage", "deleteMessages"}:
                self._known.pop(of, None)
            elif (
                method == "editMessageMedia"
            ):  # a text may become a photo (Telegram Bot API, editMessageMedia)
                self._known[of] = self._known[of]._replace(captioned=True)
        return self._effects()

    @property
    def _is_about_one(self) -> bool:
        return any(at[0] != _REPLY for at, _ in self.naming.ids)

    def _effects(self) -> Effects:
        state = (
            encode_json({name: list(known) for name, known in self._known.items()}) if self._known else None
        )
        if state == self._was:
            return Effects()
        return Effects(states=(StateChange(self._lane, NAMES, self._was, state),))

    def _fill_reply(self, fields: dict[str, Any], name: str, known: _Known | None) -> None:
        chat_id = fields.get("chat_id")
        if known is not None and (known.chat_id == chat_id or not isinstance(chat_id, int)):
            fields[_REPLY]["message_id"] = known.ids[0]
            return
        log.warning("a reply is sent without its named message", lane=self._lane, name=name)
        fields.pop(_REPLY, None)

    def _log_unknown(self, method: str, name: str) -> None:
        if method not in _DONE_WITHOUT:
            log.warning(
                "no message has this name: its call is dropped", lane=self._lane, method=method, name=name
            )


def _fill(method: str, fields: dict[str, Any], known: _Known) -> str:
    """Fill in chat and id, and return the method; other methods edit captions, and delete albums."""
    fields["chat_id"], fields["message_id"] = known.chat_id, known.ids[0]
    if method == "deleteMessage" and len(known.ids) > 1:
        del fields["message_id"]
        fields["message_ids"] = known.ids
        return "deleteMessages"
    if method == "editMessageText" and known.captioned and "text" in fields:
        method, edited = edit_of_caption(fields.pop("text"), fields)
        fields.clear()
        fields.update(edited)
    return method


def _known_of(params: bytes, result: Any) -> _Known | None:
    """Return what to keep of the result of a call: a Message, a MessageId, which has no chat, or an array of these."""
    sent = result if isinstance(result, list) else [result]
    try:
        first = sent[0]
        chat_id = first["chat"]["id"] if "chat" in first else json.loads(params)["chat_id"]
        return _Known(chat_id, [each["message_id"] for each in sent], is_captioned(first))
    except (LookupError, TypeError, AttributeError):
        return None
