"""What a handler sees of one update, and what it wants to happen: nothing is sent before the commit."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from typing_extensions import TypeVar as DefaultTypeVar

from engine import KEEP, Call, Delivery, Effects, StateChange, Timer
from telegram.calls import encode_call, encode_json, query_lane, query_of
from telegram.client import TgClient
from telegram.dialogue.conversation import Conversation
from telegram.dialogue.timers import Fired
from telegram.dialogue.tools import Resource, Tools
from telegram.kept import encode_kept
from telegram.parameters import check_names
from telegram.routing import FAKE_USERS
from telegram.shortcuts import outlives_its_message, part, place_of
from telegram.types import Update, User

if TYPE_CHECKING:
    from telegram.dialogue.long import Progress

E_co = DefaultTypeVar("E_co", covariant=True, default=Any)
T = TypeVar("T")

# What Telegram's server marks as a command (tdlib/td, MessageEntity.cpp, match_bot_commands): "/etc/passwd" is none, and
# of "/cancel." the full stop does not belong to it.
_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]{3,32}))?(?![\w/<>@])")
_ATTACHED: Final = re.compile(r"[^\w\s]+(?=\s|\Z)")
OWN_SCOPE: Final = ""
_SPEAKING_CHATS: Final = (
    "sender_chat",
    "actor_chat",
    "voter_chat",
)  # of messages, reactions, answers to polls


class Context(Generic[E_co]):
    """One update with its conversation state.

    `reply`, `answer`, `edit`, `send`, `call` and the timers only collect. All of it happens in one step with the
    commit of the update, once the handler has returned, the calls in this order; if it raises, nothing happens.
    """

    __slots__ = (
        "_calls",
        "_command",
        "_conversations",
        "_delivery",
        "_foreign",
        "_timers",
        "_tools",
        "also",
        "event",
        "is_late",
        "kind",
        "shows",
        "update",
    )

    def __init__(self, update: Update, event: E_co, delivery: Delivery, tools: Tools) -> None:
        self.update = update
        self.kind = update.kind
        """Telegram's name for what the update holds: "message", "callback_query", ...; "timer" for a timer."""
        self.event = event
        """What stands in the update under its kind: a Message, a CallbackQuery, or a dict of what has no type here."""
        self.also = 0  # how many updates behind this one are handled with it
        self.shows: tuple[Progress, ...] = ()  # what tells how far the handler is
        self._delivery = delivery
        self._tools = tools
        self._conversations: dict[str, Conversation] = {}  # read only when somebody looks at them
        self._foreign: dict[str, tuple[str, str, bytes | None]] = {}
        self._command: tuple[str | None, str] | None = None
        self._timers: dict[tuple[str | None, str], Timer] = {}
        self._calls: list[Call] | None = []  # None: the effects are taken
        self.is_late = False
        """Whether the update is a query that Telegram takes no answer to any more: `call` leaves the answer out."""

    # ---- what came

    @property
    def update_id(self) -> int:
        """Telegram's number of this update; it orders the lane."""
        return self._delivery.envelope.id

    @property
    def idempotency_key(self) -> str:
        """Names this update for ever, the same at each attempt: for what you do in a database of your own."""
        envelope = self._delivery.envelope
        return f"{envelope.id}-{blake2b(envelope.body, digest_size=8).hexdigest()}"

    @property
    def turn(self) -> str:
        """Names the handling of this update in six characters, the same at each attempt: for what a flow sets or sends."""
        digest = blake2b(self.idempotency_key.encode(), digest_size=6).digest()
        return urlsafe_b64encode(digest)[:6].decode()

    @property
    def key(self) -> str:
        """The lane of this update: "chat:42", say."""
        return self._delivery.envelope.key

    @property
    def attempt(self) -> int:
        """The how-manieth time this update is handled, from 1."""
        return self._delivery.attempt

    @property
    def source(self) -> Any:
        """The message of any message update or with the pressed button, else the event."""
        return self.event

    @property
    def chat_id(self) -> int | None:
        """The chat that the update belongs to; None for inline queries, polls and the like."""
        return _id(self.source, "chat")

    @property
    def user(self) -> User | None:
        """Who wrote the message or pressed the button; None if no user did, and for kinds without a type here."""
        return getattr(self.event, "from_", None)

    @property
    def user_id(self) -> int | None:
        """The id of the user who caused the update, of any kind; None if no user did.

        None also for the accounts that stand in for a chat, which strangers share: anonymous admins, posts in a chat's
        name, automatic forwards (Telegram Bot API, Message: from and sender_chat). `sender_id` tells those apart.
        """
        found = self.user.id if self.user is not None else _id(self.event, "from")
        found = _id(self.event, "user") if found is None else found
        return None if found in FAKE_USERS else found

    @property
    def sender_id(self) -> int | None:
        """The true identity behind the update: the chat that speaks for itself, else the user; None if there is none.

        Of a message its sender_chat (an anonymous admin speaks as the group, a post as its channel), of a reaction its
        actor_chat, of a poll's answer its voter_chat. A press comes with the admin's own id, never with the group's.
        """
        for name in _SPEAKING_CHATS:
            if (chat := _id(self.event, name)) is not None:
                return chat
        return self.user_id

    @property
    def text(self) -> str:
        """The text of a message update, else empty; also for a pressed button, whose text is the bot's own."""
        return ""

    @property
    def command(self) -> str | None:
        """`start` of "/start@bot args", in lower case. None without a command, or with one for another bot."""
        return self._parsed()[0]

    @property
    def args(self) -> str:
        """What follows the command; empty if nothing does."""
        return self._parsed()[1]

    @property
    def button(self) -> str | None:
        """The callback data of the pressed button."""
        return None

    def _parsed(self) -> tuple[str | None, str]:
        if self._command is None:
            text = self.text
            self._command = _parse_command(text, self._tools.username) if text[:1] == "/" else (None, "")
        return self._command

    # ---- what lasts

    @property
    def data(self) -> dict[str, Any]:
        """What is remembered of this person in this chat, to be changed in place: JSON values under string keys.

        Saved with the commit of this update; an empty one is deleted. Rejects the update if it is not readable. NotKept
        names what JSON would make another value (int keys, tuples, sets, NaN, members of an IntEnum): nothing is saved.
        """
        return self.conversation().data

    def conversation(self, scope: str = OWN_SCOPE) -> Conversation:
        """The conversation of this update's own scope, or of one that was lent to it before (for flows)."""
        envelope = self._delivery.envelope
        if scope != OWN_SCOPE and self._foreign[scope][:2] == (envelope.key, envelope.scope):
            scope = OWN_SCOPE  # a timer of the flow itself
        found = self._conversations.get(scope)
        if found is None:
            was = self._delivery.state if scope == OWN_SCOPE else self._foreign[scope][2]
            found = self._conversations[scope] = Conversation(was)
        return found

    def has(self, scope: str) -> bool:
        """Whether the update has a conversation in this scope."""
        return scope == OWN_SCOPE or scope in self._foreign

    def lend(self, scope: str, key: str, state_scope: str, was: bytes | None) -> None:
        """Give the context the state `was` of another scope, which lies in the store under (key, state_scope)."""
        self._foreign[scope] = (key, state_scope, was)

    def use(self, resource: Resource[T]) -> T:
        """What a `@router.resource` opened when the bot started."""
        return self._tools.use(resource)

    # ---- what shall happen

    def call(self, method: str, /, **params: Any) -> None:
        """Any method of the Bot API; params that are None are left out.

        Calls for one chat go out in order. The answer to a query (a pressed button, a payment, an inline query) is no
        message of a chat: it waits for none of them. ValueError or TypeError for what JSON or UTF-8 cannot hold. An
        InputFile waits as its path, and is read when it is sent; what is missing then is a dead letter.
        TypeError for a method or a parameter that is not known here: what is newer goes through `call_newer`.
        """
        self.collect(method, params)

    def call_newer(self, method: str, /, **params: Any) -> None:
        """Do as `call` with a method or parameters that this version does not know: its names are not checked."""
        self.collect(method, params, is_known=False)

    def collect(self, method: str, params: dict[str, Any], *, is_known: bool = True) -> None:
        """Do as `call`, or as `call_newer`."""
        if self._calls is None:
            raise RuntimeError(f"{method}: the handler has returned, this call would be lost")
        if is_known:
            check_names(method, params)
        params = {name: value for name, value in params.items() if value is not None}
        if "reply_parameters" in params:
            params["reply_parameters"] = outlives_its_message(params["reply_parameters"])
        query = query_of(params)
        if query is not None:
            if not self.is_late or query != getattr(self.event, "id", None):
                self._calls.append(Call(query_lane(query), encode_call(method, params)))
            return
        chat_id = params.get("chat_id")
        here = self.chat_id
        own = chat_id is None or chat_id == here or str(chat_id) == str(here)
        key = self._delivery.envelope.key if own else f"chat:{chat_id}"
        self._calls.append(Call(key, encode_call(method, params)))

    def send(self, chat_id: int | str, text: str, /, **params: Any) -> None:
        """Send `text` to any chat (sendMessage)."""
        self.call("sendMessage", **{"chat_id": chat_id, "text": text, **params})

    @property
    def now(self) -> TgClient:
        """The client, for a call at once, whose answer you need here: `await ctx.now.send_message(...)`.

        Outside the commit: a handler that runs again calls again, so it happens at least once.
        """
        if self._tools.client is None:
            raise RuntimeError("there is no client here: calls at once need a running bot")
        return self._tools.client

    def set_timer(
        self, name: str, after: float | timedelta, payload: Mapping[str, Any] | None = None
    ) -> None:
        """Run the handler of `@router.timer(name)` in this lane, once, `after` seconds from the commit on.

        A timer of that name in this conversation is replaced. `payload` is plain JSON (else NotKept). It survives restarts.
        """
        self.plan_timer(timer_name(name), after, payload)

    def cancel_timer(self, name: str) -> None:
        """Take a timer of this conversation away, if it has not been handled yet."""
        self.plan_timer(timer_name(name), None, None)

    def plan_timer(
        self,
        name: str,
        after: float | timedelta | None,
        payload: Mapping[str, Any] | None,
        scope: str | None = None,
    ) -> None:
        """Set or (None) cancel the timer `name` of a state scope, by default of the update's own; for flows."""
        after_s = after.total_seconds() if isinstance(after, timedelta) else after
        given = dict(payload or {})
        if given:
            encode_kept(given, f"timer {name!r}: payload")
        fired = Fired(name, self.chat_id, self.sender_id, self.place(), given)
        body = b"" if after_s is None else encode_json(fired._asdict())
        self._timers[scope, name] = Timer(name, after_s, body, scope)

    def place(self) -> dict[str, Any]:
        """Where in the chat an answer belongs: the params for a topic or a business connection."""
        return place_of(self.source)

    # ---- for the inbox's handler

    def has_called(self, method: str) -> bool:
        """Whether a call of this method was collected."""
        head = method.encode()
        return any(call.body.startswith(head) for call in self._calls or ())

    def discard(self) -> None:
        """Forget all that was collected and changed, as if no handler had run."""
        self._calls, self._timers, self._conversations = [], {}, {}

    def effects(self) -> Effects:
        """What is to be committed. To be taken once, after the handler."""
        calls, self._calls = tuple(self._calls or ()), None
        state: Any = KEEP
        states: list[StateChange] = []
        for scope, conversation in self._conversations.items():
            now = conversation.encoded()
            if now == conversation.was:
                continue
            if scope == OWN_SCOPE:
                state = now
            else:
                key, name, was = self._foreign[scope]
                states.append(StateChange(key, name, was, now))
        return Effects(
            calls, state, timers=tuple(self._timers.values()), states=tuple(states), also=self.also
        )


def timer_name(name: str) -> str:
    """Return the name of an author's timer; ValueError if it cannot be one."""
    if not name or name.startswith("~"):
        raise ValueError(f"a timer's name is not empty and does not begin with '~': {name!r}")
    return name


def _id(item: Any, name: str) -> int | None:
    """`item[name].id`, if it is there and a number."""
    found = part(part(item, name), "id")
    return found if isinstance(found, int) else None


def is_command(text: str) -> bool:
    """Whether it is a command, for whatever bot."""
    return text[:1] == "/" and _COMMAND.match(text) is not None


def _parse_command(text: str, username: str | None) -> tuple[str | None, str]:
    """The command in lower case and its args; no command if it names another bot than `username`.

    Punctuation that ends the command's word is no argument: people write "/cancel." and "/help!".
    """
    found = _COMMAND.match(text)
    if found is None:
        return None, ""
    name, addressee = found.groups()
    if addressee and username and addressee.lower() != username.lower():
        return None, ""
    attached = _ATTACHED.match(text, found.end())
    return name.lower(), text[attached.end() if attached else found.end() :].strip()
