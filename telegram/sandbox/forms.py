"""What the sandbox's page may ask for: one JSON object each, named by its "do"."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from telegram.sandbox.samples import Sample

QUERY_MAX: Final = 256
"""Telegram Bot API, InlineQuery: the longest query."""
HOURS_MAX: Final = 24 * 31
PICTURE_MAX: Final = 900_000
"""In base64; the page makes pictures smaller than that."""

_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Action(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Say(_Action):
    """A person writes in a chat."""

    do: Literal["say"]
    chat: int
    user: int
    text: _Text


class Press(_Action):
    """A person presses a button under a message."""

    do: Literal["press"]
    chat: int
    user: int
    message: int
    data: str


class Key(_Action):
    """A person presses a key in place of the letters that sends something else than its text."""

    do: Literal["key"]
    chat: int
    user: int
    text: str


class Send(_Action):
    """A person sends a photo of their own, or something made up: a photo, an album, a contact, a location."""

    do: Literal["send"]
    chat: int
    user: int
    what: Sample
    caption: str = ""
    picture: Annotated[str, StringConstraints(max_length=PICTURE_MAX)] = ""
    """The photo as base64 of a JPEG; without it one is drawn."""


class Edit(_Action):
    """A person changes the text or caption of an own message."""

    do: Literal["edit"]
    chat: int
    user: int
    message: int
    text: _Text


class React(_Action):
    """A person reacts to a message; "" takes the reaction back."""

    do: Literal["react"]
    chat: int
    user: int
    message: int
    emoji: Annotated[str, StringConstraints(max_length=8)]


class Ask(_Action):
    """A person writes the bot's name and a query in the box of a chat: an inline query."""

    do: Literal["ask"]
    chat: int
    user: int
    query: Annotated[str, StringConstraints(max_length=QUERY_MAX)]


class Choose(_Action):
    """A person sends one of the results of an inline query."""

    do: Literal["choose"]
    chat: int
    user: int
    query: str
    result: str


class Block(_Action):
    """A person stops the bot, or lets it write again."""

    do: Literal["block"]
    user: int
    blocked: bool


class Promote(_Action):
    """The bot becomes an administrator of a group."""

    do: Literal["promote"]
    chat: int
    user: int


class Pass(_Action):
    """Time goes by, for Telegram and for the bot's timers."""

    do: Literal["pass"]
    hours: Annotated[float, Field(gt=0, le=HOURS_MAX)]


class Look(_Action):
    """The page wants to show a picture; the answer goes to this page alone."""

    do: Literal["look"]
    file: str


class AddPerson(_Action):
    """Somebody new opens a chat with the bot."""

    do: Literal["add_person"]
    name: _Name


class AddGroup(_Action):
    """Everybody meets the bot in a new group."""

    do: Literal["add_group"]
    title: _Name


class Burst(_Action):
    """BURST messages at once in every chat, numbered; in a group the people take turns."""

    do: Literal["burst"]


class Replay(_Action):
    """A dead letter goes back to its lane."""

    do: Literal["replay"]
    number: int


Action = (
    Say | Press | Key | Send | Edit | React | Ask | Choose | Block | Promote | Pass | Look
    | AddPerson | AddGroup | Burst | Replay
)  # fmt: skip
ACTION: Final = TypeAdapter[Action](Annotated[Action, Field(discriminator="do")])
