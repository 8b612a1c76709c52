"""Finds the handler of each button of a flow's fixed prompts, by applying the filters to simulated presses."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from engine import Delivery, Lease, Queue
from telegram.botapi.decoding import decode
from telegram.botapi.intake import RawUpdate
from telegram.botapi.routing import envelope
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.queries import context_of
from telegram.dialogue.contexts.tools import Tools
from telegram.dialogue.flows.plan import Plan, Prompt, Step
from telegram.dialogue.routes.route import Route

_CHATS: Final = ("private", "supergroup", "group", "channel")
_PERSON: Final = {"id": 1, "is_bot": False, "first_name": "A"}
_PLAIN_TEXT: Final = frozenset(("text", "style", "icon_custom_emoji_id"))
"""Fields of a reply keyboard's button that sends its text; a button with any other field sends something else."""


class Button(NamedTuple):
    """A button of a prompt: its text, and its callback data (None for a button that sends its text)."""

    text: str
    data: str | None

    def contexts(self) -> Iterator[Context]:
        """Yield the contexts of a press, in a chat of each type."""
        for type_ in _CHATS:
            chat = {"id": 1 if type_ == "private" else -1, "type": type_, "title": "A"}
            message = {"message_id": 1, "date": 0, "chat": chat, "from": _PERSON, "text": self.text}
            if self.data is None:
                yield _context({"update_id": 1, "message": message})
            else:
                press = {"id": "1", "from": _PERSON, "chat_instance": "1", "message": message}
                yield _context({"update_id": 1, "callback_query": {**press, "data": self.data}})


def buttons_of(prompt: Prompt | None) -> list[Button]:
    """Return the buttons of a prompt's fixed `reply_markup` that send callback data or their text."""
    markup = prompt.params.get("reply_markup") if prompt else None
    if isinstance(markup, BaseModel):
        markup = markup.model_dump(exclude_none=True)
    if not isinstance(markup, Mapping):
        return []
    pressed = [
        Button(each["text"], each["callback_data"])
        for each in _cells(markup.get("inline_keyboard"))
        if "callback_data" in each
    ]
    typed = [
        Button(each["text"], None) for each in _cells(markup.get("keyboard")) if _PLAIN_TEXT.issuperset(each)
    ]
    return pressed + typed


def taker(steps: Iterable[Step], button: Button) -> Step | None:
    """Return the first of the steps that handles the button in a chat of some type; None if none does."""
    contexts = list(button.contexts())
    return next((step for step in steps if any(takes(step.route, ctx) for ctx in contexts)), None)


def takes(route: Route, ctx: Context) -> bool:
    """Return whether the route matches. A filter that raises on the simulated update counts as passing."""
    if route.kinds is not None and ctx.kind not in route.kinds:
        return False
    try:
        return route.values(ctx) is not None
    except Exception:  # noqa: BLE001 - filters are the author's code, and Invalid is a valid result
        return True


def steps_at(flow: Plan[Any, Any, Any], state: Any) -> list[Step]:
    """Return the steps that are tried in a state, in order; timers too."""
    return [*flow.steps[state], *flow.steps_anywhere, *flow.steps_else]


def _cells(rows: Any) -> Iterator[dict[str, Any]]:
    for row in rows or ():
        for cell in row:
            if isinstance(cell, BaseModel):
                yield cell.model_dump(exclude_none=True)
            else:
                yield {"text": cell} if isinstance(cell, str) else cell


def _context(fields: dict[str, Any]) -> Context:
    body = json.dumps(fields).encode()
    head = envelope(RawUpdate(fields["update_id"], body, fields))
    return context_of(decode(body), Delivery(Lease(Queue.INBOX, head.key, 1), head, 1, None), Tools())
