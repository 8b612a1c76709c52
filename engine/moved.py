"""Former names, for one version, with a DeprecationWarning: modules that moved, arguments that are not needed any more."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from engine.model import Envelope, Right


class _Moved(MetaPathFinder, Loader):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in self._names else None

    def exec_module(self, module: ModuleType) -> None:
        was, now = module.__name__, self._names[module.__name__]
        warnings.warn(f"{was} is now {now}: import that", DeprecationWarning, stacklevel=2)
        sys.modules[was] = import_module(now)


def deprecated(was: str, now: str) -> None:
    """Warn, at the caller's caller, that the argument or name `was` is `now` from the next version on."""
    warnings.warn(f"{was}: {now}", DeprecationWarning, stacklevel=3)


async def former_right(store: "Granting", batch: Any) -> tuple["Right", "Sequence[Envelope]"]:
    """Return a right, and the batch, for calls in the former form without a right: `append(batch)`, `accept(batch)`."""
    deprecated("without a right", "append and accept take one first: await store.right()")
    return await store.right(), batch


class Granting(Protocol):
    """A store that grants the right to append."""

    async def right(self) -> "Right":
        """Return the right."""


def redirect(names: Mapping[str, str]) -> None:
    """Make each old module name (key) import the module of the new name (value): the same module, not a copy."""
    sys.meta_path.append(_Moved(names))
