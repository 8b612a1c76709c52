"""Messages, presses, queries and deletions of users: they are stored as Telegram does and become updates."""

import json
import warnings
from typing import Any, Final

from telegram.fake.protocol.answers import Json
from telegram.fake.protocol.params import integer, text
from telegram.fake.text.entities import commands
from telegram.fake.text.formatting import formatted, usable

from .attachments import store_files
from .chat_state import ChatState
from .people import Chat
from .webhook import lane_of

CALLBACKS_MAX = 100_000  # stored unanswered queries, button presses among them
_QUERY_IDS: Final = {
    **dict.fromkeys(("callback_query", "inline_query", "shipping_query", "pre_checkout_query"), "id"),
    "guest_message": "guest_query_id",
    "chat_join_request": "query_id",
}
"""Kinds of update that can be answered, and the field of their id."""
_OWN_MESSAGES: Final = frozenset({"message", "edited_message", "channel_post", "edited_channel_post"})
_PLAIN_BUTTON: Final = frozenset({"text", "style", "icon_custom_emoji_id"})
_SENDS: Final = _PLAIN_BUTTON | {"request_contact", "request_location"}
_AT: Final = {"latitude": 52.52, "longitude": 13.405}


class Messaging(ChatState):
    """The part of a World for messages and queries of users.

    An update_id of 0 means: not queued, since the bot did not request the kind or the queue is full.
    """

    # -- messages ---------------------------------------------------------------------------------------------

    def send_message(self, chat_id: int, user_id: int, text: str, **message_fields: Any) -> int:
        """A user sends a message, with further fields of `Message`; return the update_id."""
        person, chat = self._get_or_add_person(user_id), self._get_or_add_chat(chat_id, user_id)
        is_post = chat.kind == "channel"
        message: Json = {
            "message_id": chat.take_message_id(),
            **({"sender_chat": chat.chat()} if is_post else {"from": person.user()}),
            "chat": chat.chat(),
            "date": int(self.now()),
        }
        if text:
            message["text"] = text
        message |= message_fields
        for words, marks in (("text", "entities"), ("caption", "caption_entities")):
            if marks not in message and (found := commands(message.get(words) or "")):
                message[marks] = found
        _add_topic(chat, message)
        store_files(self, message)
        chat.keep(message, self.history)
        self.emit("message", message=message)
        return self._push("channel_post" if is_post else "message", message)

    def say(self, chat_id: int, user_id: int, text: str, **message_fields: Any) -> int:
        """The former name of `send_message`."""
        warnings.warn("World.say is now World.send_message", DeprecationWarning, stacklevel=2)
        return self.send_message(chat_id, user_id, text, **message_fields)

    def edit(self, chat_id: int, user_id: int, message_id: int, text: str) -> int:
        """A user edits the text or caption of an own message, or of any post of a channel; return the update_id.

        ValueError if there is no such message.
        """
        chat = self._get_or_add_chat(chat_id, user_id)
        message = chat.find(message_id)
        is_post = chat.kind == "channel"
        is_own = is_post or (message is not None and message.get("from", {}).get("id") == user_id)
        if message is None or not is_own or "via_bot" in message:
            raise ValueError("there is no such message of this person")
        words, marks = ("text", "entities") if "text" in message else ("caption", "caption_entities")
        kept = {name: value for name, value in message.items() if name not in (words, marks)}
        found = commands(text)
        edited = self.replace(chat, {**kept, words: text, **({marks: found} if found else {})})
        return self._push("edited_channel_post" if is_post else "edited_message", edited)

    def delete_message(self, chat_id: int, message_id: int) -> bool:
        """A user deletes a message of any sender; the bot gets no update. Return False if there is none."""
        return self.delete(self._chats[chat_id], message_id)

    # -- buttons and queries ------------------------------------------------------------------------------------

    def press(self, chat_id: int, user_id: int, message_id: int, data: str) -> int:
        """A user presses an inline button; return the update_id. A message that is not stored is an InaccessibleMessage."""
        self._get_or_add_person(user_id)
        chat = self._get_or_add_chat(chat_id, user_id)
        inaccessible = {"chat": chat.chat(), "message_id": message_id, "date": 0}
        shown = {"message": chat.find(message_id) or inaccessible}
        return self._press(user_id, data, shown, str(abs(chat_id) * 2_654_435_761 % 2**62))

    def press_inline(self, user_id: int, inline_message_id: str, data: str) -> int:
        """A user presses a button of a message sent via the bot, in a chat unknown to the bot; return the update_id."""
        self.inline.setdefault(inline_message_id, {})
        shown = {"inline_message_id": inline_message_id}
        return self._press(user_id, data, shown, inline_message_id)

    def shown(self, chat_id: int) -> tuple[Json | None, list[list[str]]]:
        """Return the bot's newest message in a private chat (None: none), and the rows of labels of the reply keyboard.

        Buttons that open a dialog are omitted.
        """
        chat = self._chats.get(chat_id)
        kept = [] if chat is None else chat.messages()
        newest = next(
            (each for each in reversed(kept) if each.get("from", {}).get("id") == self.bot["id"]), None
        )
        rows = self.keyboards.get(chat_id, {}).get("keyboard", [])
        keys = [[{"text": key} if isinstance(key, str) else key for key in row] for row in rows]
        return newest, [[key["text"] for key in row if not key.keys() - _SENDS] for row in keys]

    def press_key(self, chat_id: int, user_id: int, button: str) -> int:
        """A user presses a button of the reply keyboard: it sends its text, a contact or a location; return the update_id.

        ValueError if there is no button with this text, or if it opens a dialog.
        """
        rows = self.keyboards.get(chat_id, {}).get("keyboard", [])
        keys = [{"text": key} if isinstance(key, str) else key for row in rows for key in row]
        found = next((key for key in keys if key["text"] == button), None)
        if found is None:
            raise ValueError(f"there is no button {button!r}; there are: {[key['text'] for key in keys]}")
        if found.get("request_contact"):
            person = self._get_or_add_person(user_id)
            contact = {"phone_number": f"+{user_id:011}", "first_name": person.first_name, "user_id": user_id}
            return self.send_message(chat_id, user_id, "", contact=contact)
        if found.get("request_location"):
            return self.send_message(chat_id, user_id, "", location=dict(_AT))
        if opens := found.keys() - _PLAIN_BUTTON:
            raise ValueError(
                f"{button!r} opens a dialog ({', '.join(sorted(opens))}): use send_message() with its result"
            )
        return self.send_message(chat_id, user_id, found["text"])

    def ask_inline(self, user_id: int, query: str, chat_id: int = 0) -> int:
        """A user types the bot's username and `query` in a chat, of which the bot gets only the type; return the update_id.

        Listeners get the results as "inline_answer".
        """
        chat = self._chats.get(chat_id)
        kind = chat.kind if chat is not None and chat.members is not None else "sender"
        asked = {
            "id": str(next(self._callback_ids)),
            "from": self._get_or_add_person(user_id).user(),
            "query": query,
            "offset": "",
            "chat_type": kind,
        }
        self._store_query("inline_query", asked)
        self.emit("inline_query", inline_query=asked, chat_id=chat_id)
        return self._push("inline_query", asked)

    def choose_in(self, chat_id: int, user_id: int, result: Json, query: str = "") -> int:
        """A user sends an InlineQueryResult in a chat of the bot, which also gets the message; return its update_id.

        A bot gets "messages sent via the bot" whatever its privacy mode is (Telegram, Bots FAQ, "What messages will my bot get?").
        """
        inline_message_id = self.choose(user_id, result, query)
        content = shown_of(result)
        markup = {"reply_markup": result["reply_markup"]} if inline_message_id else {}
        update_id = self.send_message(
            chat_id, user_id, content.pop("text", ""), via_bot=self.bot, **content, **markup
        )
        if inline_message_id:
            self.inline_places[inline_message_id] = chat_id, self._chats[chat_id].last_message_id
        return update_id

    def choose(self, user_id: int, result: Json, query: str = "") -> str:
        """A user sends an InlineQueryResult; the bot gets chosen_inline_result. Return the inline_message_id.

        It is "" unless the message has buttons (Telegram Bot API, ChosenInlineResult).
        """
        markup = result.get("reply_markup")
        inline_message_id = f"fake-inline-{self.number()}" if markup else ""
        if inline_message_id:
            content = result.get("input_message_content") or {}
            shown = {"text": content["message_text"]} if "message_text" in content else {}
            self.keep_inline(inline_message_id, {**shown, "reply_markup": markup} if shown else {})
        chosen = {"result_id": result["id"], "from": self._get_or_add_person(user_id).user(), "query": query}
        named = {"inline_message_id": inline_message_id} if inline_message_id else {}
        self._push("chosen_inline_result", chosen | named)
        return inline_message_id

    # -- any update ---------------------------------------------------------------------------------------------

    def push(self, kind: str, payload: Json) -> int:
        """Push an update of any kind; return its id. Its chats, users and messages become known."""
        self._store_contents(kind, payload)
        self._store_query(kind, payload)
        return self._push(kind, payload)

    def push_raw(self, rest: bytes) -> int:
        """Push the update `{"update_id":N,` + rest + `}` with any bytes; return its id. Readable contents become known."""
        kind = rest.lstrip(b' "').partition(b'"')[0].decode(errors="replace")
        try:
            payload = json.loads("{" + rest.decode(errors="replace") + "}").get(kind)
        except (ValueError, RecursionError):
            payload = None  # pushed all the same
        if isinstance(payload, dict):
            self._store_contents(kind, payload)
            self._store_query(kind, payload)
        return self.queue.push(kind, rest, lane_of(kind, payload))

    # -- internals ----------------------------------------------------------------------------------------------

    def _press(self, user_id: int, data: str, shown: Json, instance: str) -> int:
        query: Json = {
            "id": str(next(self._callback_ids)),
            "from": self._get_or_add_person(user_id).user(),
            **shown,
            "chat_instance": instance,
            "data": data,
        }
        self._store_query("callback_query", query)
        self.emit("callback", callback_query=query)
        return self._push("callback_query", query)

    def _store_contents(self, kind: str, payload: Json) -> None:
        """Store chat, user and message of an update."""
        user = _object(payload, "from") or _object(payload, "user")
        chat = _object(payload, "chat") or _object(_object(payload, "message"), "chat")
        user_id, chat_id = integer(user, "id"), integer(chat, "id")
        if user_id:
            self._get_or_add_person(user_id, text(user, "first_name"))
        store_files(self, payload)
        known: Chat | None = None
        if chat_id > 0:
            known = self._get_or_add_chat(chat_id, chat_id)
        elif chat_id < 0:
            known = self._get_or_add_chat(chat_id, user_id, text(chat, "title"))
        if known is not None and kind in _OWN_MESSAGES and type(payload.get("message_id")) is int:
            _add_topic(known, payload)
            known.keep(payload, self.history)
        if inline_message_id := payload.get("inline_message_id"):
            self.inline.setdefault(str(inline_message_id), {})

    def _store_query(self, kind: str, payload: Json) -> None:
        """Store queries that the bot may answer, and business connections."""
        if kind == "business_connection":
            self.business[text(payload, "id")] = payload
        elif (name := _QUERY_IDS.get(kind)) and payload.get(name):
            self._queries[kind, str(payload[name])] = self.now(), payload
            if len(self._queries) > CALLBACKS_MAX:
                self._queries.popitem(last=False)


def _add_topic(chat: Chat, message: Json) -> None:
    """Add the topic of a message, if it is unknown."""
    thread_id = message.get("message_thread_id")
    if message.get("is_topic_message") and isinstance(thread_id, int):
        chat.about.is_forum = chat.about.is_forum or chat.kind == "supergroup"
        chat.about.topics.setdefault(thread_id, {"name": f"Topic {thread_id}", "closed": False})


def shown_of(result: Json) -> Json:
    """Return the content of a message for an InlineQueryResult: text, location or caption, else its title or type as text."""
    content = result.get("input_message_content") or {}
    if "message_text" in content:
        text, entities = formatted(
            content["message_text"], content.get("parse_mode", ""), usable(content.get("entities") or [])
        )
        return {"text": text, **({"entities": entities} if entities else {})}
    if "latitude" in (place := content or result):
        return {"location": {"latitude": place["latitude"], "longitude": place["longitude"]}}
    named = {"caption": result["caption"]} if result.get("caption") else {}
    return named or {"text": result.get("title") or f"({result['type']})"}


def _object(payload: Json, name: str) -> Json:
    value = payload.get(name)
    return value if isinstance(value, dict) else {}
