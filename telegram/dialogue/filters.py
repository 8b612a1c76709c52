"""What an update must be for a handler: predicates, and extracts, which also hand something to the handler.

A predicate is any plain function of the Context that returns a bool. An extract has a type, and the handler takes its
value as an argument after the context:

    @router.message(photo)
    async def picture(ctx: MessageContext, sizes: list[PhotoSize]) -> None: ...
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from telegram import types
from telegram.callback_data import CallbackData
from telegram.dialogue.context import Context, is_command
from telegram.dialogue.signature import is_async
from telegram.shortcuts import part

MEDIA: Final = frozenset(
    f" {name}"
    for name in (
        "animation", "audio", "contact", "dice", "document", "game", "invoice", "live_photo", "location", "paid_media",
        "photo", "poll", "sticker", "story", "successful_payment", "venue", "video", "video_note", "voice",
    )
)  # fmt: skip
"""What a message has instead of a text (Telegram Bot API, Message), with a space before it: no command begins so."""

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
D = TypeVar("D", bound=CallbackData)

Filter: TypeAlias = Callable[[Context], bool]


class Invalid(Exception):  # noqa: N818 - what a person sent, not an error
    """What the user sent does not fit: they are told `text`, and nothing else of the handler happens."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Extract(Generic[T]):
    """Takes a `type_` out of an update; what is not there (None) does not match. `label` names it in pictures."""

    def __init__(
        self, type_: Any, read: Callable[[Context], T | None], hint: "Hint | None" = None, label: str = ""
    ) -> None:
        self.type = type_
        self.read = read
        self.hint = hint
        self.label = label or getattr(type_, "__name__", str(type_))


Hint: TypeAlias = frozenset[str]
"""Narrows a search: commands, first words of buttons, or MEDIA: no update without one of these can match."""


def label_of(passes: Any) -> str:
    """How a filter or an extract is named in a picture: what it wants, else the name of the function."""
    label = getattr(passes, "label", None) or getattr(passes, "__name__", type(passes).__name__)
    return "a condition" if label == "<lambda>" else str(label)


def _named(label: str, passes: Filter) -> Filter:
    passes.__name__ = label
    return passes


class command:  # noqa: N801 - read as a word: @router.message(command("start"))
    """`command("start")` takes "/start", "/start args" and "/start@this_bot", but not a command for another bot."""

    def __init__(self, *names: str) -> None:
        if not names or any(not name or name.startswith("/") for name in names):
            raise ValueError(f"command() wants names without the slash, not {names!r}")
        self._names = frozenset(name.lower() for name in names)
        self._usage = names[0]
        self.label = " or ".join(f"/{name}" for name in names)
        self.hint: Hint = self._names

    def __call__(self, ctx: Context) -> bool:
        """Whether the update is one of the commands."""
        return ctx.command in self._names

    def parse(self, model: type[M]) -> Extract[M]:
        """The command with its arguments as `model`: words in the order of its fields, the last one takes the rest.

        If they do not fit, the user is told how to write it.
        """
        names = list(model.model_fields)
        usage = " ".join(
            [f"/{self._usage}"]
            + [
                f"<{name}>" if field.is_required() else f"[{name}]"
                for name, field in model.model_fields.items()
            ]
        )

        def read(ctx: Context) -> M | None:
            if not self(ctx):
                return None
            words = ctx.args.split(maxsplit=len(names) - 1) if names else []
            try:
                return model.model_validate(dict(zip(names, words, strict=False)))
            except ValidationError as error:
                raise Invalid(f"{_first_of(error)}\nWrite it like this: {usage}") from None

        return Extract(model, read, self.hint, usage)

    @property
    def payload(self) -> Extract[str]:
        """The command with what follows it, if something does: the payload of a deep link in /start, say."""
        return Extract(
            str, lambda ctx: (ctx.args or None) if self(ctx) else None, self.hint, f"{self.label} <payload>"
        )


def text(ctx: Context) -> bool:
    """Any text that is no command, for whatever bot: where a name is asked, "/cancel" is none."""
    return bool(ctx.text) and not is_command(ctx.text)


def regex(pattern: str | re.Pattern[str]) -> Extract[re.Match[str]]:
    """A text in which `pattern` is found; hands over the match."""
    compiled = re.compile(pattern)
    search = compiled.search
    label = f"text like {compiled.pattern}"
    return Extract(re.Match, lambda ctx: search(ctx.text) if ctx.text else None, None, label)


class data:  # noqa: N801 - as command
    """A button whose callback data is one of `values`."""

    def __init__(self, *values: str) -> None:
        self._values = frozenset(values)
        self.label = f"{' or '.join(map(repr, values))} button"
        self.hint: Hint = frozenset(first_word(value) for value in values)

    def __call__(self, ctx: Context) -> bool:
        """Whether such a button was pressed."""
        return ctx.button in self._values


def data_prefix(prefix: str) -> Filter:
    """A button whose callback data begins with `prefix`."""
    return _named(f"{prefix}… button", lambda ctx: ctx.button is not None and ctx.button.startswith(prefix))


def carries(model: type[D]) -> Extract[D]:
    """A button that carries such data; `@router.callback_query(Vote)` is the same as `...(carries(Vote))`."""
    return Extract(
        model,
        lambda ctx: None if ctx.button is None else model.unpack(ctx.button),
        frozenset((model.prefix,)),
        f"{model.__name__} button",
    )


def first_word(data: str) -> str:
    """What stands before the first colon of a button's data: its prefix, if it is typed."""
    return data.partition(":")[0]


class kind:  # noqa: N801 - as command
    """Updates of these kinds, named as in Telegram's Update: `kind("my_chat_member", "chat_member")`."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = frozenset(kinds)
        self.label = " or ".join(kinds)

    def __call__(self, ctx: Context) -> bool:
        """Whether the update is of one of the kinds."""
        return ctx.kind in self.kinds


def chat_type(*kinds: str) -> Filter:
    """Updates of chats of these types: "private", "group", "supergroup", "channel"."""
    wanted = frozenset(kinds)
    return _named(
        f"in a {' or '.join(kinds)} chat", lambda ctx: part(part(ctx.source, "chat"), "type") in wanted
    )


class any_of:  # noqa: N801 - as command
    """What passes at least one of the filters; of an extract, what it would take: `any_of(photo, video)`."""

    def __init__(self, *filters: "Filter | Extract[Any]") -> None:
        self._passes = tuple(predicate(each) for each in filters)
        self.label = " or ".join(label_of(each) for each in filters)
        named: list[frozenset[str]] = [kinds for each in filters if (kinds := getattr(each, "kinds", None))]
        self.kinds = frozenset[str]().union(*named) if len(named) == len(filters) else None

    def __call__(self, ctx: Context) -> bool:
        """Whether one of the filters passes."""
        return any(passes(ctx) for passes in self._passes)


def no(unwanted: "Filter | Extract[Any]") -> Filter:
    """What does not pass the filter, or has nothing that the extract would take: `no(photo)`."""
    passes = predicate(unwanted)
    return _named(f"not {label_of(unwanted)}", lambda ctx: not passes(ctx))


def predicate(wanted: "Filter | Extract[Any]") -> Filter:
    """Return a filter as it is, an extract as a filter; TypeError for anything else."""
    if isinstance(wanted, Extract):
        read = wanted.read
        return lambda ctx: read(ctx) is not None
    check_filters((wanted,))
    return wanted


def check_filters(filters: Iterable[Any]) -> None:
    """Raise TypeError for what is no predicate."""
    for passes in filters:
        if isinstance(passes, type) or not callable(passes) or is_async(passes):
            raise TypeError(
                f"a filter is a plain function of the Context that returns a bool, not {passes!r}"
            )


def content(*names: str) -> Filter:
    """Messages that hold one of these, named as in Telegram's Message: `content("photo", "new_chat_members")`."""
    unknown = [name for name in names if name not in types.Message.model_fields]
    if unknown or not names:
        raise ValueError(f"a Message has no {', '.join(unknown) or 'field without a name'}")
    return _Content(*names)


class _Content:
    def __init__(self, *names: str) -> None:
        self._names = names
        self.label = " or ".join(names)
        self.hint = _media(names)

    def __call__(self, ctx: Context) -> bool:
        return any(part(ctx.source, name) is not None for name in self._names)


def _media(names: Sequence[str]) -> Hint | None:
    """Where a message's media are wanted, its text is of no interest."""
    return frozenset(f" {name}" for name in names) if {f" {name}" for name in names} <= MEDIA else None


def _content(type_: Any, name: str) -> Extract[Any]:
    return Extract(type_, lambda ctx: part(ctx.event, name), _media((name,)), name)


photo: Final[Extract[list[types.PhotoSize]]] = _content(list, "photo")
document: Final[Extract[types.Document]] = _content(types.Document, "document")
audio: Final[Extract[types.Audio]] = _content(types.Audio, "audio")
video: Final[Extract[types.Video]] = _content(types.Video, "video")
voice: Final[Extract[types.Voice]] = _content(types.Voice, "voice")
animation: Final[Extract[types.Animation]] = _content(types.Animation, "animation")
video_note: Final[Extract[types.VideoNote]] = _content(types.VideoNote, "video_note")
sticker: Final[Extract[types.Sticker]] = _content(types.Sticker, "sticker")
location: Final[Extract[types.Location]] = _content(types.Location, "location")
contact: Final[Extract[types.Contact]] = _content(types.Contact, "contact")
successful_payment: Final[Extract[types.SuccessfulPayment]] = _content(
    types.SuccessfulPayment, "successful_payment"
)


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def told(error: ValidationError) -> Invalid:
    """What a person is told of the first thing that does not fit a model."""
    return Invalid(_first_of(error))
