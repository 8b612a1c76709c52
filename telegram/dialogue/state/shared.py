"""Data of a chat, of a user in all chats, or of the whole bot: `ctx.chat_data`, `ctx.user_data`, `ctx.bot_data`.

Each is a state of its own in the store, read before the handler and compared at the commit (`Effects.states`): if another
lane has changed it meanwhile, the update is handled again. It is declared on a router, which says that it is to be read:

    settings = router.chat_data(Settings, version=2, migrate=convert)

    @router.message(command("quiet"))
    async def quiet(ctx: MessageContext) -> None:
        settings(ctx).quiet = True          # a Settings, for the type checker, too; the same as ctx.chat_data
"""

import json
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from pydantic import BaseModel

from engine import Reject
from telegram.dialogue.state.conversation import Conversation, Where
from telegram.dialogue.state.kept import check_models, encode_kept, fields_of, read_fields, written
from telegram.dialogue.state.scopes import CHAT, USER, place_of_scope

if TYPE_CHECKING:
    from telegram.dialogue.contexts.context import Context

M = TypeVar("M")

Migrate = Callable[[int, dict[str, Any]], dict[str, Any]]
"""Gets the version and the data as stored; returns the data for the current model."""

BOT_KEY: Final = "bot"
"""The key of the bot's data, which is of no lane."""

_CHATS: Final = ("chat:", "business:", "guest:")


class Shared(Generic[M]):
    """One declaration, created by `Router.chat_data`, `user_data` or `bot_data`; called with a context it returns the data."""

    def __init__(self, name: str, model: type[M], version: int, migrate: Migrate | None) -> None:
        if not isinstance(model, type) or not (model is dict or issubclass(model, BaseModel)):
            raise TypeError(f"{name}: a pydantic model, or dict, not {model!r}")
        if issubclass(model, BaseModel) and (
            needed := [field for field, each in model.model_fields.items() if each.is_required()]
        ):
            raise TypeError(f"{name}: give every field of {model.__name__} a default: {', '.join(needed)}")
        if type(version) is not int:
            raise TypeError(f"{name}: version is an int, not {version!r}")
        self.name = name
        self.model = model
        self.version = version
        self.migrate = migrate

    def __call__(self, ctx: "Context") -> M:
        """Return the data of this update, to be changed in place. ValueError if it has no chat, or no user."""
        return cast("M", data_of(ctx, self.name, (self.name,)))

    def where(self, ctx: "Context") -> Where | None:
        """Return key and scope of the state for this update; None if it has none."""
        if self.name == "bot_data":
            return BOT_KEY, "~bot_data"
        place = place_of_scope(CHAT if self.name == "chat_data" else USER, ctx)
        if place is None or (self.name == "chat_data" and not place.key.startswith(_CHATS)):
            return None
        return place.key, f"~{self.name}"

    def lend(self, ctx: "Context", where: Where, was: bytes | None) -> None:
        """Add the state `was`, which was read at `where`, to the context's memory."""
        ctx.memory.lend(f"~{self.name}", where, was, partial(SharedData, self))


class SharedData(Conversation):
    """The stored form of one: {"version": ..., "data": {...}}."""

    __slots__ = ("_shared", "_value", "_was_value")

    def __init__(self, shared: Shared[Any], was: bytes | None) -> None:
        self.was = was
        self._shared = shared
        self._value: Any = None  # read at the first use
        self._was_value: dict[str, Any] = {}

    @property
    def value(self) -> Any:
        """The data, to be changed in place. Reject if what is stored is not valid."""
        if self._value is None:
            self._value = self._read()
            self._was_value = self._fields()
        return self._value

    def encoded(self) -> bytes | None:
        """Return the state to save: what it was, if the handler has not changed it. NotKept for what JSON would change."""
        if self._value is None:
            return self.was
        shared, value = self._shared, self._value
        if isinstance(value, BaseModel):
            made = read_fields(type(value), fields_of(value), strict=None)
            check_models(value, made, shared.name)
            data = written(made, shared.name)
        else:
            encode_kept(value, shared.name)
            data = value
        if data == self._was_value:
            return self.was
        if not data:
            return None
        return encode_kept({"version": shared.version, "data": data}, shared.name)

    def _read(self) -> Any:
        shared = self._shared
        version: Any = None
        try:
            stored: dict[str, Any] = (
                {"version": shared.version, "data": {}} if self.was is None else json.loads(self.was)
            )
            version, data = stored["version"], stored["data"]
            if version != shared.version and shared.migrate is not None:
                data = shared.migrate(version, data)
            if shared.model is dict:
                return dict(data)
            return read_fields(shared.model, data)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise Reject(
                f"{shared.name} cannot be read (version {version}, this one is {shared.version}): {error}"
            ) from None

    def _fields(self) -> dict[str, Any]:
        """Return a copy of the data as JSON types, to compare with."""
        if isinstance(self._value, BaseModel):
            return written(self._value, self._shared.name)
        copied: dict[str, Any] = json.loads(encode_kept(self._value, self._shared.name))
        return copied


def data_of(ctx: "Context", name: str, names: Collection[str]) -> Any:
    """Return the data of `ctx.<name>`; `names`: those that routers declare. RuntimeError if it is none of them, ValueError if the update has none."""
    slot = f"~{name}"
    if ctx.memory.has(slot):
        return cast("SharedData", ctx.memory.of(slot)).value
    if name not in names:
        raise RuntimeError(f"no router declares {name}: write router.{name}(Model), or router.{name}(dict)")
    what = "chat" if name == "chat_data" else "user"
    raise ValueError(f"{name}: this {ctx.kind} has no {what}")


def declared(found: "list[Shared[Any]]") -> dict[str, Shared[Any]]:
    """Return the declarations by name. ValueError if two of one name differ."""
    by_name: dict[str, Shared[Any]] = {}
    for each in found:
        other = by_name.setdefault(each.name, each)
        if other is not each:
            raise ValueError(
                f"{each.name} is declared twice, with {other.model.__name__} and {each.model.__name__}: "
                f"declare it once, and import it"
            )
    return by_name
