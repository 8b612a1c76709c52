"""Deliveries as the engine would make them, from updates written as plain dicts."""

import json
from typing import Any, NamedTuple

from engine.model import Delivery, Effects, Lease, Queue
from engine.store import LookAhead
from engine.work import Work
from telegram.botapi.calls import decode_call
from telegram.botapi.decoding import decode
from telegram.botapi.intake import RawUpdate
from telegram.botapi.routing import envelope
from telegram.dialogue import Context, Handler, InboxHandler, Router, Tools
from telegram.dialogue.contexts.queries import context_of

ALICE = {"id": 7, "is_bot": False, "first_name": "Alice"}
PRIVATE = {"id": 7, "type": "private", "first_name": "Alice"}
GROUP = {"id": -100, "type": "supergroup", "title": "Group"}


def message(text: str | None = "hello", *, chat: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A Message from Alice; without a text if that is None."""
    fields = {"message_id": 11, "date": 1_700_000_000, "chat": chat or PRIVATE, "from": ALICE, **more}
    return fields if text is None else {**fields, "text": text}


def press(data: str | None, **more: Any) -> dict[str, Any]:
    """A CallbackQuery: Alice pressed a button under the bot's message."""
    return {
        "id": "query-1",
        "from": ALICE,
        "chat_instance": "1",
        "message": message("the bot's own text"),
        "data": data,
        **more,
    }


def delivery(
    update: dict[str, Any] | bytes, *, update_id: int = 5, state: bytes | None = None, attempt: int = 1
) -> Delivery:
    """The delivery of `{"update_id": ..., **update}`, or of these very bytes."""
    fields = None if isinstance(update, bytes) else {"update_id": update_id, **update}
    body = update if isinstance(update, bytes) else json.dumps(fields).encode()
    head = envelope(RawUpdate(update_id, body, fields))
    return Delivery(Lease(Queue.INBOX, head.key, 1), head, attempt, state)


def context(
    update: dict[str, Any], *, state: bytes | None = None, attempt: int = 1, username: str | None = None
) -> Any:
    """The context of such a delivery; of which class depends on the update."""
    given = delivery(update, state=state, attempt=attempt)
    return context_of(decode(given.envelope.body), given, Tools(username=username))


def sent(effects: Effects) -> list[tuple[str, str, dict[str, Any]]]:
    """Lane key, method and params of each call."""
    calls = [(call.key, *decode_call(call.body)) for call in effects.calls]
    return [(key, method, json.loads(params)) for key, method, params in calls]


def naive_match(router: Router, ctx: Context) -> Handler | None:
    """The first handler that wants the update, found by asking everybody: what the router's table must find, too."""
    for entry, filters in router.entries():
        if (entry.kinds is None or ctx.kind in entry.kinds) and all(passes(ctx) for passes in filters):
            taken = entry.take(ctx)
            if taken is not None:
                return taken.handler
    return None


class Direct(InboxHandler):
    """Called with a delivery, without an engine. `behind` is a store, or what a test puts in its place."""

    def __init__(self, router: Router, *, behind: LookAhead | None = None, **options: Any) -> None:
        super().__init__(router, **options)
        self._runner = None if behind is None else Beside(behind)

    async def __call__(self, given: Delivery | Work) -> Effects:
        return await super().__call__(given if isinstance(given, Work) else Work(given, self._runner))


class Beside(NamedTuple):
    """A store for a Work without an engine; time-outs are ignored."""

    store: LookAhead

    def allow(self, delivery: Delivery, seconds: float) -> None:
        pass

    def go_on(self, delivery: Delivery, seconds: float) -> TimeoutError | None:
        return None
