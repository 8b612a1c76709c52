"""What filters are made of: conditions and extracts, and their combinations with `&`, `|` and `~`.

A condition is a callable of the Context that returns a bool; an extract has a value for the handler, too. Both have operators:

    text & chat_type("private")     photo | document (hands over the one that is there)     ~command("start")

An author's own function needs none to be a filter; `text & own` and `own & text` both work. A filter of a narrower context
(`def has_photo(ctx: MessageContext) -> bool`) is a filter of the handlers that get this context.

An `async def` with the return annotation `bool` is a filter, too. It is awaited before the handler is found, for at most
FILTER_TIMEOUT_S (awaited.py); like every filter it must be pure, since it is asked again at each attempt.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar, Union, cast, overload

from typing_extensions import TypeVar as DefaultTypeVar

from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.invalid import Invalid
from telegram.dialogue.contexts.signature import annotations_of, is_async
from telegram.dialogue.filters.limits import Limit

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
W = TypeVar("W")
X_contra = DefaultTypeVar("X_contra", bound=Context[object], contravariant=True, default=Context[object])
Y = TypeVar("Y", bound=Context[object])

Filter: TypeAlias = Callable[[Context], bool]
"""A filter for every kind of update."""

FilterOf: TypeAlias = Callable[[Y], bool] | Callable[[Y], Awaitable[bool]]
"""A filter of updates with this context, also an async one."""


class Condition(Generic[X_contra]):
    """A predicate with operators. `parts` are the filters that it asks."""

    label = ""
    parts: tuple[Any, ...] = ()

    def __call__(self, ctx: X_contra) -> bool:
        """Return whether the update passes."""
        raise NotImplementedError

    @overload
    def __and__(self: "Condition[Y]", other: "Extract[T, Y]") -> "Extract[T, Y]": ...
    @overload
    def __and__(self, other: Callable[[X_contra], bool]) -> "Condition[X_contra]": ...
    @overload
    def __and__(self: "Condition[Context]", other: Callable[[Y], bool]) -> "Condition[Y]": ...
    def __and__(self, other: Any) -> Any:
        """Return the filter that passes what both pass."""
        return both(self, other)

    def __rand__(self, other: Callable[[Y], bool]) -> "Condition[Y]":
        """Return the filter that passes what both pass."""
        return cast("Condition[Y]", both(other, self))

    @overload
    def __or__(
        self, other: "Callable[[X_contra], bool] | Extract[Any, X_contra]"
    ) -> "Condition[X_contra]": ...
    @overload
    def __or__(
        self: "Condition[Context]", other: "Callable[[Y], bool] | Extract[Any, Y]"
    ) -> "Condition[Y]": ...
    def __or__(self, other: Any) -> Any:
        """Return the filter that passes what one of them passes."""
        return any_of(self, other)

    def __ror__(self, other: Callable[[Y], bool]) -> "Condition[Y]":
        """Return the filter that passes what one of them passes."""
        return cast("Condition[Y]", any_of(cast("Any", other), self))

    def __invert__(self) -> "Condition[X_contra]":
        """Return the filter that passes what this one does not."""
        return _Not(self)


class Extract(Generic[T, X_contra]):
    """Extracts a value of `type_` from an update with `read`; None does not match. `label` is its name in diagrams."""

    parts: tuple[Any, ...] = ()

    def __init__(self, type_: Any, read: Callable[[X_contra], T | None], label: str = "") -> None:
        self.type = type_
        self.read = read
        self.label = label or getattr(type_, "__name__", str(type_))

    @overload
    def __and__(self, other: Callable[[X_contra], bool]) -> "Extract[T, X_contra]": ...
    @overload
    def __and__(self: "Extract[T, Context]", other: Callable[[Y], bool]) -> "Extract[T, Y]": ...
    def __and__(self, other: Any) -> Any:
        """Return the extract of updates that also pass a filter."""
        return both(self, other)

    def __rand__(self: "Extract[T, Y]", other: Callable[[Y], bool]) -> "Extract[T, Y]":
        """Return the extract of updates that also pass a filter."""
        return cast("Extract[T, Y]", both(other, self))

    @overload
    def __or__(self: "Extract[T, Y]", other: "Extract[U, Y]") -> "AnyOf[T | U, Y]": ...
    @overload
    def __or__(self: "Extract[T, Y]", other: Callable[[Y], bool]) -> "Condition[Y]": ...
    def __or__(self, other: Any) -> Any:
        """Return an extract of the first value that there is; with a filter that has none, a condition."""
        return any_of(self, other)

    def __ror__(self: "Extract[T, Y]", other: Callable[[Y], bool]) -> "Condition[Y]":
        """Return the condition that one of them passes."""
        return cast("Condition[Y]", any_of(cast("Any", other), self))

    def __invert__(self) -> "Condition[X_contra]":
        """Return the filter of updates without such a value."""
        return _Not(self)


AnyFilter: TypeAlias = Filter | Extract[Any, Any]


class AnyOf(Extract[T, X_contra]):
    """The first value that one of several extracts finds. Where no handler takes the value, it is a condition."""

    def __init__(self, extracts: tuple[Extract[Any, Any], ...]) -> None:
        reads = [each.read for each in extracts]

        def read(ctx: Any) -> Any:
            for find in reads:
                try:
                    value = find(ctx)
                except Invalid:  # another one may fit
                    continue
                if value is not None:
                    return value
            return None

        types = tuple(dict.fromkeys(each.type for each in extracts))
        super().__init__(Union[types], read, " or ".join(map(label_of, extracts)))  # noqa: UP007 - of a tuple
        self.parts = extracts
        self.kinds = _kinds_of_all(extracts)

    def __call__(self, ctx: X_contra) -> bool:
        """Return whether one of them finds a value."""
        return self.read(ctx) is not None


class _Any(Condition[Any]):
    def __init__(self, filters: tuple[Any, ...]) -> None:
        self.parts = as_parts(filters)
        self._asked = tuple(as_predicate(each) for each in self.parts)
        self.label = " or ".join(map(label_of, self._asked))
        self.kinds = _kinds_of_all(filters)

    def __call__(self, ctx: Any) -> bool:
        return any(passes(ctx) for passes in self._asked)


class _Not(Condition[Any]):
    def __init__(self, unwanted: Any) -> None:
        self.parts = as_parts((unwanted,))
        self._passes = as_predicate(self.parts[0])
        self.label = f"not {label_of(self._passes)}"

    def __call__(self, ctx: Any) -> bool:
        return not self._passes(ctx)


class All(Condition[Any]):
    """Passes what all of `parts` pass."""

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = as_parts(parts)
        self._asked = tuple(as_predicate(each) for each in self.parts)
        self.label = " and ".join(map(label_of, self._asked))
        self.kinds = kinds_of(parts)

    def __call__(self, ctx: Any) -> bool:
        """Return whether all of them pass."""
        return all(passes(ctx) for passes in self._asked)


class AllWith(Extract[T, X_contra]):
    """An extract of updates that also pass a condition."""

    def __init__(self, extract: Extract[T, Any], condition: Any, label: str) -> None:
        passes, read = as_predicate(condition), extract.read
        super().__init__(extract.type, lambda ctx: read(ctx) if passes(ctx) else None, label)
        self.parts = as_parts((extract, condition))
        self.kinds = kinds_of(self.parts)


def as_parts(filters: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the filters, async ones as conditions; TypeError for anything else."""
    return tuple(each if isinstance(each, Extract) else as_predicate(each) for each in filters)


def both(one: Any, other: Any) -> Any:
    """Return the filter that passes what both pass, as an extract if one of them is one. TypeError for two extracts."""
    found = [each for each in (one, other) if isinstance(each, Extract)]
    if len(found) == 2:
        raise TypeError(
            f"{label_of(one)} & {label_of(other)} would hand over two values: give both to the decorator"
        )
    if not found:
        return All((one, other))
    check_filters([each for each in (one, other) if each is not found[0]])
    condition = other if found[0] is one else one
    return AllWith(found[0], condition, f"{label_of(one)} and {label_of(other)}")


@overload
def any_of(  # type: ignore[overload-overlap] # an extract is no condition
    one: Extract[T, Y], other: Extract[U, Y], /
) -> AnyOf[T | U, Y]: ...
@overload
def any_of(  # type: ignore[overload-overlap]
    one: Extract[T, Y], two: Extract[U, Y], three: Extract[V, Y], /
) -> AnyOf[T | U | V, Y]: ...
@overload
def any_of(  # type: ignore[overload-overlap]
    one: Extract[T, Y], two: Extract[U, Y], three: Extract[V, Y], four: Extract[W, Y], /
) -> AnyOf[T | U | V | W, Y]: ...
@overload
def any_of(*extracts: Extract[Any, Y]) -> AnyOf[Any, Y]: ...  # type: ignore[overload-overlap]
@overload
def any_of(*filters: Callable[[Y], bool] | Extract[Any, Y]) -> Condition[Y]: ...
def any_of(*filters: Any) -> Any:
    """Match updates that pass at least one of the filters, e.g. `any_of(photo, video)`.

    Of extracts only, it hands over the first value that there is; with another filter among them, none.
    """
    if filters and all(isinstance(each, Extract) for each in filters):
        return AnyOf(filters)
    return _Any(filters)


def no(unwanted: Callable[[Y], bool] | Extract[Any, Y]) -> Condition[Y]:
    """Match updates that do not pass the filter, as `~` does."""
    return _Not(unwanted)


# ---- async filters


class Unanswered(Exception):  # noqa: N818 - a question, not an error
    """An async filter has to be awaited for this context, before the search for the handler can go on (awaited.py)."""

    def __init__(self, passes: Callable[[Any], Awaitable[bool]], ctx: Context) -> None:
        super().__init__(label_of(passes))
        self.passes = passes
        self.ctx = ctx


class Asked(Condition[Any]):
    """An async filter: its answer for a context, if it was awaited already; else it raises Unanswered."""

    def __init__(self, passes: Callable[[Any], Awaitable[bool]]) -> None:
        self.passes = passes
        self.label = label_of(passes)

    def __call__(self, ctx: Any) -> bool:
        """Return the answer. Unanswered if there is none yet."""
        answer = (ctx.answers or {}).get(self.passes)
        if answer is None:
            raise Unanswered(self.passes, ctx)
        return bool(answer)


def is_asked(passes: Any) -> bool:
    """Return whether a filter, or one that it is made of, is async."""
    return any(isinstance(each, Asked) for each in walk((as_predicate(passes),)))


# ---- what is given to a decorator


def walk(filters: Iterable[Any], *, negated: bool = True) -> Iterator[Any]:
    """Yield the filters, and those that they are made of; with `negated` also those that `~` and `no` negate."""
    for each in filters:
        yield each
        if isinstance(each, Condition | Extract) and (negated or not isinstance(each, _Not)):
            yield from walk(each.parts, negated=negated)


def label_of(passes: Any) -> str:
    """Return the name of a filter or an extract in a diagram: its label, else the name of the function."""
    label = getattr(passes, "label", None) or getattr(passes, "__name__", type(passes).__name__)
    return "a condition" if label == "<lambda>" else str(label)


def check_filters(filters: Iterable[Any]) -> None:
    """Raise TypeError for anything but a predicate."""
    for passes in filters:
        if isinstance(passes, Extract) and not isinstance(passes, AnyOf):
            raise TypeError(
                f"{passes.label} hands a value over, and no handler takes it here: write any_of(...)"
            )
        if isinstance(passes, Limit):
            raise TypeError(
                "throttle(...) counts, so it is no condition: it stands among the filters of a handler or a router"
            )
        if isinstance(passes, type) or not callable(passes) or (is_async(passes) and not _is_of_bool(passes)):
            needed = "a filter is a plain function of the Context that returns a bool"
            raise TypeError(f"{needed}, not {passes!r}{_advice(passes)}")


def _is_of_bool(passes: Any) -> bool:
    """Return whether an async function is annotated as a filter: a handler is not, if the parentheses are forgotten."""
    return annotations_of(passes).get("return") is bool


def _advice(given: Any) -> str:
    if not is_async(given):
        return ""
    return "; above a handler write the parentheses, too: @router.message(); an async filter is annotated `-> bool`"


def condition_of(given: Any) -> Callable[[Any], bool]:
    """Return a filter as a predicate, an async one, too; TypeError for anything else, also for an extract."""
    check_filters((given,))
    return cast("Filter", given) if isinstance(given, Extract) else as_predicate(given)


def as_predicate(wanted: Any) -> Callable[[Any], bool]:
    """Return a filter or an extract as a predicate; TypeError for anything else.

    A value that an extract cannot parse (a command's arguments) does not pass.
    """
    if not isinstance(wanted, Extract):
        check_filters((wanted,))
        return Asked(wanted) if is_async(wanted) else cast("Filter", wanted)
    return _Found(wanted)


class _Found(Condition[Any]):
    def __init__(self, extract: Extract[Any, Any]) -> None:
        self.parts = (extract,)
        self.label = extract.label
        self._read = extract.read

    def __call__(self, ctx: Any) -> bool:
        try:
            return self._read(ctx) is not None
        except Invalid:
            return False


def kinds_of(filters: Iterable[Any]) -> frozenset[str] | None:
    """Return the intersection of the kinds that filters name; None if none names any."""
    named = [each.kinds for each in filters if getattr(each, "kinds", None) is not None]
    return frozenset.intersection(*named) if named else None


def _kinds_of_all(filters: tuple[Any, ...]) -> frozenset[str] | None:
    named: list[frozenset[str]] = [kinds for each in filters if (kinds := getattr(each, "kinds", None))]
    return frozenset[str]().union(*named) if len(named) == len(filters) else None
