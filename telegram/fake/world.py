"""The people and chats around the bot: what they do becomes updates, what the bot does changes their chats.

People and chats that nobody introduced come into being when they first appear. Messages are never changed
in place: an edited message is a new object.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any

from .answers import Json, bad_request, encode, forbidden
from .entities import commands
from .events import Listener
from .params import Params, integer, text
from .people import Chat, Person
from .queue import UpdateQueue

CALLBACKS_MAX = 100_000  # unanswered button presses remembered


class World:
    """Everything around one `bot` (its `User`); `clock` gives Unix time, `history` the messages kept per chat."""

    def __init__(
        self, bot: Json, queue: UpdateQueue, *, history: int = 200, clock: Callable[[], float] = time.time
    ) -> None:
        self.bot = bot
        self.queue = queue
        self.history = history
        self.now = clock
        self.commands: dict[tuple[str, str], list[Json]] = {}  # by scope and language
        self.logged_out = False
        self._people: dict[int, Person] = {}
        self._chats: dict[int, Chat] = {}
        self._callbacks: OrderedDict[str, Json] = OrderedDict()
        self._listeners: set[Listener] = set()
        self._user_ids = count(1001)
        self._group_ids = count(-1_001_000_000_001, -1)
        self._callback_ids = count(4_000_000_000_000_000_001)

    # -- who is there ---------------------------------------------------------------------------

    def person(self, first_name: str, *, user_id: int | None = None) -> Json:
        """Somebody who has opened a private chat with the bot (its id is the user's); returns the `User`."""
        person = Person(next(self._user_ids) if user_id is None else user_id, first_name)
        self._people[person.id] = person
        self._chats[person.id] = Chat(person.id, first_name)
        return person.user()

    def group(self, title: str, user_ids: list[int], *, chat_id: int | None = None) -> Json:
        """A supergroup with the bot and these people; returns the `Chat`."""
        chat = Chat(next(self._group_ids) if chat_id is None else chat_id, title, set(user_ids))
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

    # -- what people do ---------------------------------------------------------------------------

    def say(self, chat_id: int, user_id: int, text: str, **message_fields: Any) -> int:
        """Somebody writes; returns the update_id (0: the queue did not take it)."""
        person, chat = self._someone(user_id), self._somewhere(chat_id, user_id)
        message: Json = {
            "message_id": chat.take_message_id(),
            "from": person.user(),
            "chat": chat.chat(),
            "date": int(self.now()),
        }
        if text:
            message["text"] = text
            if entities := commands(text):
                message["entities"] = entities
        message |= message_fields
        chat.keep(message, self.history)
        self.emit("message", message=message)
        return self._push("message", message)

    def press(self, chat_id: int, user_id: int, message_id: int, data: str) -> int:
        """Somebody presses an inline button; a message that is not remembered comes as an InaccessibleMessage."""
        person, chat = self._someone(user_id), self._somewhere(chat_id, user_id)
        inaccessible = {"chat": chat.chat(), "message_id": message_id, "date": 0}
        query: Json = {
            "id": str(next(self._callback_ids)),
            "from": person.user(),
            "message": chat.find(message_id) or inaccessible,
            "chat_instance": str(abs(chat_id) * 2_654_435_761 % 2**62),
            "data": data,
        }
        self._remember_callback(query)
        self.emit("callback", callback_query=query)
        return self._push("callback_query", query)

    def push(self, kind: str, payload: Json) -> int:
        """Any update; chats and people in the usual places of `payload` become known."""
        self._meet(payload)
        if kind == "callback_query":
            self._remember_callback(payload)
        return self._push(kind, payload)

    def push_raw(self, rest: bytes) -> int:
        """Any bytes: the update is `{"update_id":N,` + rest + `}`. What can be read of them becomes known."""
        kind = rest.lstrip(b' "').partition(b'"')[0].decode(errors="replace")
        try:
            payload = json.loads("{" + rest.decode(errors="replace") + "}").get(kind)
        except (ValueError, RecursionError):
            payload = None  # the bot has to live with it, too
        if isinstance(payload, dict):
            self._meet(payload)
            if kind == "callback_query":
                self._remember_callback(payload)
        return self.queue.push(kind, rest)

    def block(self, user_id: int) -> int:
        """Somebody stops the bot: sending to that person is refused with 403; returns the update_id of my_chat_member."""
        return self._set_blocked(user_id, blocked=True)

    def unblock(self, user_id: int) -> int:
        """The reverse of `block`."""
        return self._set_blocked(user_id, blocked=False)

    # -- what the bot does: the methods are built of these -------------------------------------------

    def chat_for_bot(self, params: Params, name: str = "chat_id") -> Chat:
        """The chat that a call names, if the bot may write there; ApiError as the server words it."""
        if not text(params, name):
            raise bad_request("chat_id is empty")
        chat_id = integer(params, name)
        chat = self._chats.get(chat_id)
        if chat is None:
            if chat_id in self._people:
                raise forbidden("bot can't initiate conversation with a user")
            raise bad_request("chat not found")
        if chat.members is None and self._people[chat_id].blocked:
            raise forbidden("bot was blocked by the user")
        return chat

    def known_person(self, user_id: int) -> Person | None:
        """The person with this id, if any."""
        return self._people.get(user_id)

    def post(self, chat: Chat, content: Json, keyboard: Json | None = None) -> Json:
        """A new message of the bot; `keyboard` is a markup that does not become a part of the message."""
        message = {
            "message_id": chat.take_message_id(),
            "from": self.bot,
            "chat": chat.chat(),
            "date": int(self.now()),
            **content,
        }
        chat.keep(message, self.history)
        self.emit("message", message=message, **({"keyboard": keyboard} if keyboard else {}))
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
        return self._callbacks.pop(callback_query_id, None)

    def emit(self, kind: str, **fields: Any) -> None:
        """Tell the listeners."""
        if self._listeners:
            event = {"type": kind, **fields}
            for listener in tuple(self._listeners):
                listener.tell(event)

    # -- inside -------------------------------------------------------------------------------------

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
        chat = self._chats.get(chat_id)
        if chat is None:
            title = self._someone(user_id).first_name if private else title or f"Group {chat_id}"
            chat = self._chats[chat_id] = Chat(chat_id, title, None if private else set())
        if chat.members is not None and user_id:
            chat.members.add(user_id)
        return chat

    def _meet(self, payload: Json) -> None:
        """Learn chat and person from the usual places of an update."""
        user = _object(payload, "from") or _object(payload, "user")
        chat = _object(payload, "chat") or _object(_object(payload, "message"), "chat")
        user_id, chat_id = integer(user, "id"), integer(chat, "id")
        if user_id:
            self._someone(user_id, text(user, "first_name"))
        if chat_id > 0:
            self._somewhere(chat_id, chat_id)
        elif chat_id:
            self._somewhere(chat_id, user_id, text(chat, "title"))

    def _remember_callback(self, query: Json) -> None:
        self._callbacks[str(query.get("id"))] = query
        if len(self._callbacks) > CALLBACKS_MAX:
            self._callbacks.popitem(last=False)

    def _set_blocked(self, user_id: int, *, blocked: bool) -> int:
        person, chat = self._someone(user_id), self._somewhere(user_id, user_id)
        person.blocked = blocked
        self.emit("block", user_id=user_id, blocked=blocked)
        stopped = {"user": self.bot, "status": "kicked", "until_date": 0}
        member = {"user": self.bot, "status": "member"}
        return self._push(
            "my_chat_member",
            {
                "chat": chat.chat(),
                "from": person.user(),
                "date": int(self.now()),
                "old_chat_member": member if blocked else stopped,
                "new_chat_member": stopped if blocked else member,
            },
        )


def _object(payload: Json, name: str) -> Json:
    value = payload.get(name)
    return value if isinstance(value, dict) else {}
