"""Events from outside of Telegram: what the process's own code posts into a chat's lane (`Bot.post`), and their context.

An event is a post of the store (engine.Post): durable when `Bot.post` returns, after what is pending in the lane. The ids of
the events that were handled are kept in a state of the lane, SEEN, which the commit of the event changes: so an event with
a known id has no effect, whatever became of the call that posted it.
"""

from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping
from hashlib import blake2b
from json import loads
from typing import Any, Final, NamedTuple

import structlog

from engine import Delivery, Effects, Post, Reject
from telegram.botapi.nearest import nearest
from telegram.botapi.routing import FAKE_USERS, TOPIC_MARK
from telegram.botapi.types import Update
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.tools import Tools
from telegram.dialogue.contexts.updates import ChatContext, TimerContext
from telegram.dialogue.routes.route import EVENT
from telegram.dialogue.routes.schedules import EveryContext, Job, is_planned, read_planned
from telegram.dialogue.state.kept import encode_kept
from telegram.dialogue.state.timers import is_void as is_replaced
from telegram.dialogue.state.timers import read_timer

log = structlog.get_logger(__name__)

BYTES_MAX: Final = 65_536
"""Maximum size of a stored event: its payload as JSON, and about a hundred bytes."""

ID_MAX: Final = 128
"""Maximum length of an event's id, in characters."""

SEEN: Final = "~events"
"""The scope of the lane's state with the ids of the events that were handled."""

SEEN_S: Final = 48 * 3600.0
"""How long ids are kept, counted from the post."""

SEEN_MAX: Final = 1_000
"""How many ids of one chat are kept; above it the oldest are dropped."""

_INT_MAX: Final = 2**63
_HEAD: Final = b'{"event":'


class Posted(NamedTuple):
    """A posted event. `place` has the params for its topic."""

    event: str
    chat_id: int
    user_id: int | None
    place: dict[str, Any]
    payload: dict[str, Any]
    id: str | None = None


class EventContext(ChatContext[Posted]):
    """An event from outside: `reply` and the others refer to its chat, `data` and flows are those of its user there."""

    __slots__ = ()

    def __init__(self, posted: Posted, delivery: Delivery, tools: Tools) -> None:
        super().__init__(Update(update_id=delivery.envelope.id), posted, delivery, tools)
        self.kind = EVENT

    @property
    def event_name(self) -> str:
        """The event's name."""
        return self.event.event

    @property
    def event_id(self) -> str | None:
        """The `id` with which it was posted; None if there was none."""
        return self.event.id

    @property
    def payload(self) -> dict[str, Any]:
        """The payload with which it was posted."""
        return self.event.payload

    @property
    def chat_id(self) -> int:
        """The chat for which it was posted."""
        return self.event.chat_id

    @property
    def user_id(self) -> int | None:
        """The user for whom it was posted; in a private chat its user."""
        return self.event.user_id

    @property
    def sender_id(self) -> int | None:
        """The same as `user_id`."""
        return self.event.user_id

    def place(self) -> dict[str, Any]:
        """Return the params for the topic for which it was posted."""
        return self.event.place

    @property
    def is_repeated(self) -> bool:
        """Whether an event of this name and id was handled in this chat; False if SEEN was not read."""
        return self.memory.has(SEEN) and _mark(self.event) in self.memory.of(SEEN).data

    def effects(self) -> Effects:
        """Return the effects to commit, with the record that this event was handled."""
        if self.memory.has(SEEN) and not self.is_repeated:
            seen = self.memory.of(SEEN).data
            at = self._delivery.envelope.at
            for mark in [mark for mark, then in seen.items() if at - then > SEEN_S]:
                del seen[mark]
            for mark in list(seen)[: len(seen) + 1 - SEEN_MAX]:
                del seen[mark]
            seen[_mark(self.event)] = round(at)
        return super().effects()


class OfEvent:
    """Matches an event of this name."""

    def __init__(self, name: str) -> None:
        self.name = event_name(name)
        self.label = f"event {name}"

    def __call__(self, ctx: Context) -> bool:
        """Return whether the update is an event of this name."""
        return isinstance(ctx, EventContext) and ctx.event.event == self.name


def event_name(name: object) -> str:
    """Return the name of an event; TypeError or ValueError unless it is a text that is not empty."""
    if not isinstance(name, str):
        raise TypeError(f"an event has a name: @router.event('paid'), post(chat_id, 'paid'), not {name!r}")
    if not name or name.startswith("~"):
        raise ValueError(f"an event's name is not empty and does not begin with '~': {name!r}")
    return name


def context_of_timer(delivery: Delivery, tools: Tools) -> TimerContext | EventContext | EveryContext:
    """Return the context of a timer of the store: one that a handler has set, an event, or a look or a run of a job."""
    body = delivery.envelope.body
    if body.startswith(_HEAD):
        return EventContext(read_event(body), delivery, tools)
    if is_planned(body):
        return EveryContext(read_planned(body), delivery, tools)
    return TimerContext(read_timer(body), delivery, tools)


def is_void(ctx: Context, jobs: Mapping[str, Job], now: float) -> bool:
    """Return whether there is nothing for a handler to do; `now` is Unix time.

    A timer was replaced or removed from another lane, an event is repeated, a job was looked at, or does not exist any more.
    """
    if isinstance(ctx, EveryContext):
        job = jobs.get(ctx.job)
        if ctx.event.due is None:
            ctx.look(job, now)
        return ctx.event.due is None or job is None
    if isinstance(ctx, TimerContext) and is_replaced(ctx.event, ctx.memory):
        log.debug("a timer was replaced or removed from another lane", key=ctx.key, timer=ctx.timer)
        return True
    if isinstance(ctx, EventContext) and ctx.is_repeated:
        log.debug("an event with this id was handled before", key=ctx.key, event_id=ctx.event_id)
        return True
    return False


def not_taken(ctx: EventContext, known: Collection[str] | None) -> None:
    """Raise Reject for an event without a handler; log one whose flow is in another state."""
    if known is not None and ctx.event_name not in known:
        raise Reject(unknown_event(ctx.event_name, known))
    log.warning("no flow waits for the event", key=ctx.key, event_name=ctx.event_name, event_id=ctx.event_id)


def read_event(body: bytes) -> Posted:
    """Parse what `posted` wrote; Reject for anything else."""
    try:
        return Posted(**loads(body))
    except (ValueError, TypeError):
        raise Reject("the event is not readable") from None


def check_event(name: str, known: Collection[str] | None) -> None:
    """Raise ValueError for an event without a handler; `known` None: a handler takes any."""
    if known is not None and name not in known:
        raise ValueError(unknown_event(name, known))


def unknown_event(name: str, known: Collection[str]) -> str:
    """Return the text for an event without a handler, with the most similar name that has one."""
    advice = nearest(name, known) or f": add @router.event({name!r})"
    return f"no handler takes the event {name!r}{advice}"


def posted(
    chat_id: int,
    name: str,
    payload: Mapping[str, Any] | None,
    event_id: str | int | None,
    user_id: int | None,
    topic: int | None,
) -> Post:
    """Return an event to store. TypeError or ValueError, one line, for what it cannot have (NotKept: in the payload)."""
    _check_int("chat_id", chat_id, "the id of a chat")
    if not chat_id:
        raise ValueError("chat_id is the id of a chat, not 0")
    person = chat_id if user_id is None and chat_id > 0 else user_id
    if person is not None:
        _check_int("user_id", person, "the id of a user")
        if person <= 0:
            raise ValueError(f"user_id is the id of a user, above 0, not {person}")
    if topic is not None:
        _check_int("topic", topic, "the message_thread_id of a topic")
    if payload is not None and not isinstance(payload, Mapping):
        raise TypeError(f"an event's payload is a dict, not {payload!r:.60}")
    place = {"message_thread_id": topic} if topic else {}
    event = Posted(event_name(name), chat_id, person, place, dict(payload or {}), _checked_id(event_id))
    encode_kept(event.payload, f"event {name!r}: payload")
    body = encode_kept(event._asdict(), f"event {name!r}")
    if len(body) > BYTES_MAX:
        raise ValueError(f"event {name!r}: {len(body)} bytes with its payload, more than {BYTES_MAX}")
    who = "" if person is None or person in FAKE_USERS else str(person)
    scope = who if topic is None or chat_id > 0 else f"{who}{TOPIC_MARK}{topic}"
    return Post(f"chat:{chat_id}", scope, body)


def _checked_id(event_id: object) -> str | None:
    if event_id is None:
        return None
    if isinstance(event_id, bool) or not isinstance(event_id, str | int):
        raise TypeError(f"an event's id is a text or a number, not {event_id!r:.60}")
    text = str(event_id)
    if not 0 < len(text) <= ID_MAX:
        raise ValueError(f"an event's id has 1 to {ID_MAX} characters, not {len(text)}")
    return text


def _check_int(name: str, value: object, what: str) -> None:
    if type(value) is not int:
        raise TypeError(f"{name} is {what}, an int, not {value!r:.60}")
    if not -_INT_MAX <= value < _INT_MAX:
        raise ValueError(f"{name} is {what}, a 64-bit number, not {value}")


def _mark(event: Posted) -> str:
    """Return an event's name and id in twelve characters, for SEEN."""
    digest = blake2b(f"{event.event}\0{event.id}".encode(), digest_size=9).digest()
    return urlsafe_b64encode(digest).decode()
