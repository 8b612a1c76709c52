"""What became of a call: `@router.refused(...)` handles calls that Telegram has refused.

A refusal that a handler takes is an event of the lane of the chat, posted in one step with the end of the call:
durable, delivered once, after what is pending there. Then the call is no dead letter; the event is one, if the handler fails.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from engine import Delivery, Post
from telegram.botapi.errors import Refused
from telegram.botapi.late import outcome_of_refusal
from telegram.botapi.named import quiet
from telegram.botapi.nearest import nearest
from telegram.botapi.parameters import methods
from telegram.botapi.routing import FAKE_USERS, POSTS
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.tools import Tools
from telegram.dialogue.router.kinds import routes_of
from telegram.dialogue.routes.events import EventContext, OfEvent, Posted, read_event
from telegram.dialogue.routes.events import context_of_timer as context_of_other
from telegram.dialogue.routes.route import Route
from telegram.dialogue.state.kept import encode_kept

REFUSED: Final = "~refused"
"""The name of the event of a refused call, which no author's event has."""

_HEAD: Final = b'{"event":"%b"' % REFUSED.encode()

REASONS: Final = ("blocked", "rights", "entities", "gone", "other")
"""The kinds of refusal:

| kind       | Telegram's reason                                                                                         |
|------------|-----------------------------------------------------------------------------------------------------------|
| "blocked"  | the bot cannot reach the chat: blocked, kicked, never started, ... (telegram/botapi/errors.py)              |
| "rights"   | the bot lacks a right in the chat, or is no administrator                                                  |
| "entities" | the text's markup cannot be parsed                                                                        |
| "gone"     | the message or the topic of the call was deleted (telegram/botapi/late.py)                                  |
| "other"    | any other                                                                                                  |
"""

_RIGHTS: Final = (
    "not enough rights",  # telegram-bot-api, Client.cpp, process_set_chat_administrator_custom_title_query
    "have no rights",  # tdlib/td, MessagesManager.cpp: "Have no rights to send a message"
    "need administrator rights",  # teloxide/teloxide#450
    "chat_admin_required",  # TelegramBotAPI/errors#2, python-telegram-bot/python-telegram-bot#769
    "chat_write_forbidden",  # LonamiWebs/Telethon#1607
    "right_forbidden",  # TelegramBots/Telegram.Bot#1025
    "user is an administrator of the chat",  # USER_ADMIN_INVALID: Client.cpp, fail_query_with_error
    "user_admin_invalid",  # the same from older servers
)


def kind_of(error: Refused) -> str:
    """Return the kind of a refusal."""
    if error.unreachable:
        return "blocked"
    if error.unparsable:
        return "entities"
    if error.says(_RIGHTS):
        return "rights"
    return "gone" if outcome_of_refusal(error) == "dropped" else "other"


class Wanted(NamedTuple):
    """Matches refusals of these kinds, of calls of these methods; empty: of any."""

    kinds: frozenset[str]
    methods: frozenset[str]

    def takes(self, kind: str, method: str) -> bool:
        """Return whether it matches a refusal."""
        return (not self.kinds or kind in self.kinds) and (not self.methods or method.lower() in self.methods)


class OfRefusal(OfEvent):
    """Matches the event of a refused call."""

    def __init__(self, wanted: Wanted) -> None:
        self.name = REFUSED
        self.label = "refused call"
        self.wanted = wanted

    def __call__(self, ctx: Context) -> bool:
        """Return whether the update is the refusal of such a call."""
        return isinstance(ctx, RefusedContext) and self.wanted.takes(ctx.reason, ctx.method)


class RefusedContext(EventContext):
    """A refused call: `reply` and the others refer to the chat to which it went.

    The calls that are collected here are not reported if they are refused: they are dead letters.
    """

    __slots__ = ()

    def collect(
        self, method: str, params: dict[str, Any], *, is_known: bool = True, name: str | None = None
    ) -> None:
        """Collect a call, whose own refusal no handler gets."""
        before = len(self._calls or ())
        super().collect(method, params, is_known=is_known, name=name)
        calls = self._calls or []
        calls[before:] = [call._replace(body=quiet(call.body)) for call in calls[before:]]

    _collected = collect

    @property
    def method(self) -> str:
        """The method of the call: "sendMessage", ..."""
        found: str = self.payload["method"]
        return found

    @property
    def params(self) -> dict[str, Any]:
        """The params of the call, without its files."""
        found: dict[str, Any] = self.payload["params"]
        return found

    @property
    def message_name(self) -> str | None:
        """The `name=` of the message that was not sent."""
        found: str | None = self.payload["name"]
        return found

    @property
    def reason(self) -> str:
        """The kind of the refusal, one of REASONS: "blocked", "rights", "entities", "gone", "other"."""
        found: str = self.payload["kind"]
        return found

    @property
    def code(self) -> int:
        """Telegram's error code: 400, 403, ..."""
        found: int = self.payload["code"]
        return found

    @property
    def description(self) -> str:
        """Telegram's text, like "Forbidden: bot was blocked by the user"."""
        found: str = self.payload["description"]
        return found


class Refusal(NamedTuple):
    """A call that was refused: its lane in the outbox, what it was, and Telegram's error."""

    lane: str
    params: dict[str, Any]
    name: str | None
    error: Refused

    def post(self) -> Post:
        """Return the event, for the lane of the call; of a call from another chat, for the lane of its chat."""
        error, given = self.error, self.params.get("chat_id")
        chat_id = given if isinstance(given, int) else None
        person = chat_id if chat_id is not None and chat_id > 0 and chat_id not in FAKE_USERS else None
        place = {
            name: self.params[name]
            for name in ("message_thread_id", "business_connection_id", "direct_messages_topic_id")
            if self.params.get(name)
        }
        payload = {
            "method": error.method, "params": self.params, "name": self.name, "kind": kind_of(error),
            "code": error.code, "description": error.description,
        }  # fmt: skip
        body = {**Posted(REFUSED, 0, person, place, payload)._asdict(), "chat_id": chat_id}
        scope = "" if person is None else str(person)
        lane = f"chat:{self.lane[len(POSTS) :]}" if self.lane.startswith(POSTS) else self.lane
        return Post(lane, scope, encode_kept(body, REFUSED))


def context_of_timer(delivery: Delivery, tools: Tools) -> Context:
    """Return the context of a timer of the store: one that a handler has set, an event, a job, or a refused call."""
    body = delivery.envelope.body
    if body.startswith(_HEAD):
        return RefusedContext(read_event(body), delivery, tools)
    return context_of_other(delivery, tools)


def wanted_by(entries: Iterable[tuple[Any, Any]]) -> list[Wanted]:
    """Return which refusals these entries of a router handle."""
    return [
        each.wanted
        for entry, _ in entries
        for route in routes_of(entry, set())
        if isinstance(route, Route)
        for each in route.filters
        if isinstance(each, OfRefusal)
    ]


def takes(wanted: Sequence[Wanted], error: Refused) -> bool:
    """Return whether a handler takes a refusal."""
    kind = kind_of(error)
    return any(each.takes(kind, error.method) for each in wanted)


Names: TypeAlias = "str | tuple[str, ...] | list[str]"


def wanted_of(reason: Names, method: Names) -> Wanted:
    """Return what `@router.refused(reason, method=...)` takes. TypeError or ValueError for an unknown kind or method."""
    known = {name.lower(): name for name in methods().values()}
    return Wanted(_checked("kind of refusal", reason, REASONS), _checked("method", method, known))


def _checked(what: str, given: Names, known: Any) -> frozenset[str]:
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a {what} is a text, not {name!r:.60}")
        if (name.lower() if isinstance(known, dict) else name) not in known:
            among = known.values() if isinstance(known, dict) else known
            raise ValueError(f"there is no {what} {name!r}{nearest(name, among)}")
    return frozenset(name.lower() if isinstance(known, dict) else name for name in names)
