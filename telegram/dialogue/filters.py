"""Filters of handlers: predicates, and extracts, which also pass a value to the handler.

A predicate is any plain function of the Context that returns a bool. An extract has a type, and its value is passed to the
handler as an argument after the context:

    @router.message(photo)
    async def picture(ctx: MessageContext, sizes: list[PhotoSize]) -> None: ...
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar, final

from pydantic import BaseModel, ValidationError

from telegram.botapi import types
from telegram.botapi.shortcuts import part
from telegram.dialogue.callback_data import CallbackData
from telegram.dialogue.commands import MenuLine, Shown, is_name, menu_line
from telegram.dialogue.context import Context
from telegram.dialogue.invalid import Invalid, first_of
from telegram.dialogue.kept import read_fields
from telegram.dialogue.limits import Limit
from telegram.dialogue.signature import is_async

MEDIA: Final = frozenset((
    "animation", "audio", "contact", "dice", "document", "game", "invoice", "live_photo", "location", "paid_media",
    "photo", "poll", "sticker", "story", "successful_payment", "venue", "video", "video_note", "voice",
))  # fmt: skip
"""Fields of which a message has one instead of a text (Telegram Bot API, Message)."""

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
D = TypeVar("D", bound=CallbackData)

Filter: TypeAlias = Callable[[Context], bool]


class Extract(Generic[T]):
    """Extracts a value of `type_` from an update with `read`; None does not match. `label` is its name in diagrams."""

    def __init__(self, type_: Any, read: Callable[[Context], T | None], label: str = "") -> None:
        self.type = type_
        self.read = read
        self.label = label or getattr(type_, "__name__", str(type_))


class Hint(NamedTuple):
    """A necessary condition for a filter to pass, to narrow the search. Filters outside this module have none."""

    words: frozenset[str] | None = None
    """The update's command, or the first word of its button, must be one of these; None: no condition."""

    without_text: bool = False
    """The update must not be a message with a text."""


NO_HINT: Final = Hint()


def hint_of(filters: Iterable[Any]) -> Hint:
    """Return the combined hint of filters that must all pass.

    Only types of this module have hints, where hint and test are defined together: a wrong hint would hide updates.
    Filters after one that may raise Invalid are ignored: the user gets its text even if those would not pass.
    """
    words, without_text = None, False
    for each in filters:
        if type(each) in _WITH_HINT:
            words = each.hint.words if words is None else words
            without_text = without_text or each.hint.without_text
        if type(each) is _Parsed:
            break
    return Hint(words, without_text)


class _HintedExtract(Extract[T]):
    menu: MenuLine | None = None

    def __init__(self, type_: Any, read: Callable[[Context], T | None], hint: Hint, label: str) -> None:
        super().__init__(type_, read, label)
        self.hint = hint


class _Parsed(_HintedExtract[T]):
    """Raises Invalid if the value is there but cannot be parsed."""


AnyFilter: TypeAlias = Filter | Extract[Any]


def label_of(passes: Any) -> str:
    """Return the name of a filter or an extract in a diagram: its label, else the name of the function."""
    label = getattr(passes, "label", None) or getattr(passes, "__name__", type(passes).__name__)
    return "a condition" if label == "<lambda>" else str(label)


def _named(label: str, passes: Filter) -> Filter:
    passes.__name__ = label
    return passes


@final
class command:  # noqa: N801 - read as a word: @router.message(command("start"))
    """`command("start")` matches "/start", "/start args" and "/start@this_bot", but not a command for another bot.

    In a text or a caption, if Telegram marks it as a command: not in code. With a `help` text its first name is in the
    bot's menus, `shown` to all or to some, and in the answer to /help (telegram/dialogue/menus.py).
    """

    def __init__(self, *names: str, help: str | None = None, shown: Shown = "all") -> None:  # noqa: A002
        if not names or any(not name or name.startswith("/") for name in names):
            raise ValueError(f"command() wants names without the slash, not {names!r}")
        if wrong := [name for name in names if not is_name(name)]:
            raise ValueError(
                f"Telegram knows no command /{wrong[0]}: a name has letters from a to z, digits and _"
            )
        self._names = frozenset(name.lower() for name in names)
        self._usage = names[0]
        self.menu: MenuLine | None = None if help is None else menu_line(names, help, shown)
        self.label = " or ".join(f"/{name}" for name in names)
        self.hint: Final = Hint(self._names)

    def __call__(self, ctx: Context) -> bool:
        """Return whether the update is one of the commands."""
        return ctx.command in self._names

    def parse(self, model: type[M]) -> Extract[M]:
        """Extract the command's arguments as a `model`: one word per field in order, the rest for the last field.

        If they are invalid, the user gets the error and the usage (Invalid).
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
                return read_fields(model, dict(zip(names, words, strict=False)))
            except ValidationError as error:
                raise Invalid(f"{first_of(error)}\nWrite it like this: {usage}") from None

        found = _Parsed(model, read, self.hint, usage)
        found.menu = self.menu and self.menu._replace(usage=usage)
        return found

    @property
    def payload(self) -> Extract[str]:
        """Extract the text after the command, if there is any, e.g. the payload of a deep link in /start."""
        found = _HintedExtract(
            str, lambda ctx: (ctx.args or None) if self(ctx) else None, self.hint, f"{self.label} <payload>"
        )
        found.menu = self.menu
        return found


def text(ctx: Context) -> bool:
    """Match any text that is not a command, for any bot. Captions do not match: see `text_or_caption`."""
    return bool(ctx.text) and not ctx.is_command


def regex(pattern: str | re.Pattern[str]) -> Extract[re.Match[str]]:
    """Extract the first match of `pattern` in a text; captions do not match."""
    compiled = re.compile(pattern)
    search = compiled.search
    label = f"text like {compiled.pattern}"
    return Extract(re.Match, lambda ctx: search(ctx.text) if ctx.text else None, label)


@final
class data:  # noqa: N801 - as command
    """Matches a button whose callback data is one of `values`."""

    def __init__(self, *values: str) -> None:
        self._values = frozenset(values)
        self.label = f"{' or '.join(map(repr, values))} button"
        self.hint: Final = Hint(frozenset(first_word(value) for value in values))

    def __call__(self, ctx: Context) -> bool:
        """Return whether such a button was pressed."""
        return ctx.button in self._values


def data_prefix(prefix: str) -> Filter:
    """Match a button whose callback data begins with `prefix`."""
    return _named(f"{prefix}… button", lambda ctx: ctx.button is not None and ctx.button.startswith(prefix))


def carries(model: type[D]) -> Extract[D]:
    """Extract typed callback data; `@router.callback_query(Vote)` is the same as `...(carries(Vote))`."""
    return _HintedExtract(
        model,
        lambda ctx: None if ctx.button is None else model.unpack(ctx.button),
        Hint(frozenset((model.prefix,))),
        f"{model.__name__} button",
    )


def first_word(data: str) -> str:
    """Return the part of callback data before the first colon: its prefix, if it is typed."""
    return data.partition(":")[0]


class kind:  # noqa: N801 - as command
    """Matches updates of these kinds, named as in Telegram's Update: `kind("my_chat_member", "chat_member")`."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = frozenset(kinds)
        self.label = " or ".join(kinds)

    def __call__(self, ctx: Context) -> bool:
        """Return whether the update is of one of the kinds."""
        return ctx.kind in self.kinds


def chat_type(*kinds: str) -> Filter:
    """Match updates of chats of these types: "private", "group", "supergroup", "channel"."""
    wanted = frozenset(kinds)
    return _named(
        f"in a {' or '.join(kinds)} chat", lambda ctx: part(part(ctx.source, "chat"), "type") in wanted
    )


class any_of:  # noqa: N801 - as command
    """Matches updates that pass at least one of the filters, e.g. `any_of(photo, video)`; extracts pass no value here."""

    def __init__(self, *filters: AnyFilter) -> None:
        self._asked = tuple(as_predicate(each) for each in filters)
        self.label = " or ".join(map(label_of, self._asked))
        named: list[frozenset[str]] = [kinds for each in filters if (kinds := getattr(each, "kinds", None))]
        self.kinds = frozenset[str]().union(*named) if len(named) == len(filters) else None

    def __call__(self, ctx: Context) -> bool:
        """Return whether one of the filters passes."""
        return any(passes(ctx) for passes in self._asked)


def no(unwanted: AnyFilter) -> Filter:
    """Match updates that do not pass the filter."""
    passes = as_predicate(unwanted)
    return _named(f"not {label_of(passes)}", lambda ctx: not passes(ctx))


def checked_filters(filters: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the filters, with types of callback data as extracts; TypeError for anything else."""
    filters = tuple(
        carries(each) if isinstance(each, type) and issubclass(each, CallbackData) else each
        for each in filters
    )
    check_filters(each for each in filters if not isinstance(each, Extract))
    return filters


def check_filters(filters: Iterable[Any]) -> None:
    """Raise TypeError for anything but a predicate."""
    for passes in filters:
        if isinstance(passes, Extract):
            raise TypeError(
                f"{passes.label} hands a value over, and no handler takes it here: write any_of(...)"
            )
        if isinstance(passes, Limit):
            raise TypeError(
                "throttle(...) counts, so it is no condition: it stands among the filters of a handler or a router"
            )
        if isinstance(passes, type) or not callable(passes) or is_async(passes):
            raise TypeError(
                f"a filter is a plain function of the Context that returns a bool, not {passes!r}{_advice(passes)}"
            )


def _advice(given: Any) -> str:
    return "; above a handler write the parentheses, too: @router.message()" if is_async(given) else ""


def as_predicate(wanted: AnyFilter) -> Filter:
    """Return a filter or an extract as a predicate; TypeError for anything else.

    A value that an extract cannot parse (a command's arguments) does not pass.
    """
    if not isinstance(wanted, Extract):
        check_filters((wanted,))
        return wanted
    read = wanted.read

    def finds(ctx: Context) -> bool:
        try:
            return read(ctx) is not None
        except Invalid:
            return False

    return _named(wanted.label, finds)


def content(*names: str) -> Filter:
    """Match messages that have one of these fields of Telegram's Message: `content("photo", "new_chat_members")`."""
    unknown = [name for name in names if name not in types.Message.model_fields]
    if unknown or not names:
        raise ValueError(f"a Message has no {', '.join(unknown) or 'field without a name'}")
    return _Content(*names)


class _Content:
    def __init__(self, *names: str) -> None:
        self._names = names
        self.label = " or ".join(names)
        self.hint: Final = _hint_of_content(names)

    def __call__(self, ctx: Context) -> bool:
        if self.hint.without_text and ctx.text:
            return False
        return any(part(ctx.source, name) is not None for name in self._names)


def _hint_of_content(names: Sequence[str]) -> Hint:
    """Return the hint: a message has a text or media, never both (Telegram Bot API, Message: text, "for text messages")."""
    return Hint(without_text=MEDIA.issuperset(names))


def _content(type_: Any, name: str) -> Extract[Any]:
    def read(ctx: Context) -> Any:
        return None if ctx.text else part(ctx.event, name)

    return _HintedExtract(type_, read, _hint_of_content((name,)), name)


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

_WITH_HINT: Final = frozenset((command, data, _Content, _HintedExtract, _Parsed))
