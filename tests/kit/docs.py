"""The Python examples of docs/*.md: each begins with a comment that names its file, and runs as it stands there."""

import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# (\w+)\.py\n")


def pages() -> list[Path]:
    """Return the pages."""
    return sorted(DOCS.glob("*.md"))


def examples(page: str) -> dict[str, str]:
    """Return the examples of a page by the names of their modules; ValueError for one without a name."""
    found: dict[str, str] = {}
    for code in _BLOCK.findall((DOCS / page).read_text()):
        name = _NAME.match(code)
        if name is None or name[1] in found:
            raise ValueError(
                f"docs/{page}: an example begins with a comment that names its file: {code[:40]!r}"
            )
        found[name[1]] = code
    return found


@contextmanager
def modules(page: str) -> Iterator[dict[str, types.ModuleType]]:
    """Run the examples of a page, in order; meanwhile they can import each other."""
    made: dict[str, types.ModuleType] = {}
    before = dict(sys.modules)
    try:
        for name, code in examples(page).items():
            module = made[name] = sys.modules[name] = types.ModuleType(name)
            exec(compile(code, f"docs/{page}:{name}.py", "exec"), module.__dict__)  # noqa: S102 - our own docs
        yield made
    finally:
        for name in made:
            if name in before:
                sys.modules[name] = before[name]
            else:
                del sys.modules[name]
