"""The context of one update: its data, and the effects that the handler collects; nothing is sent before the commit."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from engine import KEEP, Call, Delivery, Effects, Sql, Timer, Transaction, Work
from engine.moved import deprecated
from telegram.botapi.calls import encode_call, encode_forget, query_lane, query_of
from telegram.botapi.collected import Calls, Sends
from telegram.botapi.collecting import Collected
from telegram.botapi.parameters import check_call
from telegram.botapi.routing import lane_for
from telegram.botapi.shortcuts import outlives_its_message, part, place_of
from telegram.botapi.types import Update
from telegram.client import TgClient
from telegram.dialogue.contexts.defaults import takes_fallback
from telegram.dialogue.contexts.named import NamedMessage
from telegram.dialogue.contexts.origin import E_co, Origin
from telegram.dialogue.contexts.own_sql import OwnSql
from telegram.dialogue.contexts.pressable import check_results, note_buttons
from telegram.dialogue.contexts.speaking import Speaking
from telegram.dialogue.contexts.tools import Resource, Tools
from telegram.dialogue.state.conversation import DATA, OWN_SCOPE, Conversation, Memory, Scope
from telegram.dialogue.state.shared import data_of
from telegram.dialogue.state.timers import Fired, check_known, delay_of, fired_by, named, timer_name

if TYPE_CHECKING:
    from telegram.dialogue.contexts.long import Progress
    from telegram.dialogue.contexts.streaming import Stream

Seconds: TypeAlias = float | timedelta | None
Payload: TypeAlias = Mapping[str, Any] | None
T = TypeVar("T")

_CALLED: Final = Collected("call")
_TIMER_SET: Final = Collected("set_timer")
_TIMER_CANCELLED: Final = Collected("cancel_timer")

OF_A_PERSON: Final = frozenset((
    "pre_checkout_query", "shipping_query", "poll_answer", "inline_query", "chosen_inline_result", "purchased_paid_media",
    "business_connection", "managed_bot", "subscription",
))  # fmt: skip
"""Kinds that have a user and no chat (Telegram Bot API, Update)."""


class Context(Speaking, OwnSql, Sends, Origin[E_co]):
    """One update with its conversation state.

    `reply`, `answer`, `edit`, `send`, `call` and the timers only collect effects. They are committed in one step with the
    update after the handler has returned, and the calls are sent in this order; if it raises, none of them happens.
    """

    __slots__ = (
        "_calls", "_command", "_delivery", "_memory", "_sql", "_timers", "_tools", "also", "answers", "around", "event", "home",
        "is_late", "kind", "long", "marks", "offered", "shows", "taken", "update", "used_client", "within", "work",
    )  # fmt: skip

    def __init__(self, update: Update, event: E_co, delivery: Delivery, tools: Tools) -> None:
        self.update = update
        self.kind = update.kind
        """The update's kind, as Telegram names it: "message", "callback_query", ...; "timer" for a timer."""
        self.event = event
        """The object in the update under its kind: a Message, a CallbackQuery, ..., or a dict for an unknown kind."""
        self.also = 0  # how many updates behind this one are handled with it
        self.taken: tuple[int, ...] = ()  # ids of updates that are acked with this one (taken.py)
        self._sql: tuple[Sql, ...] = ()
        self.within: Transaction | None = None  # ended, to be committed with the effects
        self.shows: tuple[Progress | Stream, ...] = ()
        self._delivery = delivery
        self.work: Work | None = None  # set while its handler runs
        self._tools = tools
        self._memory: Memory | None = None  # created at the first use
        self._command: tuple[str | None, str] | None = None
        self.answers: dict[Any, bool] | None = None  # of async filters (awaited.py)
        self.around: Any = None  # the Scope of what its handler asks for (providing.py)
        self._timers: dict[tuple[str | None, str], Timer] = {}
        self._calls: list[Call] | None = []  # None: the effects were returned
        self.is_late = False
        """Whether the update is a query that has expired at Telegram: `call` leaves its answer out."""
        self.home: dict[str, Any] | None = None
        """For an update without a chat: where its flow continues, as returned by `speaks_in`."""
        self.used_client = False  # whether `client` was used: calls made with it are not known here
        self.marks: str | None = None  # the scope of the flow whose buttons are collected
        self.offered: list[str] = []  # the data of the buttons that were collected
        self.long: dict[str, dict[str, str]] = {}  # those over 64 bytes, by lane and key (buttons/long.py)

    # ---- the update

    @property
    def text(self) -> str:
        """The text of a message update; empty for all others (a pressed button's message is the bot's own)."""
        return ""

    @property
    def is_command(self) -> bool:
        """Whether the text or the caption begins with a command, for any bot."""
        return False

    @property
    def command(self) -> str | None:
        """The command, e.g. `start` of "/start@bot args", in lower case. None if there is none, or it is for another bot.

        Also in a caption, and in a forwarded message: whoever forwards a command sends it.
        """
        return self._parsed()[0]

    @property
    def args(self) -> str:
        """The text after the command; empty if there is none."""
        return self._parsed()[1]

    @property
    def button(self) -> str | None:
        """The callback data of the pressed button; None if no button was pressed."""
        return None

    def _parsed(self) -> tuple[str | None, str]:
        return None, ""

    def split_command(self, prefixes: str) -> tuple[str | None, str]:  # noqa: ARG002 - of messages only
        """Return the command and its arguments of a text that begins with another prefix than "/", as `command`, `args`."""
        return None, ""

    # ---- state

    @property
    def data(self) -> dict[str, Any]:
        """The state of this user in this chat, a dict to change in place: JSON values under string keys.

        Saved with the commit of this update; an empty dict is deleted. Reject if the stored state is not readable. NotKept,
        at the commit, for values that JSON would change (int keys, tuples, sets, NaN, members of an IntEnum).
        """
        return self.memory.of(DATA).data

    @property
    def chat_data(self) -> Any:
        """The data of the chat, to change in place, as declared by `router.chat_data(Model)`; see telegram/dialogue/state/shared.py."""
        return data_of(self, "chat_data", self._tools.shared)

    @property
    def user_data(self) -> Any:
        """The data of the user in all chats, as declared by `router.user_data(Model)`."""
        return data_of(self, "user_data", self._tools.shared)

    @property
    def bot_data(self) -> Any:
        """The data of the bot, as declared by `router.bot_data(Model)`; lanes that change it at once run again."""
        return data_of(self, "bot_data", self._tools.shared)

    @property
    def memory(self) -> Memory:
        """The conversations that this update can read and change."""
        if self._memory is None:
            self._memory = Memory(self._delivery)
        return self._memory

    def conversation(self, scope: str = OWN_SCOPE) -> Conversation:
        """Return the conversation of a flow's scope: this update's own, or one that was added by `Memory.lend`."""
        return self.memory.of(scope)

    def has(self, scope: str) -> bool:
        """Return whether the update has a conversation in this scope."""
        return scope == OWN_SCOPE or self.memory.has(scope)

    def use(self, resource: Resource[T]) -> T:
        """Return what a `@router.resource` opened when the bot started."""
        return self._tools.use(resource)

    # ---- effects

    def call(self, method: str, /, **params: Any) -> None:
        """Call any method of the Bot API after the commit; params that are None are omitted.

        Calls to a chat are sent in order, in a lane for each; the answer to a query (a pressed button, a payment, an inline
        query) does not wait for them. ValueError or TypeError for what JSON or UTF-8 lacks, an unknown method or parameter,
        values of other types than the Bot API's (`call_newer` is for newer versions), and files that cannot wait; OSError
        for one that cannot be read (botapi/kept_files.py). `ctx.calls` has every method with its signature.
        """
        self.collect(method, params)
        return _CALLED  # type: ignore[return-value]  # explains `await ctx.call(...)`

    def call_newer(self, method: str, /, **params: Any) -> None:
        """Like `call`, without a check of the names: for methods or parameters that this version does not know."""
        self.collect(method, params, is_known=False)
        return _CALLED  # type: ignore[return-value]

    def collect(
        self, method: str, params: dict[str, Any], *, is_known: bool = True, name: str | None = None
    ) -> None:
        """Collect a call, as `call` or (`is_known=False`) `call_newer`; `name` is given to the message that it sends."""
        if self._calls is None:
            raise RuntimeError(f"{method}: the handler has returned, this call would be lost")
        defaults = self._tools.defaults
        plain = takes_fallback(method, params, defaults)
        has_none = check_call(method, params) if is_known else None in params.values()
        if defaults is not None:
            params = defaults.applied(method, params)
            has_none = True
        if has_none:
            params = {name: value for name, value in params.items() if value is not None}
        if "reply_parameters" in params:
            params["reply_parameters"] = outlives_its_message(params["reply_parameters"])
        if (query := query_of(params)) is not None:
            check_results(method, params)
            if not self.is_late or query != getattr(self.event, "id", None):
                body = encode_call(method, params, plain=plain, kept=self._tools.files)
                self._calls.append(Call(query_lane(query), body))
            return
        if "reply_markup" in params:
            note_buttons(self, method, params)
        lane = self._lane(params.get("chat_id"))
        body = encode_call(method, params, name, plain=plain, kept=self._tools.files)
        if name is not None:  # if the message is not sent, the name must not stay with an older one
            self._calls.append(Call(lane, encode_forget(name)))
        self._calls.append(Call(lane, body))

    def _lane(self, chat_id: object) -> str:
        """Return the outbox lane: a call to the private chat of a user who asks to join a group is a reply, not a post."""
        is_asker = self.kind == "chat_join_request" and str(chat_id) == str(part(self.event, "user_chat_id"))
        return f"chat:{chat_id}" if is_asker else lane_for(chat_id, self.chat_id, self.key)

    _collected = collect  # by which the shortcuts of telegram/botapi/collected.py do it

    @property
    def calls(self) -> Calls:
        """Every method of the Bot API, with its parameters, to collect: `ctx.calls.ban_chat_member(...)`."""
        return Calls(self.collect)

    def named(self, name: str, /, *, chat_id: int | str | None = None) -> NamedMessage:
        """The last message that was sent with `name=` in the chat of the update, to edit, pin, delete, ... with the commit.

        With the `chat_id` of another chat: the last one that was sent there with this name by handlers of other chats.
        """
        return NamedMessage(self, name, chat_id)

    def _anywhere(self, _name: str) -> dict[str, Any]:
        """Return what is filled in for `send`."""
        return {}

    def time(self) -> datetime:
        """Return the time by Telegram's clock, in UTC; virtual in tests. It is another one at each attempt."""
        return datetime.fromtimestamp(self._tools.wall(), UTC)

    @property
    def client(self) -> TgClient:
        """The client, for an immediate call whose result you need: `await ctx.client.send_message(...)`.

        Outside the commit: a handler that runs again calls again, so it is called at least once.
        """
        if self._tools.client is None:
            raise RuntimeError("there is no client here: calls at once need a running bot")
        self.used_client = True
        self._note_call()
        return self._tools.client

    @property
    def now(self) -> TgClient:
        """The former name of `client`."""
        deprecated("ctx.now", "write ctx.client")
        return self.client

    def set_timer(
        self,
        name: str,
        after: float | timedelta | None = None,
        payload: Payload = None,
        *,
        at: datetime | None = None,
        key: str | int | None = None,
        chat_id: int | None = None,
        scope: Scope = OWN_SCOPE,
    ) -> None:
        """Run the handler of `@router.timer(name)` in this lane, once, `after` seconds after the commit, or `at` a moment.

        `at` is a datetime with a time zone (else ValueError); if it has passed, the timer is due at once.
        A timer of that name in this conversation is replaced; with a `key` there is one timer per key. `payload` is plain
        JSON (else NotKept). Timers survive restarts. With the `chat_id` of another chat, the handler's replies go there, and
        its data and flows are those of that chat (in a private chat of its user, else of the user who set the timer). With
        scope=CHAT (or TOPIC) every user of the chat may replace or remove it. TypeError for a name without a handler in the
        router, ValueError for a delay outside 0 to 366 days.
        """
        check_known(timer_name(name), self._tools.timers)
        self._set_timer(name, delay_of(name, after, at, self._tools.wall), payload, key, chat_id, scope)
        return _TIMER_SET  # type: ignore[return-value]

    def cancel_timer(
        self, name: str, *, key: str | int | None = None, chat_id: int | None = None, scope: Scope = OWN_SCOPE
    ) -> None:
        """Remove a timer of this conversation, if it has not been handled yet; `key`, `chat_id`, `scope` as for `set_timer`.

        Timers that other users have set in the same chat stay, except those of the scope CHAT.
        """
        self._set_timer(name, None, None, key, chat_id, scope)
        return _TIMER_CANCELLED  # type: ignore[return-value]

    def _set_timer(
        self, name: str, after_s: float | None, payload: Payload, key: Any, chat_id: int | None, scope: Scope
    ) -> None:
        is_set = after_s is not None
        stored, fired, shared = named(self, timer_name(name), payload, key, chat_id, scope, is_set=is_set)
        self._plan(stored, after_s, fired, shared)

    def plan_timer(self, name: str, after: Seconds, payload: Payload, scope: str | None = None) -> None:
        """Set the timer `name` of a state scope (default: the update's own), or cancel it (`after=None`); for flows."""
        self._plan(name, after, fired_by(self, name, payload), scope)

    def _plan(self, name: str, after: Seconds, fired: Fired, scope: str | None) -> None:
        after_s = after.total_seconds() if isinstance(after, timedelta) else after
        body = b"" if after_s is None else fired.body()
        self._timers[scope, name] = Timer(name, after_s, body, scope)

    def speaks_in(self) -> dict[str, Any] | None:
        """Return where replies go: the params for the chat and the topic or business connection; None if there is no chat.

        For an update that has only a user (also a press under a message sent via the bot) the private chat, whose id is
        the user's; for a join request the chat in its user_chat_id (Telegram Bot API, ChatJoinRequest).
        """
        if self.kind == "chat_join_request":
            return {"chat_id": part(self.event, "user_chat_id")}
        if (chat_id := self.chat_id) is not None:
            return {"chat_id": chat_id, **self.place()}
        if self.home is not None:
            return self.home
        is_of_a_person = (
            self.kind in OF_A_PERSON or self.kind == "callback_query"
        )  # the latter under a message sent via the bot
        return self.privately() if is_of_a_person else None

    def privately(self) -> dict[str, Any] | None:
        """Return the params for the private chat with the update's user; None if there is no user."""
        return None if self.user_id is None else {"chat_id": self.user_id}

    def place(self) -> dict[str, Any]:
        """Return the params for the topic or business connection to which an answer belongs."""
        return place_of(self.source)

    # ---- for the inbox's handler

    def has_called(self, method: str) -> bool:
        """Return whether a call of this method was collected. Its name is case-insensitive, as at Telegram."""
        head = method.lower().encode()
        return any(call.body[: len(head)].lower() == head for call in self._calls or ())

    def resume(self, calls: tuple[Call, ...]) -> None:
        """Begin with these calls, which were collected before."""
        self._calls = [*calls]

    def discard(self) -> None:
        """Discard all collected effects and changes of state, as if no handler had run."""
        self._calls, self._timers, self._sql, self.within, self.offered, self.long = [], {}, (), None, [], {}
        if self._memory is not None:
            self._memory.forget()

    def effects(self) -> Effects:
        """Return the effects to commit; to be called once, after the handler."""
        calls, self._calls = tuple(self._calls or ()), None
        timers = tuple(self._timers.values())
        state, states = (KEEP, ()) if self._memory is None else self._memory.changes()
        return Effects(calls, state, timers, self.also, states, sql=self._sql, within=self.within)
