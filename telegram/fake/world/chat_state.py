"""State of the users and chats around the bot, and the operations of which the Bot API's methods are built.

Messages are never modified in place: an edited message is a new object.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from telegram.fake.protocol.answers import Json, bad_request, encode, forbidden
from telegram.fake.protocol.params import Params, integer, text

from .events import Listener
from .files import Files
from .flood import FloodControl, FloodLimits
from .members import check_access, full_administrator, status_of
from .people import Chat, ChatKind, Person
from .queue import UpdateQueue
from .webhook import Webhooks, lane_of

INLINE_MAX: Final = 100_000  # stored messages sent via the bot
REACTED_MAX: Final = 10_000  # messages with stored reactions
ANSWERED_WITHIN_S: Final = {
    "callback_query": 15.0,  # measured: gist d-Rickyy-b/f789c75228bf00f572eec4450ed0d7c9
    "inline_query": 10.0,  # measured: eternnoir/pyTelegramBotAPI#270
    "pre_checkout_query": 10.0,  # Telegram Bot API, answerPreCheckoutQuery
    "chat_join_request": 10.0,  # Telegram Bot API, answerChatJoinRequestQuery
}
"""Seconds within which a query can be answered, by kind; for other kinds no limit is known."""


_OF_THE_MESSAGE: Final = frozenset({"message_id", "from", "chat", "date", "via_bot"})


class ChatState:
    """State around one `bot` (its `User`); `clock` returns Unix time, `history`: number of messages stored per chat."""

    def __init__(
        self,
        bot: Json,
        queue: UpdateQueue,
        *,
        history: int = 200,
        clock: Callable[[], float] = time.time,
        files: Files | None = None,
    ) -> None:
        self.bot = bot
        self.queue = queue
        self.webhooks = Webhooks(queue, clock)
        self.history = history
        self.now = clock
        self.files = files or Files()
        self.commands: dict[tuple[str, str], list[Json]] = {}  # by scope and language
        self.settings: dict[tuple[str, str], Any] = {}  # of the bot: by subject, and language or chat
        self.sticker_sets: dict[str, Json] = {}
        self.business: dict[str, Json] = {}  # BusinessConnection by id
        self.polls: dict[str, tuple[int, int]] = {}  # chat and message, by poll
        self.votes: dict[str, dict[int, list[int]]] = {}  # by poll and user: the options chosen
        self.drafts: dict[int, tuple[float, Json]] = {}  # by chat: until when it is shown, and the draft
        self.logged_out = False
        self.flood: FloodControl | None = None
        self._people: dict[int, Person] = {}
        self._chats: dict[int, Chat] = {}
        self.inline: OrderedDict[str, Json] = OrderedDict()
        """Messages sent via the bot, by inline_message_id; {} if the content is unknown."""
        self.inline_places: dict[str, tuple[int, int]] = {}
        """Chat and message id of those in chats of the bot, by inline_message_id."""
        self.reactions: OrderedDict[tuple[int, int], dict[int, list[Json]]] = OrderedDict()
        """Reactions by user, by chat and message id."""
        self.keyboards: dict[int, Json] = {}
        """Reply keyboards by chat."""
        self._queries: OrderedDict[tuple[str, str], tuple[float, Json]] = OrderedDict()  # by kind and id
        self._asked: dict[
            int, float
        ] = {}  # users who asked to join and have not started the bot: until when it may write to them
        self._numbers = count(1)
        self._listeners: set[Listener] = set()
        self._user_ids = count(1001)
        self._group_ids = count(-1_001_000_000_001, -1)
        self._plain_group_ids = count(-4_000_000_001, -1)
        self._callback_ids = count(4_000_000_000_000_000_001)

    # -- users and chats ------------------------------------------------------------------------

    def add_user(self, first_name: str, *, user_id: int | None = None, has_started: bool = True) -> Json:
        """Add a user, with a private chat (its id is the user's) unless `has_started` is False; return the `User`."""
        person = Person(next(self._user_ids) if user_id is None else user_id, first_name)
        self._people[person.id] = person
        if has_started:
            self.start(person.id)
        return person.user()

    def start(self, user_id: int) -> None:
        """A user opens the private chat with the bot, which may write there from now on."""
        self._get_or_add_chat(user_id, user_id)

    def add_group(
        self,
        title: str,
        user_ids: list[int],
        *,
        chat_id: int | None = None,
        kind: ChatKind = "supergroup",
        username: str = "",
        is_forum: bool = False,
    ) -> Json:
        """Add a group, supergroup or channel with the bot and these users; return the `Chat`.

        In a channel the bot is an administrator, elsewhere a member.
        """
        if chat_id is None:
            chat_id = next(self._plain_group_ids if kind == "group" else self._group_ids)
        chat = Chat(chat_id, title, set(user_ids), kind)
        if username or is_forum:
            chat.about.username, chat.about.is_forum = username, is_forum
            chat.last_message_id = int(is_forum)  # message 1 belongs to the general topic
        if kind == "channel":
            chat.about.statuses[self.bot["id"]] = full_administrator()
        for user_id in user_ids:
            self._get_or_add_person(user_id)
        self._chats[chat.id] = chat
        return chat.chat()

    def users(self) -> list[Json]:
        """Return all users, as `User`."""
        return [person.user() for person in self._people.values()]

    def chats(self) -> list[Json]:
        """Return all known chats, as `Chat`."""
        return [chat.chat() for chat in self._chats.values()]

    def messages(self, chat_id: int) -> list[Json]:
        """Return the stored messages of a chat, oldest first; [] for an unknown chat."""
        chat = self._chats.get(chat_id)
        return chat.messages() if chat else []

    def listen(self) -> Listener:
        """Listen to events from now on: dicts with a "type" and its fields.

        Types: message, edit, delete, reaction, callback, answer, inline_query, inline_answer, inline_edit,
        payment_answer, chat_action, draft, commands, block, refused_call.
        """
        return Listener(self._listeners)

    def limit(self, limits: FloodLimits | None) -> None:
        """Enable flood control with these limits; None disables it."""
        self.flood = FloodControl(limits) if limits else None

    # -- actions of the bot, used by the methods -----------------------------------------------------

    def chat_for_bot(self, params: Params, name: str = "chat_id") -> Chat:
        """Return the chat of a call; ApiError with the server's text if it is unknown or the bot has no access."""
        if not text(params, name):
            raise bad_request("chat_id is empty")
        chat_id = integer(params, name)
        chat = self._chats.get(chat_id) or self._named(text(params, name))
        if chat is None or (chat_id in self._asked and self.now() > self._asked[chat_id]):
            if chat_id in self._people:
                raise forbidden("bot can't initiate conversation with a user")
            raise bad_request("chat not found")
        if chat.members is None:
            person = self._people[chat.id]
            if person.blocked:
                raise forbidden("bot was blocked by the user")
            if person.deactivated:
                raise forbidden("user is deactivated")
        elif not chat.is_plain:
            check_access(chat, self.bot["id"], self.now())
        return chat

    def known_user(self, user_id: int) -> Json | None:
        """Return the `User` with this id, or None."""
        person = self._people.get(user_id)
        return person.user() if person else None

    def user(self, params: Params, name: str = "user_id") -> Json:
        """Return the `User` of a call, which may be the bot; ApiError with the server's text."""
        user_id = integer(params, name)
        if user_id <= 0:
            raise bad_request("invalid user_id specified")
        if user_id == self.bot["id"]:
            return self.bot
        person = self._people.get(user_id)
        if person is None:
            raise bad_request("user not found")
        return person.user()

    def member(self, chat: Chat, user: Json) -> Json:
        """Return the `ChatMember`."""
        return {**status_of(chat, user["id"], self.bot["id"], self.now()), "user": user}

    def number(self) -> int:
        """Return a new number, for ids of objects that the bot creates."""
        return next(self._numbers)

    def post(self, chat: Chat, content: Json, keyboard: Json | None = None) -> Json:
        """Store a new message of the bot and return it; `keyboard`: a markup that is not part of the message."""
        message = {
            "message_id": chat.take_message_id(),
            **({"sender_chat": chat.chat()} if chat.kind == "channel" else {"from": self.bot}),
            "chat": chat.chat(),
            "date": int(self.now()),
            **content,
        }
        chat.keep(message, self.history)
        self._note_keyboard(chat.id, keyboard or {})
        self.drafts.pop(
            chat.id, None
        )  # apps remove it then (Telegram Bot API, sendMessageDraft; grammyjs/stream#2)
        self.emit("message", message=message, **({"keyboard": keyboard} if keyboard else {}))
        return message

    def announce(self, chat: Chat, content: Json) -> Json:
        """Send a service message about an action of the bot; the bot gets it as an update, too."""
        message = self.post(chat, content)
        self._push("channel_post" if chat.kind == "channel" else "message", message)
        return message

    def replace(self, chat: Chat, message: Json) -> Json:
        """Store an edited message in place of the old one; return it with its edit_date."""
        edited = {**message, "edit_date": int(self.now())}
        chat.keep(edited, self.history)
        self.emit("edit", message=edited)
        return edited

    def delete(self, chat: Chat, message_id: int) -> bool:
        """Delete a message; return False if there is none."""
        deleted = chat.forget(message_id)
        if deleted:
            self.emit("delete", chat_id=chat.id, message_id=message_id)
        return deleted

    def take_callback(self, callback_query_id: str) -> Json | None:
        """Remove and return a callback query that waits for an answer; None as `take_query`."""
        return self.take_query("callback_query", callback_query_id)

    def take_query(self, kind: str, query_id: str) -> Json | None:
        """Remove and return a query that waits for an answer; None if it is unknown, answered, or too old (ANSWERED_WITHIN_S)."""
        asked_at, query = self._queries.pop((kind, query_id), (0.0, None))
        return query if self.now() - asked_at <= ANSWERED_WITHIN_S.get(kind, math.inf) else None

    def keep_inline(self, inline_message_id: str, content: Json) -> None:
        """Store a message sent via the bot, or its new content."""
        self.inline[inline_message_id] = content
        if len(self.inline) > INLINE_MAX:
            oldest, _ = self.inline.popitem(last=False)
            self.inline_places.pop(oldest, None)

    def show_inline(self, inline_message_id: str, content: Json) -> None:
        """Change the content of a message sent via the bot, also in the chat that contains it."""
        self.keep_inline(inline_message_id, content)
        self.emit("inline_edit", inline_message_id=inline_message_id, message=content)
        chat_id, message_id = self.inline_places.get(inline_message_id, (0, 0))
        chat = self._chats.get(chat_id)
        shown = chat.find(message_id) if chat else None
        if chat is not None and shown is not None:
            lasting = {name: shown[name] for name in shown.keys() & _OF_THE_MESSAGE}
            self.replace(chat, {**lasting, **content})

    def set_reaction(self, chat: Chat, message_id: int, user_id: int, reaction: list[Json]) -> list[Json]:
        """Set a user's reaction to a message; return the previous one. Listeners get an event."""
        place = (chat.id, message_id)
        by_user = self.reactions.setdefault(place, {})
        before = by_user.pop(user_id, [])
        if reaction:
            by_user[user_id] = reaction
        if not by_user:
            del self.reactions[place]
        elif len(self.reactions) > REACTED_MAX:
            self.reactions.popitem(last=False)
        self.emit("reaction", chat_id=chat.id, message_id=message_id, user_id=user_id, reaction=reaction)
        return before

    def emit(self, kind: str, **fields: Any) -> None:
        """Send an event to all listeners."""
        if self._listeners:
            event = {"type": kind, **fields}
            for listener in tuple(self._listeners):
                listener.put(event)

    def state(self) -> Json:
        """Return the state for `restore`, as JSON: users, chats, reactions, commands, and open queries."""
        people = self._people.values()
        return {
            "people": [[each.id, each.first_name, each.blocked, each.deactivated] for each in people],
            "chats": [chat.state() for chat in self._chats.values()],
            "keyboards": list(self.keyboards.items()),
            "reactions": [[*place, list(users.items())] for place, users in self.reactions.items()],
            "inline": list(self.inline.items()),
            "inline_places": list(self.inline_places.items()),
            "commands": [[*names, commands] for names, commands in self.commands.items()],
            "queries": [[*named, *query] for named, query in self._queries.items()],
        }

    def restore(self, state: Json) -> None:
        """Load a state into a new object; ids that are generated from now on are new."""
        for user_id, name, blocked, deactivated in state["people"]:
            person = self._people[user_id] = Person(user_id, name)
            person.blocked, person.deactivated = blocked, deactivated
        self._chats |= {each["id"]: Chat.restored(each) for each in state["chats"]}
        self.keyboards |= dict(state["keyboards"])
        for chat_id, message_id, users in state["reactions"]:
            self.reactions[chat_id, message_id] = dict(users)
        self.inline |= state["inline"]
        self.inline_places |= {name: (place[0], place[1]) for name, place in state["inline_places"]}
        self.commands |= {(scope, language): commands for scope, language, commands in state["commands"]}
        for kind, query_id, asked_at, query in state["queries"]:
            self._queries[kind, query_id] = asked_at, query
        started = int(self.now())
        self._numbers, self._callback_ids = count(started), count(4_000_000_000_000_000_001 + started * 1000)
        self._user_ids = count(max([1000, *self._people]) + 1)
        self._group_ids = count(min([-1_001_000_000_000, *self._chats]) - 1, -1)

    # -- internals ----------------------------------------------------------------------------------

    def _note_keyboard(self, chat_id: int, markup: Json) -> None:
        if "keyboard" in markup:
            self.keyboards[chat_id] = markup
        elif markup.get("remove_keyboard"):
            self.keyboards.pop(chat_id, None)

    def _push(self, kind: str, payload: Json) -> int:
        return self.queue.push(kind, f'"{kind}":{encode(payload)}'.encode(), lane_of(kind, payload))

    def _get_or_add_person(self, user_id: int, first_name: str = "") -> Person:
        person = self._people.get(user_id)
        if person is None:
            person = self._people[user_id] = Person(user_id, first_name or f"User {user_id}")
        return person

    def _get_or_add_chat(self, chat_id: int, user_id: int, title: str = "") -> Chat:
        private = chat_id > 0
        if private and chat_id != user_id:
            raise ValueError(f"the private chat {chat_id} is not that of user {user_id}")
        if private:
            self._asked.pop(chat_id, None)
        chat = self._chats.get(chat_id)
        if chat is None:
            title = self._get_or_add_person(user_id).first_name if private else title or f"Group {chat_id}"
            chat = self._chats[chat_id] = Chat(chat_id, title, None if private else set())
        if chat.members is not None and user_id:
            chat.members.add(user_id)
        return chat

    def _named(self, name: str) -> Chat | None:
        if not name.startswith("@"):
            return None
        wanted = name[1:].lower()
        known = (chat for chat in self._chats.values() if not chat.is_plain)
        return next((chat for chat in known if wanted and chat.about.username.lower() == wanted), None)
