"""What a handler sees of one update, and what it wants to happen: nothing is sent before the commit."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from typing_extensions import TypeVar as DefaultTypeVar

from engine import Call, Delivery, Effects, Timer
from telegram.botapi.calls import encode_call, query_lane, query_of
from telegram.botapi.parameters import check_names
from telegram.botapi.routing import FAKE_USERS, lane_for
from telegram.botapi.shortcuts import outlives_its_message, part, place_of
from telegram.botapi.types import Update, User
from telegram.client import TgClient
from telegram.dialogue.conversation import DATA, OWN_SCOPE, Conversation, Memory, Scope
from telegram.dialogue.marks import mark_buttons, mark_of
from telegram.dialogue.timers import Fired, check_known, delay_of, fired_by, named, timer_name
from telegram.dialogue.tools import Resource, Tools

if TYPE_CHECKING:
    from telegram.dialogue.long import Progress

Seconds: TypeAlias = float | timedelta | None
Payload: TypeAlias = Mapping[str, Any] | None
E_co = DefaultTypeVar("E_co", covariant=True, default=Any)
T = TypeVar("T")

_SPEAKING_CHATS: Final = ("sender_chat", "actor_chat", "voter_chat")  # of messages, reactions, poll answers
OF_A_PERSON: Final = frozenset((
    "pre_checkout_query", "shipping_query", "poll_answer", "inline_query", "chosen_inline_result", "purchased_paid_media",
))  # fmt: skip
"""Kinds that have a person and no chat (Telegram Bot API, Update)."""


class Context(Generic[E_co]):
    """One update with its conversation state.

    `reply`, `answer`, `edit`, `send`, `call` and the timers only collect. All of it happens in one step with the
    commit of the update, once the handler has returned, the calls in this order; if it raises, nothing happens.
    """

    __slots__ = (
        "_calls", "_command", "_delivery", "_memory", "_timers", "_tools", "also", "event", "home",
        "is_late", "kind", "marks", "offered", "shows", "update", "was_now",
    )  # fmt: skip

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
        self._memory: Memory | None = None  # made only when somebody looks at it
        self._command: tuple[str | None, str] | None = None
        self._timers: dict[tuple[str | None, str], Timer] = {}
        self._calls: list[Call] | None = []  # None: the effects are taken
        self.is_late = False
        """Whether the update is a query that Telegram takes no answer to any more: `call` leaves the answer out."""
        self.home: dict[str, Any] | None = None
        """Where a flow goes on whose update has no chat: chat_id and place, as in `speaks_in`."""
        self.was_now = (
            False  # the client was asked for (`now`), and what was called with it is not known here
        )
        self.marks: str | None = None  # the scope of the flow whose buttons are collected
        self.offered: list[str] = []  # the data of the buttons that were collected

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
        return urlsafe_b64encode(blake2b(self.idempotency_key.encode(), digest_size=6).digest())[:6].decode()

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
    def is_command(self) -> bool:
        """Whether the text or the caption begins with a command, for whatever bot."""
        return False

    @property
    def command(self) -> str | None:
        """`start` of "/start@bot args", in lower case. None without a command, or with one for another bot.

        Also of a caption, and of a message that was forwarded: whoever forwards a command sends it.
        """
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
        return None, ""

    # ---- what lasts

    @property
    def data(self) -> dict[str, Any]:
        """What is remembered of this person in this chat, to be changed in place: JSON values under string keys.

        Saved with the commit of this update; an empty one is deleted. Rejects the update if it is not readable. NotKept
        names what JSON would make another value (int keys, tuples, sets, NaN, members of an IntEnum): nothing is saved.
        """
        return self.memory.of(DATA).data

    @property
    def memory(self) -> Memory:
        """The conversations that this update can look at."""
        if self._memory is None:
            self._memory = Memory(self._delivery)
        return self._memory

    def conversation(self, scope: str = OWN_SCOPE) -> Conversation:
        """The conversation of a flow's scope: this update's own, or one that was lent to it before."""
        return self.memory.of(scope)

    def has(self, scope: str) -> bool:
        """Whether the update has a conversation in this scope."""
        return scope == OWN_SCOPE or self.memory.has(scope)

    def use(self, resource: Resource[T]) -> T:
        """What a `@router.resource` opened when the bot started."""
        return self._tools.use(resource)

    # ---- what shall happen

    def call(self, method: str, /, **params: Any) -> None:
        """Any method of the Bot API; params that are None are left out.

        Calls for the update's chat go out in order, and so do those for each other chat, in a lane of their own. The answer to
        a query (a pressed button, a payment, an inline query) waits for none of them. ValueError or TypeError for what JSON
        or UTF-8 cannot hold. An InputFile waits as its path, read when it is sent; what is missing then is a dead letter.
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
        if "reply_markup" in params:
            mark = None if self.marks is None else mark_of(self.memory.place(self.marks), self.turn)
            params["reply_markup"], offered = mark_buttons(params["reply_markup"], mark)
            self.offered += offered
        self._calls.append(Call(self._lane(params.get("chat_id")), encode_call(method, params)))

    def _lane(self, chat_id: object) -> str:
        """The outbox's lane: what is said to somebody who asks to join is a reply, though that is another chat than the group."""
        is_asker = self.kind == "chat_join_request" and str(chat_id) == str(part(self.event, "user_chat_id"))
        return f"chat:{chat_id}" if is_asker else lane_for(chat_id, self.chat_id, self.key)

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
        self.was_now = True
        return self._tools.client

    def set_timer(
        self,
        name: str,
        after: float | timedelta,
        payload: Payload = None,
        *,
        key: str | int | None = None,
        chat_id: int | None = None,
        scope: Scope = OWN_SCOPE,
    ) -> None:
        """Run the handler of `@router.timer(name)` in this lane, once, `after` seconds from the commit on.

        A timer of that name in this conversation is replaced; with a `key` there is one for each key. `payload` is plain
        JSON (else NotKept). It survives restarts. With the `chat_id` of another chat the handler speaks there, and its data
        and flows are those of that chat: of its person in a private chat, else of the one who set it. With scope=CHAT (or
        TOPIC) whoever writes in the chat may replace it or take it away. TypeError for a name that no handler of the router
        takes, ValueError for a delay that is not 0 to 366 days.
        """
        check_known(timer_name(name), self._tools.timers)
        self._set_timer(name, delay_of(name, after), payload, key, chat_id, scope)

    def cancel_timer(
        self, name: str, *, key: str | int | None = None, chat_id: int | None = None, scope: Scope = OWN_SCOPE
    ) -> None:
        """Take a timer of this conversation away, if it has not been handled yet; `key`, `chat_id`, `scope` as it was set.

        Who else has set one in the same chat keeps it, unless its scope is CHAT.
        """
        self._set_timer(name, None, None, key, chat_id, scope)

    def _set_timer(
        self, name: str, after_s: float | None, payload: Payload, key: Any, chat_id: int | None, scope: Scope
    ) -> None:
        is_set = after_s is not None
        stored, fired, shared = named(self, timer_name(name), payload, key, chat_id, scope, is_set=is_set)
        self._plan(stored, after_s, fired, shared)

    def plan_timer(self, name: str, after: Seconds, payload: Payload, scope: str | None = None) -> None:
        """Set or (None) cancel the timer `name` of a state scope, by default of the update's own; for flows."""
        self._plan(name, after, fired_by(self, name, payload), scope)

    def _plan(self, name: str, after: Seconds, fired: Fired, scope: str | None) -> None:
        after_s = after.total_seconds() if isinstance(after, timedelta) else after
        body = b"" if after_s is None else fired.body()
        self._timers[scope, name] = Timer(name, after_s, body, scope)

    def speaks_in(self) -> dict[str, Any] | None:
        """Where what is said goes: the params for a chat and the place in it; None if there is no chat to speak in.

        An update that has only a person (a press under a message sent via the bot, too) speaks in the private chat, whose id is that
        of the user; a request to join in the
        chat that Telegram names for it (Telegram Bot API, ChatJoinRequest: user_chat_id).
        """
        if self.kind == "chat_join_request":
            return {"chat_id": part(self.event, "user_chat_id")}
        if (chat_id := self.chat_id) is not None:
            return {"chat_id": chat_id, **self.place()}
        if self.home is not None:
            return self.home
        is_of_a_person = (
            self.kind in OF_A_PERSON or self.kind == "callback_query"
        )  # under a message sent via the bot
        return self.privately() if is_of_a_person else None

    def privately(self) -> dict[str, Any] | None:
        """Where the private chat with the user of the update is."""
        return None if self.user_id is None else {"chat_id": self.user_id}

    def place(self) -> dict[str, Any]:
        """Where in the chat an answer belongs: the params for a topic or a business connection."""
        return place_of(self.source)

    # ---- for the inbox's handler

    def has_called(self, method: str) -> bool:
        """Whether a call of this method was collected. Telegram does not look at the case of its name."""
        head = method.lower().encode()
        return any(call.body[: len(head)].lower() == head for call in self._calls or ())

    def discard(self) -> None:
        """Forget all that was collected and changed, as if no handler had run."""
        self._calls, self._timers, self.offered = [], {}, []
        if self._memory is not None:
            self._memory.forget()

    def effects(self) -> Effects:
        """What is to be committed. To be taken once, after the handler."""
        calls, self._calls = tuple(self._calls or ()), None
        timers = tuple(self._timers.values())
        if self._memory is None:
            return Effects(calls, timers=timers, also=self.also)
        state, states = self._memory.changes()
        return Effects(calls, state, timers=timers, states=states, also=self.also)


def _id(item: Any, name: str) -> int | None:
    """`item[name].id`, if it is there and a number."""
    found = part(part(item, name), "id")
    return found if isinstance(found, int) else None
