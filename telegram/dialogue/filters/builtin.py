"""Filters of handlers: predicates, and extracts, which also pass a value to the handler.

A predicate is any plain function of the Context that returns a bool. An extract has a type, and its value is passed to the
handler as an argument after the context:

    @router.message(photo)
    async def picture(ctx: MessageContext, sizes: list[PhotoSize]) -> None: ...
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeVar, final

from pydantic import BaseModel, ValidationError

from telegram.botapi import types
from telegram.botapi.shortcuts import part
from telegram.dialogue.buttons.callback_data import CallbackData
from telegram.dialogue.contexts.commands import MenuLine, Shown, check_prefix, is_name, menu_line
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.invalid import Invalid, first_of
from telegram.dialogue.filters.conditions import (
    AllWith,
    AnyFilter,
    Condition,
    Extract,
    Filter,
    T,
    any_of,
    as_parts,
    as_predicate,
    check_filters,
    label_of,
    no,
)
from telegram.dialogue.state.kept import read_fields

__all__ = [
    "AnyFilter",
    "Extract",
    "Filter",
    "Invalid",
    "any_of",
    "as_predicate",
    "check_filters",
    "label_of",
    "no",
]

MEDIA: Final = frozenset((
    "animation", "audio", "contact", "dice", "document", "game", "invoice", "live_photo", "location", "paid_media",
    "photo", "poll", "sticker", "story", "successful_payment", "venue", "video", "video_note", "voice",
))  # fmt: skip
"""Fields of which a message has one instead of a text (Telegram Bot API, Message)."""

M = TypeVar("M", bound=BaseModel)
D = TypeVar("D", bound=CallbackData)


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
        if type(each) is _Parsed or isinstance(each, AllWith):
            break
    return Hint(words, without_text)


class _HintedExtract(Extract[T]):
    menu: MenuLine | None = None

    def __init__(self, type_: Any, read: Callable[[Context], T | None], hint: Hint, label: str) -> None:
        super().__init__(type_, read, label)
        self.hint = hint


class _Parsed(_HintedExtract[T]):
    """Raises Invalid if the value is there but cannot be parsed."""


class _Where(Condition[Context]):
    """A predicate of this module."""

    def __init__(self, label: str, passes: Filter) -> None:
        self.label = label
        self._passes = passes

    def __call__(self, ctx: Context) -> bool:
        return self._passes(ctx)


@final
class command(Condition[Context]):  # noqa: N801 - read as a word: @router.message(command("start"))
    """`command("start")` matches "/start", "/start args" and "/start@this_bot", but not a command for another bot.

    In a text or a caption, if Telegram marks it as a command: not in code. With a `help` text its first name is in the
    bot's menus, `shown` to all or to some, and in the answer to /help (telegram/dialogue/router/menus.py).

    `command("add", prefix="!/")` matches "!add", too: any of the characters of `prefix` stands before the name. The filter
    `text` takes such texts, since Telegram marks commands with a slash only: put the command above it.
    """

    def __init__(
        self,
        *names: str,
        help: str | None = None,  # noqa: A002
        shown: Shown = "all",
        prefix: str = "/",
    ) -> None:
        if not names or any(not name or name.startswith("/") for name in names):
            raise ValueError(f"command() wants names without the slash, not {names!r}")
        self.prefixes: Final = check_prefix(prefix)
        """The characters before the name other than "/", which are the author's own: Telegram does not mark them."""
        if wrong := [name for name in names if not is_name(name, is_marked="/" in prefix)]:
            raise ValueError(
                f"Telegram knows no command /{wrong[0]}: a name has letters from a to z, digits and _"
                if "/" in prefix
                else f"{wrong[0]!r} is no name of a command: it has letters, digits and _"
            )
        self._names = frozenset(name.lower() for name in names)
        sign = "/" if "/" in prefix else prefix[0]
        self._usage = f"{sign}{names[0]}"
        self._is_marked = "/" in prefix
        if help is not None and not self._is_marked:
            raise ValueError(f"Telegram's menus show commands with a slash only, not {self._usage}")
        self.menu: MenuLine | None = None if help is None else menu_line(names, help, shown)
        self.label = " or ".join(f"{sign}{name}" for name in names)
        self.hint: Final = NO_HINT if self.prefixes else Hint(self._names)

    def __call__(self, ctx: Context) -> bool:
        """Return whether the update is one of the commands."""
        if self._is_marked and ctx.command in self._names:
            return True
        return bool(self.prefixes) and ctx.split_command(self.prefixes)[0] in self._names

    def args(self, ctx: Context) -> str:
        """Return the text after the command, which the update is."""
        if self._is_marked and ctx.command in self._names:
            return ctx.args
        return ctx.split_command(self.prefixes)[1]

    def parse(self, model: type[M]) -> Extract[M]:
        """Extract the command's arguments as a `model`: one word per field in order, the rest for the last field.

        If they are invalid, the user gets the error and the usage (Invalid).
        """
        names = list(model.model_fields)
        usage = " ".join(
            [self._usage]
            + [
                f"<{name}>" if field.is_required() else f"[{name}]"
                for name, field in model.model_fields.items()
            ]
        )

        def read(ctx: Context) -> M | None:
            if not self(ctx):
                return None
            words = self.args(ctx).split(maxsplit=len(names) - 1) if names else []
            try:
                return read_fields(model, dict(zip(names, words, strict=False)))
            except ValidationError as error:
                how = ctx.t("Write it like this: {usage}", usage=usage)
                raise Invalid(f"{first_of(error, ctx)}\n{how}") from None

        found = _Parsed(model, read, self.hint, usage)
        found.menu = self.menu and self.menu._replace(usage=usage)
        return found

    @property
    def payload(self) -> Extract[str]:
        """Extract the text after the command, if there is any, e.g. the payload of a deep link in /start."""
        found = _HintedExtract(
            str,
            lambda ctx: (self.args(ctx) or None) if self(ctx) else None,
            self.hint,
            f"{self.label} <payload>",
        )
        found.menu = self.menu
        return found


class _Text(Condition[Context]):
    label = "text"

    def __call__(self, ctx: Context) -> bool:
        return bool(ctx.text) and not ctx.is_command


text: Final = _Text()
"""Matches any text that is not a command, for any bot. Captions do not match: see `text_or_caption`."""


def regex(pattern: str | re.Pattern[str]) -> Extract[re.Match[str]]:
    """Extract the first match of `pattern` in a text; captions do not match."""
    compiled = re.compile(pattern)
    search = compiled.search
    label = f"text like {compiled.pattern}"
    return Extract(re.Match, lambda ctx: search(ctx.text) if ctx.text else None, label)


@final
class button(Condition[Context]):  # noqa: N801 - as command
    """Matches a button whose callback data is one of `values`."""

    def __init__(self, *values: str) -> None:
        self._values = frozenset(values)
        self.label = f"{' or '.join(map(repr, values))} button"
        self.hint: Final = Hint(frozenset(first_word(value) for value in values))

    def __call__(self, ctx: Context) -> bool:
        """Return whether such a button was pressed."""
        return ctx.button in self._values


def button_prefix(prefix: str) -> Condition[Context]:
    """Match a button whose callback data begins with `prefix`."""
    return _Where(f"{prefix}… button", lambda ctx: ctx.button is not None and ctx.button.startswith(prefix))


data = button
data_prefix = button_prefix
"""Former names: `ctx.data` and a flow's data are something else."""


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


class kind(Condition[Context]):  # noqa: N801 - as command
    """Matches updates of these kinds, named as in Telegram's Update: `kind("my_chat_member", "chat_member")`."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = frozenset(kinds)
        self.label = " or ".join(kinds)

    def __call__(self, ctx: Context) -> bool:
        """Return whether the update is of one of the kinds."""
        return ctx.kind in self.kinds


def chat_type(*kinds: str) -> Condition[Context]:
    """Match updates of chats of these types: "private", "group", "supergroup", "channel"."""
    wanted = frozenset(kinds)
    return _Where(
        f"in a {' or '.join(kinds)} chat", lambda ctx: part(part(ctx.source, "chat"), "type") in wanted
    )


def checked_filters(filters: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the filters: types of callback data as extracts, async filters as conditions; TypeError for anything else."""
    filters = tuple(
        carries(each) if isinstance(each, type) and issubclass(each, CallbackData) else each
        for each in filters
    )
    return as_parts(filters)


def content(*names: str) -> Condition[Context]:
    """Match messages that have one of these fields of Telegram's Message: `content("photo", "new_chat_members")`."""
    unknown = [name for name in names if name not in types.Message.model_fields]
    if unknown or not names:
        raise ValueError(f"a Message has no {', '.join(unknown) or 'field without a name'}")
    return _Content(*names)


class _Content(Condition[Context]):
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

_WITH_HINT: Final = frozenset((command, button, _Content, _HintedExtract, _Parsed))
