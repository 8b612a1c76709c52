"""The actions of the sandbox's page: JSON objects, discriminated by "do"."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from telegram.sandbox.samples import Sample

QUERY_MAX: Final = 256
"""Maximum length of a query, in characters (Telegram Bot API, InlineQuery)."""
HOURS_MAX: Final = 24 * 31
PICTURE_MAX: Final = 900_000
"""Maximum length in base64; the page scales pictures down to fit."""

_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Action(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Say(_Action):
    """A user writes in a chat."""

    do: Literal["say"]
    chat: int
    user: int
    text: _Text


class Press(_Action):
    """A user presses a button of an inline keyboard."""

    do: Literal["press"]
    chat: int
    user: int
    message: int
    data: str


class Key(_Action):
    """A user presses a button of a reply keyboard that sends something else than its text."""

    do: Literal["key"]
    chat: int
    user: int
    text: str


class Send(_Action):
    """A user sends an own photo, or a sample: a photo, an album, a contact, a location."""

    do: Literal["send"]
    chat: int
    user: int
    what: Sample
    caption: str = ""
    picture: Annotated[str, StringConstraints(max_length=PICTURE_MAX)] = ""
    """A JPEG in base64; empty: a sample is drawn."""


class Edit(_Action):
    """A user edits the text or caption of an own message."""

    do: Literal["edit"]
    chat: int
    user: int
    message: int
    text: _Text


class React(_Action):
    """A user reacts to a message; "" removes the reaction."""

    do: Literal["react"]
    chat: int
    user: int
    message: int
    emoji: Annotated[str, StringConstraints(max_length=8)]


class Ask(_Action):
    """A user types the bot's username and a query in a chat: an inline query."""

    do: Literal["ask"]
    chat: int
    user: int
    query: Annotated[str, StringConstraints(max_length=QUERY_MAX)]


class Choose(_Action):
    """A user sends one of the results of an inline query."""

    do: Literal["choose"]
    chat: int
    user: int
    query: str
    result: str


class Block(_Action):
    """A user blocks or unblocks the bot."""

    do: Literal["block"]
    user: int
    blocked: bool


class Promote(_Action):
    """The bot becomes an administrator of a group."""

    do: Literal["promote"]
    chat: int
    user: int


class Pass(_Action):
    """Advances the clock of the fake Telegram and of the bot's timers."""

    do: Literal["pass"]
    hours: Annotated[float, Field(gt=0, le=HOURS_MAX)]


class Look(_Action):
    """The page requests an image by its file_id; only this page gets the answer."""

    do: Literal["look"]
    file: str


class AddPerson(_Action):
    """A new user opens a chat with the bot."""

    do: Literal["add_person"]
    name: _Name


class AddGroup(_Action):
    """A new group with the bot and all users."""

    do: Literal["add_group"]
    title: _Name


class Burst(_Action):
    """BURST numbered messages at once in every chat; in a group the users take turns."""

    do: Literal["burst"]


class Replay(_Action):
    """Puts a dead letter back into its lane."""

    do: Literal["replay"]
    number: int


Action = (
    Say | Press | Key | Send | Edit | React | Ask | Choose | Block | Promote | Pass | Look
    | AddPerson | AddGroup | Burst | Replay
)  # fmt: skip
ACTION: Final = TypeAdapter[Action](Annotated[Action, Field(discriminator="do")])
