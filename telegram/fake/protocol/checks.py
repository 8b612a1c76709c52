"""Checks parameters against the schema, so that a wrong call fails in a test and not in production.

Each method has one check, built at its first use from telegram/botapi/schema.json: all required parameters are present,
and all parameters have their type, including all fields of nested objects. The error texts are those of the real server
where they are known. A check is either

lenient  accepts what real clients send: unknown parameters, numbers for strings, nested objects without Boolean fields
         (older clients), invalid entities (the real server ignores them)
strict   refuses everything that is not in the schema, such as a typo in an optional parameter
"""

import json
from functools import cache
from typing import Any, NamedTuple

from telegram.botapi.schema import Field

from .answers import ApiError, bad_request
from .markup import inline_only, reply_markup
from .params import Params, Upload
from .shapes import Check, InvalidValue, Types, anything, attached, floating, integer, schema

_BOOLEAN_TEXTS = frozenset({"true", "false", "yes", "no", "1", "0"})
_CHECKED_BY_THE_METHOD = frozenset({"commands"})  # with the server's error texts

_WORDS = {"reply_markup": "reply keyboard markup"}
_OBJECT_WORDS = {"reply_markup": "reply markup"}
_ABSENT = {
    ("sendMessage", "text"): "message text is empty",
    ("deleteMessage", "chat_id"): "chat identifier is not specified",
    ("deleteMessage", "message_id"): "message identifier is not specified",
    ("getChatMember", "user_id"): "invalid user_id specified",
    ("getFile", "file_id"): "file_id not specified",
}
"""Error texts of the real server for missing parameters."""


class _Checks(NamedTuple):
    """The checks of one method: by parameter, and the error text for each required one that is missing."""

    params: dict[str, Check]
    required: dict[str, str]
    never_empty: frozenset[str]  # required ones for which an empty text counts as missing


def check(method: str, params: Params, *, strict: bool = False) -> None:
    """Raise ApiError 400 if `params` are invalid for `method` (its name in the documented case)."""
    checks = _checks(method, strict)
    for name, refusal in checks.required.items():
        if name not in params or (params[name] == "" and name in checks.never_empty):
            raise bad_request(refusal)
    for name, value in params.items():
        found = checks.params.get(name)
        if found is None:
            if strict:
                _refuse_unknown(name, params)
        elif value != "":  # an empty text counts as absent
            try:
                found(value, params)
            except InvalidValue as wrong:
                raise _refusal(name, wrong) from None
            except RecursionError:
                raise bad_request(f'parameter "{name}" is nested too deeply') from None


def _refusal(name: str, wrong: InvalidValue) -> ApiError:
    if not wrong.path and wrong.problem.startswith(("can't parse", "object expected", "there is no")):
        return bad_request(wrong.problem)
    return bad_request(f'parameter "{name}"{wrong.path}: {wrong.problem}')


def _refuse_unknown(name: str, params: Params) -> None:
    if isinstance(params[name], Upload) and f"attach://{name}" in json.dumps(params):
        return
    raise bad_request(f'unknown parameter "{name}"')


@cache
def _checks(name: str, strict: bool) -> _Checks:
    method = schema().methods[name]
    types = Types(strict)
    required = [field for field in method.params if field.required]
    return _Checks(
        {
            field.name: _parameter(field, types)
            for field in method.params
            if field.name not in _CHECKED_BY_THE_METHOD
        }
        | {field.name: anything for field in method.params if field.name in _CHECKED_BY_THE_METHOD},
        {field.name: _ABSENT.get((name, field.name)) or _absent(field) for field in required},
        frozenset(field.name for field in required if "String" not in field.types),
    )


def _absent(field: Field) -> str:
    if "InputFile" in field.types:
        return f"there is no {field.name} in the request"
    return "chat_id is empty" if field.name == "chat_id" else f'parameter "{field.name}" is required'


# -- the value of a parameter: text or JSON -----------------------------------------------------------------------


def _parameter(field: Field, types: Types) -> Check:
    kinds = field.types
    if "InputFile" in kinds or field.attach:
        return _file(field.name, text_too="String" in kinds)
    if kinds == ("Integer", "String"):
        return _integer_or_text
    plain = {"Integer": integer, "Boolean": _boolean, "Float": floating, "String": types.string}
    if kinds[0] in plain:
        return plain[kinds[0]]
    words, spaced = _WORDS.get(field.name), field.name.replace("_", " ")
    expected = _OBJECT_WORDS.get(field.name, spaced)
    is_array = kinds[0].startswith("Array of ")
    inner = types.alternatives(kinds)
    if field.name.endswith("entities") and not types.strict:
        return anything

    def structured(value: Any, params: Params) -> None:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise InvalidValue(f"can't parse {words or spaced} JSON object") from None
        if not is_array and not isinstance(value, dict):
            raise InvalidValue(f"object expected as {expected}")
        inner(value, params)

    if field.name == "reply_markup":
        return _markup(structured, is_inline=kinds == ("InlineKeyboardMarkup",))
    return structured


def _markup(check: Check, *, is_inline: bool) -> Check:
    """Wrap a check so that errors of a reply_markup have the server's texts, where these are known."""

    def markup(value: Any, params: Params) -> None:
        try:
            check(value, params)
        except InvalidValue:
            markup = reply_markup(params)
            if is_inline:
                inline_only(markup)
            raise

    return markup


def _boolean(value: Any, _params: Params) -> None:
    if isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in _BOOLEAN_TEXTS):
        return
    raise InvalidValue("must be a Boolean")


def _integer_or_text(value: Any, _params: Params) -> None:
    if type(value) is not int and not isinstance(value, str):
        raise InvalidValue("must be an Integer or a String")


def _file(name: str, *, text_too: bool) -> Check:
    def file(value: Any, params: Params) -> None:
        if isinstance(value, Upload):
            return
        if not isinstance(value, str):
            raise InvalidValue(f"there is no {name} in the request")
        if value.startswith("attach://"):
            attached(value, params)
        elif not text_too:
            raise InvalidValue("must be an uploaded file")

    return file
