"""Generates telegram/botapi/collected.py, the shortcuts of collected calls, and collected.pyi with their signatures."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from telegram.botapi.generate import GENERATED, hint_of, own_name, used_in
from telegram.botapi.schema import Field, Method, Schema

_PLACE: Final = ("chat_id", "message_thread_id", "business_connection_id", "direct_messages_topic_id")
_ITSELF: Final = ("chat_id", "message_id", "business_connection_id", "inline_message_id")
_SOURCE: Final = ("from_chat_id", "message_id")
_QUERY: Final = ("callback_query_id",)
_BY_HAND: Final = ("getUpdates",)
_AS_TEXT: Final = {"KeyboardButton", "InputPollOption"}  # telegram/botapi/values.py


class _Shortcut(NamedTuple):
    name: str
    method: str
    doc: str = ""
    filled: str | None = None
    has: tuple[str, ...] = ()
    """What is filled in, if the method has it."""
    given: tuple[str, ...] = ()
    """Optional parameters that may be given without a name, as the required ones."""
    without: tuple[str, ...] = ()
    """What is filled in and cannot be given."""


_OF_A_MESSAGE: Final = (
    _Shortcut("edit_caption", "editMessageCaption", "Replace the caption; None removes it", "_itself", _ITSELF, ("caption",), _ITSELF),
    _Shortcut("edit_media", "editMessageMedia", "Replace the photo, the video, ... and the caption", "_itself", _ITSELF, (), _ITSELF),
    _Shortcut("edit_reply_markup", "editMessageReplyMarkup", "Replace the buttons; None removes them", "_itself", _ITSELF, ("reply_markup",), _ITSELF),
)  # fmt: skip

_MESSAGE_ONLY: Final = (
    _Shortcut("edit_text", "editMessageText", "Replace the text of one of the bot's own messages", "_itself", _ITSELF, ("text",), _ITSELF),
    *_OF_A_MESSAGE,
    _Shortcut("delete", "deleteMessage", "Delete it (at most 48 hours old; others' messages need the right to)", "_itself", _ITSELF, (), _ITSELF),
    _Shortcut("pin", "pinChatMessage", "Pin it", "_itself", _ITSELF, (), _ITSELF),
    _Shortcut("unpin", "unpinChatMessage", "Unpin it", "_itself", _ITSELF, (), _ITSELF),
    _Shortcut("react", "setMessageReaction", "Replace the bot's reactions to it; None removes them", "_itself", _ITSELF, ("reaction",), _ITSELF),
    _Shortcut("forward_to", "forwardMessage", "Forward it to a chat", "_from_here", _SOURCE, (), _SOURCE),
    _Shortcut("copy_to", "copyMessage", "Send a copy of it to a chat", "_from_here", _SOURCE, (), _SOURCE),
)  # fmt: skip

_ANSWER: Final = _Shortcut(
    "answer", "answerCallbackQuery", "Answer the press, so that the button stops waiting; `text` is shown as a notice",
    "_query", _QUERY, ("text",), _QUERY,
)  # fmt: skip

_SEND: Final = _Shortcut("send", "sendMessage", "Send `text` to any chat", "_anywhere")


_NAMED: Final = tuple(
    each for each in _MESSAGE_ONLY if each.name in {"edit_text", "edit_caption", "edit_media", "edit_reply_markup", "delete", "pin", "unpin", "react"}
)  # fmt: skip


class _Class(NamedTuple):
    name: str
    doc: str
    shortcuts: tuple[_Shortcut, ...]
    slots: str = "()"


def _classes(schema: Schema) -> Iterator[_Class]:
    every = [each for each in schema.methods if each not in _BY_HAND]
    replies = tuple(
        _Shortcut(
            "reply" if name == "sendMessage" else f"reply_{own_name(name).removeprefix('send_')}", name,
            "Send it to the chat, in the topic or business connection of the update; `quote=True`: as a reply to its message",
            "_place", _PLACE, (), ("chat_id", "business_connection_id"),
        )
        for name in every
        if name.startswith("send") and any(each.name == "chat_id" and each.required for each in schema.methods[name].params)
    )  # fmt: skip
    answer = replies[0]._replace(name="answer", doc="The same as `reply`")
    yield _Class("Sends", "The shortcut of every context.", (_SEND,))
    yield _Class("Replies", "Shortcuts of contexts with a chat.", replies)
    yield _Class(
        "Presses", "Shortcuts of a pressed button, and of the message with it.", (_ANSWER, *_OF_A_MESSAGE)
    )
    yield _Class("MessageCalls", "Shortcuts of a message.", (*replies, answer, *_MESSAGE_ONLY))
    yield _Class("NamedCalls", "Shortcuts of a named message.", _NAMED)
    yield _Class("QueryCalls", "The shortcut of a pressed button.", (_ANSWER,))
    calls = tuple(_Shortcut(own_name(name), name) for name in every)
    yield _Class(
        "Calls",
        "Every method of the Bot API, collected: `ctx.calls.ban_chat_member(...)`.",
        calls,
        '("_collected",)',
    )


def collected_module(schema: Schema) -> str:
    """Return the text of telegram/botapi/collected.py: the shortcuts, without signatures, which would slow the import."""
    lines = [
        f'"""Shortcuts of collected calls; their signatures are in collected.pyi.\n\n{GENERATED}\n"""\n',
        "from collections.abc import Callable\nfrom typing import Any, Final\n",
        "from telegram.botapi.collecting import collects\n",
    ]
    sets: dict[tuple[str, ...], str] = {}
    body: list[str] = []
    for each in _classes(schema):
        body += [f'\n\nclass {each.name}:\n    """{each.doc}"""\n', f"    __slots__ = {each.slots}\n"]
        if each.slots != "()":
            body.append(
                "    def __init__(self, collect: Callable[[str, dict[str, Any]], None]) -> None:\n"
                "        self._collected = collect\n"
            )
        body += [
            f"    {shortcut.name} = {_made(shortcut, schema.methods[shortcut.method], sets)}"
            for shortcut in each.shortcuts
        ]
    lines += [f"{name}: Final = frozenset({names!r})" for names, name in sets.items()]
    return "\n".join([*lines, *body, ""])


def _made(shortcut: _Shortcut, method: Method, sets: dict[tuple[str, ...], str]) -> str:
    names = ", names=True" if _names(method) else ""
    if shortcut.filled is None:
        return f'collects("{shortcut.name}", "{shortcut.method}"{names})'
    known = [each.name for each in method.params]
    has = tuple(each for each in shortcut.has if each in known)
    filled = sets.setdefault(has, f"_FILLED_{len(sets)}")
    positional = tuple(each.name for each in _positional(shortcut, method))
    quotes = ", quotes=True" if _quotes(shortcut, method) else ""
    return f'collects("{shortcut.name}", "{shortcut.method}", "{shortcut.filled}", {filled}, {positional!r}{quotes}{names})'


def _positional(shortcut: _Shortcut, method: Method) -> list[Field]:
    if shortcut.filled is None:
        return []
    given = [each for each in method.params if each.required and each.name not in shortcut.without]
    return given + [each for each in method.params if each.name in shortcut.given and each not in given]


def _quotes(shortcut: _Shortcut, method: Method) -> bool:
    return shortcut.filled == "_place" and any(each.name == "reply_parameters" for each in method.params)


def _names(method: Method) -> bool:
    """Return whether the method sends a message, which can be given a name."""
    sent = {"Message", "MessageId", "Array of Message", "Array of MessageId"}
    return method.name.startswith(("send", "copy", "forward")) and not sent.isdisjoint(method.returns)


def _parses(method: Method) -> bool:
    """Return whether the method has a text with a parse mode, also inside of an object (contexts/defaults.py)."""
    inside = {"media", "results", "result", "options", "checklist"}
    return any(each.name.endswith("parse_mode") or each.name in inside for each in method.params)


def collected_stub(schema: Schema) -> str:
    """Return the text of telegram/botapi/collected.pyi."""
    classes = list(_classes(schema))
    body = "\n".join(_stub_class(each, schema) for each in classes)
    params = _params(
        "SendMessageParams",
        "Optional parameters of sendMessage.",
        schema.methods["sendMessage"],
        ("chat_id", "text"),
    )
    params += (
        "class TextParams(SendMessageParams, total=False):\n"
        '    """The same, and the fallback of a text that cannot be parsed."""\n\n    fallback: FallbackStr | None\n\n'
    )
    params += _params(
        "AnswerParams",
        "Optional parameters of answerCallbackQuery.",
        schema.methods["answerCallbackQuery"],
        ("callback_query_id", "text"),
    )
    params += _params(
        "EditTextParams",
        "Optional parameters of editMessageText for a known message.",
        schema.methods["editMessageText"],
        ("chat_id", "message_id", "inline_message_id", "text"),
    )
    body = f"{body}\n{params}"
    names = sorted(
        {name for each in schema.methods.values() for field in each.params for name in used_in(field.types)}
    )
    names = [name for name in names if re.search(rf"\b{name}\b", body) and name != "InputFile"]
    literals = sorted(set(re.findall(r"\b\w+Str\b", body)))
    return (
        f'"""The signatures of the shortcuts of collected calls.\n\n{GENERATED}\n"""\n\n'
        "from collections.abc import Callable, Sequence\nfrom typing import Any, TypedDict\n\n"
        f"from telegram.botapi.constants import {', '.join(literals)}\n"
        "from telegram.botapi.files import InputFile\n"
        f"from telegram.botapi.types import ({', '.join(names)})\n\n{body}"
    )


def _stub_class(each: _Class, schema: Schema) -> str:
    lines = [f"class {each.name}:", f'    """{each.doc}"""\n']
    if each.slots != "()":
        lines.append("    def __init__(self, collect: Callable[[str, dict[str, Any]], None]) -> None: ...")
    lines += [_signature(shortcut, schema.methods[shortcut.method]) for shortcut in each.shortcuts]
    return "\n".join(lines) + "\n"


def _signature(shortcut: _Shortcut, method: Method) -> str:
    positional = _positional(shortcut, method)
    ordered = sorted(method.params, key=lambda field: not field.required)
    others = [each for each in ordered if each not in positional and each.name not in shortcut.without]
    given, named = ([_param(each, method.name) for each in some] for some in (positional, others))
    params = ["self", *given, *(["*"] if named or _names(method) or _parses(method) else []), *named]
    if _quotes(shortcut, method):
        params.append("quote: bool | NamedCalls = ...")
    if _names(method):
        params.append("name: str | None = ...")
    if _parses(method):
        params.append("fallback: FallbackStr | None = ...")
    doc = f"{shortcut.doc}: " if shortcut.doc else ""
    return f'    def {shortcut.name}({", ".join(params)}) -> None:\n        """{doc}Telegram Bot API, {method.name}."""\n'


def _param(field: Field, method: str) -> str:
    return f"{field.name}: {_accepted(field, method)}" + ("" if field.required else " | None = ...")


def _accepted(field: Field, method: str = "") -> str:
    """Return the hint of a parameter; a Sequence, as a `list[InputMediaPhoto]` is no `list[InputMedia]` for mypy."""
    hint = hint_of(field, method).replace("list[", "Sequence[")
    hint = hint.replace(
        "Sequence[MessageEntity]", "Sequence[MessageEntity | dict[str, Any]]"
    )  # of telegram/text
    return re.sub(rf"\b({'|'.join(sorted(_AS_TEXT))})\b(?=\])", r"\1 | str", hint)


def _params(name: str, doc: str, method: Method, without: tuple[str, ...]) -> str:
    fields = [each for each in method.params if each.name not in without]
    lines = "".join(f"    {each.name}: {_accepted(each)} | None\n" for each in fields)
    return f'class {name}(TypedDict, total=False):\n    """{doc}"""\n\n{lines}\n'
