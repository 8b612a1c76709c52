"""What the sandbox's page may wish for: one JSON object each, named by its "do"."""

from collections.abc import Sequence
from itertools import cycle
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from engine import StoreUnavailable
from engine.store import Operator

from .answers import Json
from .entities import utf16_length
from .markup import CALLBACK_DATA_BYTES_MAX
from .messages import TEXT_MAX
from .sandbox_lanes import LaneBoard
from .world import World

BURST: Final = 20
_PEOPLE_MAX: Final = 50
_GROUPS_MAX: Final = 50

_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Refused(Exception):  # noqa: N818 - an answer to the page
    """The wish cannot be fulfilled; the text says why, to a person."""


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Say(_Wish):
    """A person writes in a chat."""

    do: Literal["say"]
    chat: int
    user: int
    text: _Text


class Press(_Wish):
    """A person presses a button under a message."""

    do: Literal["press"]
    chat: int
    user: int
    message: int
    data: str


class Key(_Wish):
    """A person presses a key in place of the letters that sends something else than its text."""

    do: Literal["key"]
    chat: int
    user: int
    text: str


class AddPerson(_Wish):
    """Somebody new opens a chat with the bot."""

    do: Literal["add_person"]
    name: _Name


class AddGroup(_Wish):
    """Everybody meets the bot in a new group."""

    do: Literal["add_group"]
    title: _Name


class Burst(_Wish):
    """BURST messages at once in every chat, numbered; in a group the people take turns."""

    do: Literal["burst"]


class Replay(_Wish):
    """A dead letter goes back to its lane."""

    do: Literal["replay"]
    number: int


_WISH: Final = TypeAdapter[Say | Press | Key | AddPerson | AddGroup | Burst | Replay](
    Annotated[Say | Press | Key | AddPerson | AddGroup | Burst | Replay, Field(discriminator="do")]
)


class Wishes:
    """Does what the page wishes, in the world and with the dead letters of the store."""

    def __init__(self, world: World, lanes: LaneBoard, store: Operator) -> None:
        self._world = world
        self._lanes = lanes
        self._store = store

    async def fulfil(self, text: str) -> None:
        """Do what the JSON `text` asks for; Refused says why not."""
        try:
            wish = _WISH.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Refused(f"{where}: {first['msg']}" if where else first["msg"]) from None
        match wish:
            case Say():
                self._say(wish)
            case Press():
                self._press(wish)
            case Key():
                self._press_key(wish)
            case AddPerson():
                self._add_person(wish.name)
            case AddGroup():
                self._add_group(wish.title)
            case Burst():
                self._burst()
            case Replay():
                await self._replay(wish.number)

    def _say(self, wish: Say) -> None:
        if utf16_length(wish.text) > TEXT_MAX:
            raise Refused(f"a message has at most {TEXT_MAX} characters")
        self._check_place(wish.chat, wish.user)
        self._note(wish.chat, self._world.say(wish.chat, wish.user, wish.text))

    def _press(self, wish: Press) -> None:
        if not 0 < len(wish.data.encode()) <= CALLBACK_DATA_BYTES_MAX:
            raise Refused(f"the data of a button has 1 to {CALLBACK_DATA_BYTES_MAX} bytes")
        self._check_place(wish.chat, wish.user)
        self._note(wish.chat, self._world.press(wish.chat, wish.user, wish.message, wish.data))

    def _press_key(self, wish: Key) -> None:
        self._check_place(wish.chat, wish.user)
        try:
            update_id = self._world.press_key(wish.chat, wish.user, wish.text)
        except ValueError as error:
            raise Refused(str(error)) from None
        self._note(wish.chat, update_id)

    def _add_person(self, name: str) -> None:
        if len(self._world.people()) >= _PEOPLE_MAX:
            raise Refused(f"{_PEOPLE_MAX} people are enough")
        user = self._world.person(name)
        self._world.emit("joined", user=user, chat=self._chat(user["id"]))

    def _add_group(self, title: str) -> None:
        if len([chat for chat in self._world.chats() if chat["type"] != "private"]) >= _GROUPS_MAX:
            raise Refused(f"{_GROUPS_MAX} groups are enough")
        chat = self._world.group(title, [person["id"] for person in self._world.people()])
        self._world.emit("joined", user=None, chat=chat)

    def _burst(self) -> None:
        speakers = [(chat["id"], cycle(self._speakers(chat))) for chat in self._world.chats()]
        for number in range(1, BURST + 1):
            for chat_id, people in speakers:
                self._note(chat_id, self._world.say(chat_id, next(people), f"{number} of {BURST}"))

    async def _replay(self, number: int) -> None:
        try:
            if not await self._store.replay(number):
                raise Refused(f"there is no dead letter {number}")
        except StoreUnavailable as error:
            raise Refused(f"the store is not available: {error}") from None
        finally:
            self._lanes.dead_letters_changed()

    def _speakers(self, chat: Json) -> Sequence[int]:
        """Who may write in a chat: in a group everybody, late-comers too."""
        if chat["type"] == "private":
            return [chat["id"]]
        return [person["id"] for person in self._world.people()]

    def _check_place(self, chat_id: int, user_id: int) -> None:
        chat = self._chat(chat_id)
        if chat is None or user_id not in self._speakers(chat):
            raise Refused("there is no such person in such a chat")

    def _chat(self, chat_id: int) -> Json | None:
        return next((chat for chat in self._world.chats() if chat["id"] == chat_id), None)

    def _note(self, chat_id: int, update_id: int) -> None:
        if not update_id:
            raise Refused("Telegram does not deliver this: the bot asks for other kinds of updates")
        self._lanes.arrived(chat_id, update_id)
