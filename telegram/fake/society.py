"""The people and chats around the bot: who is there, and what the bot's methods are built of.

Messages are never changed in place: an edited message is a new object.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from .answers import Json, bad_request, encode, forbidden
from .events import Listener
from .files import Files
from .flood import FloodControl, FloodLimits
from .members import check_access, full_administrator, status_of
from .params import Params, integer, text
from .people import Chat, ChatKind, Person
from .queue import UpdateQueue

INLINE_MAX: Final = 100_000  # messages sent via the bot that are remembered
REACTED_MAX: Final = 10_000  # messages whose reactions are remembered
ANSWERED_WITHIN_S: Final = {
    "callback_query": 15.0,  # measured: gist d-Rickyy-b/f789c75228bf00f572eec4450ed0d7c9
    "inline_query": 10.0,  # measured: eternnoir/pyTelegramBotAPI#270
    "pre_checkout_query": 10.0,  # Telegram Bot API, answerPreCheckoutQuery
    "chat_join_request": 10.0,  # Telegram Bot API, answerChatJoinRequestQuery
}
"""So long after it was asked a query takes an answer; of other kinds nothing is known."""


_OF_THE_MESSAGE: Final = frozenset({"message_id", "from", "chat", "date", "via_bot"})


class Society:
    """Everything around one `bot` (its `User`); `clock` gives Unix time, `history` the messages kept per chat."""

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
        self.history = history
        self.now = clock
        self.files = files or Files()
        self.commands: dict[tuple[str, str], list[Json]] = {}  # by scope and language
        self.settings: dict[
            tuple[str, str], Any
        ] = {}  # of the bot: by method's subject, and language or chat
        self.sticker_sets: dict[str, Json] = {}
        self.business: dict[str, Json] = {}  # BusinessConnection by id
        self.polls: dict[str, tuple[int, int]] = {}  # chat and message, by poll
        self.votes: dict[str, dict[int, list[int]]] = {}  # by poll and user: the options chosen
        self.logged_out = False
        self.flood: FloodControl | None = None
        self._people: dict[int, Person] = {}
        self._chats: dict[int, Chat] = {}
        self.inline: OrderedDict[str, Json] = OrderedDict()
        """Messages sent via the bot, by inline_message_id; {} for one whose content is not known."""
        self.inline_places: dict[str, tuple[int, int]] = {}
        """Chat and message of those that were sent to a chat that the bot is in, by inline_message_id."""
        self.reactions: OrderedDict[tuple[int, int], dict[int, list[Json]]] = OrderedDict()
        """By chat and message: who reacts with what."""
        self.keyboards: dict[int, Json] = {}
        """By chat: the keyboard in place of the letters."""
        self._queries: OrderedDict[tuple[str, str], tuple[float, Json]] = OrderedDict()  # by kind and id
        self._asked: dict[
            int, float
        ] = {}  # who has asked to join and never written: until when the bot may write
        self._numbers = count(1)
        self._listeners: set[Listener] = set()
        self._user_ids = count(1001)
        self._group_ids = count(-1_001_000_000_001, -1)
        self._plain_group_ids = count(-4_000_000_001, -1)
        self._callback_ids = count(4_000_000_000_000_000_001)

    # -- who is there ---------------------------------------------------------------------------

    def person(self, first_name: str, *, user_id: int | None = None, has_started: bool = True) -> Json:
        """A user who has opened a private chat with the bot (its id is the user's), or not yet; returns the `User`."""
        person = Person(next(self._user_ids) if user_id is None else user_id, first_name)
        self._people[person.id] = person
        if has_started:
            self.start(person.id)
        return person.user()

    def start(self, user_id: int) -> None:
        """A user opens the private chat with the bot: it may write there from now on."""
        self._somewhere(user_id, user_id)

    def group(
        self,
        title: str,
        user_ids: list[int],
        *,
        chat_id: int | None = None,
        kind: ChatKind = "supergroup",
        username: str = "",
        is_forum: bool = False,
    ) -> Json:
        """A group, supergroup or channel with the bot and these people; returns the `Chat`.

        In a channel the bot is an administrator, elsewhere a member.
        """
        if chat_id is None:
            chat_id = next(self._plain_group_ids if kind == "group" else self._group_ids)
        chat = Chat(chat_id, title, set(user_ids), kind)
        if username or is_forum:
            chat.about.username, chat.about.is_forum = username, is_forum
            chat.last_message_id = int(is_forum)  # message 1 is the general topic's
        if kind == "channel":
            chat.about.statuses[self.bot["id"]] = full_administrator()
        for user_id in user_ids:
            self._someone(user_id)
        self._chats[chat.id] = chat
        return chat.chat()

    def people(self) -> list[Json]:
        """Everybody, as `User`."""
        return [person.user() for person in self._people.values()]

    def chats(self) -> list[Json]:
        """Every chat that the bot is in, as `Chat`."""
        return [chat.chat() for chat in self._chats.values()]

    def messages(self, chat_id: int) -> list[Json]:
        """The chat's latest messages, oldest first; [] for an unknown chat."""
        chat = self._chats.get(chat_id)
        return chat.messages() if chat else []

    def listen(self) -> Listener:
        """Hear what happens from now on: dicts with "type" message, edit, delete, callback, answer, chat_action or block."""
        return Listener(self._listeners)

    def limit(self, limits: FloodLimits | None) -> None:
        """From now on the bot may send this much; None: as much as it likes."""
        self.flood = FloodControl(limits) if limits else None

    # -- what the bot does: the methods are built of these -------------------------------------------

    def chat_for_bot(self, params: Params, name: str = "chat_id") -> Chat:
        """The chat that a call names, if the bot may write there; ApiError as the server words it."""
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

    def known_person(self, user_id: int) -> Person | None:
        """The person with this id, if any."""
        return self._people.get(user_id)

    def known_user(self, user_id: int) -> Json | None:
        """The `User` with this id, if the bot knows one."""
        person = self._people.get(user_id)
        return person.user() if person else None

    def user(self, params: Params, name: str = "user_id") -> Json:
        """The `User` that a call names, who may be the bot; ApiError as the server words it."""
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
        """Telegram's `ChatMember`."""
        return {**status_of(chat, user["id"], self.bot["id"], self.now()), "user": user}

    def number(self) -> int:
        """A number that was not given before: for ids of whatever the bot makes."""
        return next(self._numbers)

    def post(self, chat: Chat, content: Json, keyboard: Json | None = None) -> Json:
        """A new message of the bot; `keyboard` is a markup that does not become a part of the message."""
        message = {
            "message_id": chat.take_message_id(),
            **({"sender_chat": chat.chat()} if chat.kind == "channel" else {"from": self.bot}),
            "chat": chat.chat(),
            "date": int(self.now()),
            **content,
        }
        chat.keep(message, self.history)
        self._note_keyboard(chat.id, keyboard or {})
        self.emit("message", message=message, **({"keyboard": keyboard} if keyboard else {}))
        return message

    def announce(self, chat: Chat, content: Json) -> Json:
        """A service message about what the bot did, of a kind that Telegram tells the bot of, too."""
        message = self.post(chat, content)
        self._push("channel_post" if chat.kind == "channel" else "message", message)
        return message

    def replace(self, chat: Chat, message: Json) -> Json:
        """An edited message takes the place of the old one."""
        edited = {**message, "edit_date": int(self.now())}
        chat.keep(edited, self.history)
        self.emit("edit", message=edited)
        return edited

    def delete(self, chat: Chat, message_id: int) -> bool:
        """Delete a message; false when there is none."""
        deleted = chat.forget(message_id)
        if deleted:
            self.emit("delete", chat_id=chat.id, message_id=message_id)
        return deleted

    def take_callback(self, callback_query_id: str) -> Json | None:
        """The callback query that waits for an answer; it can be taken once."""
        return self.take_query("callback_query", callback_query_id)

    def take_query(self, kind: str, query_id: str) -> Json | None:
        """What waits for an answer under this id; it can be taken once, and in time (ANSWERED_WITHIN_S)."""
        asked_at, query = self._queries.pop((kind, query_id), (0.0, None))
        return query if self.now() - asked_at <= ANSWERED_WITHIN_S.get(kind, math.inf) else None

    def keep_inline(self, inline_message_id: str, content: Json) -> None:
        """A message that was sent via the bot, or its new content."""
        self.inline[inline_message_id] = content
        if len(self.inline) > INLINE_MAX:
            oldest, _ = self.inline.popitem(last=False)
            self.inline_places.pop(oldest, None)

    def show_inline(self, inline_message_id: str, content: Json) -> None:
        """A message that was sent via the bot has new content, in the chat that it was sent to as well."""
        self.keep_inline(inline_message_id, content)
        self.emit("inline_edit", inline_message_id=inline_message_id, message=content)
        chat_id, message_id = self.inline_places.get(inline_message_id, (0, 0))
        chat = self._chats.get(chat_id)
        shown = chat.find(message_id) if chat else None
        if chat is not None and shown is not None:
            lasting = {name: shown[name] for name in shown.keys() & _OF_THE_MESSAGE}
            self.replace(chat, {**lasting, **content})

    def set_reaction(self, chat: Chat, message_id: int, user_id: int, reaction: list[Json]) -> list[Json]:
        """A user reacts in this way now; returns the way before. Listeners hear of it."""
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
        """Tell the listeners."""
        if self._listeners:
            event = {"type": kind, **fields}
            for listener in tuple(self._listeners):
                listener.tell(event)

    def state(self) -> Json:
        """What `restore` takes, as JSON: what people see of their chats, and what the bot may still answer."""
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
        """Be as `state` tells, in a world that was just made; ids given from now on are new."""
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

    # -- inside -------------------------------------------------------------------------------------

    def _note_keyboard(self, chat_id: int, markup: Json) -> None:
        if "keyboard" in markup:
            self.keyboards[chat_id] = markup
        elif markup.get("remove_keyboard"):
            self.keyboards.pop(chat_id, None)

    def _push(self, kind: str, payload: Json) -> int:
        return self.queue.push(kind, f'"{kind}":{encode(payload)}'.encode())

    def _someone(self, user_id: int, first_name: str = "") -> Person:
        person = self._people.get(user_id)
        if person is None:
            person = self._people[user_id] = Person(user_id, first_name or f"User {user_id}")
        return person

    def _somewhere(self, chat_id: int, user_id: int, title: str = "") -> Chat:
        private = chat_id > 0
        if private and chat_id != user_id:
            raise ValueError(f"the private chat {chat_id} is not that of user {user_id}")
        if private:
            self._asked.pop(chat_id, None)
        chat = self._chats.get(chat_id)
        if chat is None:
            title = self._someone(user_id).first_name if private else title or f"Group {chat_id}"
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
