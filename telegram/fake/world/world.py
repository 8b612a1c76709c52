"""Actions of users that concern the bot's status, polls, reactions and members; they become updates.

Unknown users and chats are created when they first appear.
"""

from typing import Any, Final

from engine.moved import deprecated
from telegram.fake.protocol.answers import Json

from .members import administrator, full_administrator, restricted, status_of
from .messaging import Messaging
from .people import Chat

_ASKERS_S: Final = 300.0
"""Time in which the bot may write to a user who asked to join (Telegram Bot API, ChatJoinRequest: user_chat_id)."""

DRAFT_S: Final = 30.0
"""How long a draft is shown (Telegram Bot API, sendMessageDraft: "temporary 30-second preview")."""


class World(Messaging):
    """Users and chats around one bot: actions of users become updates, calls of the bot change the chats."""

    # -- the bot's status in chats ------------------------------------------------------------------------

    def block(self, user_id: int) -> int:
        """A user blocks the bot: sending to the user is refused with 403; return the update_id of my_chat_member."""
        return self._set_blocked(user_id, blocked=True)

    def unblock(self, user_id: int) -> int:
        """A user unblocks the bot; return the update_id of my_chat_member."""
        return self._set_blocked(user_id, blocked=False)

    def deactivate(self, user_id: int) -> None:
        """A user deletes the account: sending to the user is refused with 403; the bot gets no update."""
        self._get_or_add_person(user_id).deactivated = True

    def set_language(self, user_id: int, code: str) -> None:
        """A user's app has this language from now on (User, language_code); "" for none."""
        self._get_or_add_person(user_id).language_code = code

    def kick(self, chat_id: int, by: int = 0) -> int:
        """A user removes the bot from a group or channel; return the update_id of my_chat_member."""
        return self._set_bot(chat_id, by, {"status": "kicked", "until_date": 0})

    def invite(self, chat_id: int, by: int = 0) -> int:
        """A user adds the bot to a group (again) as a plain member; return the update_id of my_chat_member."""
        return self._set_bot(chat_id, by, {"status": "member"})

    def promote(self, chat_id: int, *rights: str, by: int = 0) -> int:
        """A user makes the bot an administrator with these rights (none given: all); return the update_id of my_chat_member."""
        new = administrator(dict.fromkeys(rights, True)) if rights else full_administrator()
        return self._set_bot(chat_id, by, new)

    def is_administrator(self, chat_id: int) -> bool:
        """Whether the bot is an administrator of the chat."""
        status = status_of(self._chats[chat_id], self.bot["id"], self.bot["id"], self.now())
        return bool(status["status"] == "administrator")

    def is_blocked(self, chat_id: int) -> bool:
        """Whether the user of this private chat has blocked the bot."""
        person = self._people.get(chat_id)
        return person is not None and person.blocked

    def mute(self, chat_id: int, by: int = 0) -> int:
        """A user takes all permissions from the bot: sending is refused with 400; return the update_id of my_chat_member."""
        return self._set_bot(chat_id, by, restricted({}, until_date=0, is_member=True))

    def close_topic(self, chat_id: int, thread_id: int, by: int = 0, *, closed: bool = True) -> int:
        """A user closes (or reopens) a topic; only administrators with can_manage_topics may write there. Return the update_id."""
        chat = self._chats[chat_id]
        chat.about.topics[thread_id]["closed"] = closed
        change: Json = {"forum_topic_closed" if closed else "forum_topic_reopened": {}}
        place = {"message_thread_id": thread_id, "is_topic_message": True}
        return self.send_message(chat_id, by or min(chat.members or {1}), "", **change, **place)

    def delete_topic(self, chat_id: int, thread_id: int) -> None:
        """A user deletes a topic with its messages; the bot gets no update."""
        chat = self._chats[chat_id]
        del chat.about.topics[thread_id]
        for message in chat.messages():
            if thread_id in (message["message_id"], message.get("message_thread_id")):
                self.delete(chat, message["message_id"])

    def delete_group(self, chat_id: int) -> None:
        """The owner deletes a group: calls for it are refused with 403."""
        self._get_or_add_chat(chat_id, 0).about.deleted = True

    def migrate(self, chat_id: int) -> Json:
        """Upgrade a group to a supergroup: a new chat, and 400 with its id for calls to the old one; return the new `Chat`.

        ValueError if it is not a group, or already upgraded.
        """
        old = self._get_or_add_chat(chat_id, 0)
        if old.kind != "group" or old.about.migrated_to:
            raise ValueError(
                f"chat {chat_id} cannot be upgraded: it is not a group, or it was upgraded before"
            )
        made = self.add_group(old.title, sorted(old.members or ()))
        new = self._chats[made["id"]]
        new.about.statuses |= old.about.statuses
        by = min(old.members or {new.id})
        self.send_message(old.id, by, "", migrate_to_chat_id=new.id)
        self.send_message(new.id, by, "", migrate_from_chat_id=old.id)
        old.about.migrated_to = new.id
        return new.chat()

    def show_draft(self, chat: Chat, draft: Json) -> None:
        """Show a draft of a message of the bot in a private chat."""
        self.drafts[chat.id] = (self.now() + DRAFT_S, draft)
        self.emit("draft", chat_id=chat.id, **draft)

    def draft(self, chat_id: int) -> Json | None:
        """Return the draft that is shown in a chat: `draft_id`, `text` and perhaps `entities`; None if there is none."""
        until, draft = self.drafts.get(chat_id, (0.0, None))
        return draft if self.now() < until else None

    # -- polls, reactions, requests to join ---------------------------------------------------------------

    def vote(self, user_id: int, poll_id: str, option_ids: list[int]) -> int:
        """A user votes in a poll of the bot, changes the vote, or ([]) retracts it.

        Return the update_id of poll_answer (0: the poll is anonymous). ValueError for votes that Telegram's apps do not
        allow: several options in a poll of one, a second vote in a quiz, a closed or deleted poll.
        """
        chat_id, message_id = self.polls[poll_id]
        chat = self._chats[chat_id]
        message = chat.find(message_id)
        if message is None or message["poll"]["is_closed"]:
            raise ValueError(f"poll {poll_id} is closed or deleted")
        poll: Json = message["poll"]
        votes = self.votes.setdefault(poll_id, {})
        if poll["type"] == "quiz" and user_id in votes:
            raise ValueError("the answer to a quiz cannot be changed")
        if len(option_ids) > 1 and not poll["allows_multiple_answers"]:
            raise ValueError("the poll allows one answer per user")
        votes.pop(user_id, None)
        if option_ids:
            votes[user_id] = option_ids
        options = [
            {**option, "voter_count": sum(n in chosen for chosen in votes.values())}
            for n, option in enumerate(poll["options"])
        ]
        poll = {**poll, "options": options, "total_voter_count": len(votes)}
        chat.keep({**message, "poll": poll}, self.history)
        self._push("poll", poll)
        if poll["is_anonymous"]:
            return 0
        answer = {
            "poll_id": poll_id,
            "user": self._get_or_add_person(user_id).user(),
            "option_ids": option_ids,
            "option_persistent_ids": [options[n]["persistent_id"] for n in option_ids],
        }
        return self._push("poll_answer", answer)

    def react(self, chat_id: int, user_id: int, message_id: int, emoji: str = "") -> int:
        """A user reacts to a message, "" removes the reaction; return the update_id of message_reaction.

        0 where the bot is not an administrator, such as in private chats: it gets no update (Telegram Bot API, Update,
        message_reaction; openclaw/openclaw#43730). ValueError if there is no such message.
        """
        person, chat = self._get_or_add_person(user_id), self._get_or_add_chat(chat_id, user_id)
        if chat.find(message_id) is None:
            raise ValueError("there is no such message")
        new = [{"type": "emoji", "emoji": emoji}] if emoji else []
        old = self.set_reaction(chat, message_id, user_id, new)
        if not self.is_administrator(chat_id):
            return 0
        change = {
            "chat": chat.chat(),
            "message_id": message_id,
            "user": person.user(),
            "date": int(self.now()),
            "old_reaction": old,
            "new_reaction": new,
        }
        return self._push("message_reaction", change)

    def ask_to_join(self, chat_id: int, user_id: int, **request_fields: object) -> int:
        """A user requests to join a chat; return the update_id of chat_join_request.

        For five minutes the bot may write to the user, even if they have not started it (Telegram Bot API, ChatJoinRequest).
        """
        person, chat = self._get_or_add_person(user_id), self._get_or_add_chat(chat_id, 0)
        chat.about.join_requests.add(user_id)
        if user_id not in self._chats or user_id in self._asked:
            self.start(user_id)
            self._asked[user_id] = self.now() + _ASKERS_S
        request = {
            "chat": chat.chat(),
            "from": person.user(),
            "user_chat_id": user_id,
            "date": int(self.now()),
            **request_fields,
        }
        self._store_query("chat_join_request", request)
        return self._push("chat_join_request", request)

    # -- members ------------------------------------------------------------------------------------------

    def set_member(self, chat: Chat, user: Json, new: Json, *, by: Json) -> int:
        """Change a member's status; return the update_id of my_chat_member (for the bot) or chat_member.

        0 for other users where the bot is not an administrator (Telegram Bot API, Update, chat_member).
        """
        user_id = user["id"]
        old = status_of(chat, user_id, self.bot["id"], self.now())
        is_inside = new["status"] not in ("left", "kicked") and new.get("is_member", True)
        if user_id == self.bot["id"] or new["status"] not in ("member", "left"):
            chat.about.statuses[user_id] = new
        else:
            chat.about.statuses.pop(user_id, None)
        if user_id != self.bot["id"] and chat.members is not None:
            (chat.members.add if is_inside else chat.members.discard)(user_id)
        return self._push_member_change(chat, by, {**old, "user": user}, {**new, "user": user})

    # -- internals ----------------------------------------------------------------------------------------

    def _set_bot(self, chat_id: int, by: int, new: Json) -> int:
        chat = self._get_or_add_chat(chat_id, 0)
        who = self._get_or_add_person(by or min(chat.members or {1})).user()
        return self.set_member(chat, self.bot, new, by=who)

    def _set_blocked(self, user_id: int, *, blocked: bool) -> int:
        person, chat = self._get_or_add_person(user_id), self._get_or_add_chat(user_id, user_id)
        person.blocked = blocked
        self.emit("block", user_id=user_id, blocked=blocked)
        stopped = {"user": self.bot, "status": "kicked", "until_date": 0}
        member = {"user": self.bot, "status": "member"}
        return self._push_member_change(
            chat, person.user(), member if blocked else stopped, stopped if blocked else member
        )

    def _push_member_change(self, chat: Chat, by: Json, old: Json, new: Json) -> int:
        change = {
            "chat": chat.chat(),
            "from": by,
            "date": int(self.now()),
            "old_chat_member": old,
            "new_chat_member": new,
        }
        if new["user"]["id"] == self.bot["id"]:
            return self._push("my_chat_member", change)
        return self._push("chat_member", change) if self.is_administrator(chat.id) else 0

    # -- former names, for one version ------------------------------------------------------------------------

    def person(self, first_name: str, **options: Any) -> Json:
        """Deprecated: `add_user`."""
        deprecated("World.person", "it is now add_user")
        return self.add_user(first_name, **options)

    def group(self, title: str, user_ids: list[int], **options: Any) -> Json:
        """Deprecated: `add_group`."""
        deprecated("World.group", "it is now add_group")
        return self.add_group(title, user_ids, **options)

    def people(self) -> list[Json]:
        """Deprecated: `users`."""
        deprecated("World.people", "it is now users")
        return self.users()
