"""The Python examples of docs/*.md: each begins with a comment that names its file, and runs as it stands there."""

import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^```po\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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


def files(page: str) -> dict[str, str]:
    """Return the catalogues of a page, by the path that their first line names."""
    return {text[2:].partition("\n")[0]: text for text in _FILE.findall((DOCS / page).read_text())}


@contextmanager
def modules(page: str) -> Iterator[dict[str, types.ModuleType]]:
    """Run the examples of a page, in order, in a folder with its other files; meanwhile they can import each other."""
    with TemporaryDirectory() as folder:
        for path, text in files(page).items():
            (Path(folder) / path).parent.mkdir(exist_ok=True)
            (Path(folder) / path).write_text(text, encoding="utf-8")
        with _running(page, Path(folder)) as made:
            yield made


@contextmanager
def _running(page: str, folder: Path) -> Iterator[dict[str, types.ModuleType]]:
    made: dict[str, types.ModuleType] = {}
    before = dict(sys.modules)
    try:
        for name, code in examples(page).items():
            module = made[name] = sys.modules[name] = types.ModuleType(name)
            module.__file__ = str(folder / f"{name}.py")
            exec(compile(code, f"docs/{page}:{name}.py", "exec"), module.__dict__)  # noqa: S102 - our own docs
        yield made
    finally:
        for name in made:
            if name in before:
                sys.modules[name] = before[name]
            else:
                del sys.modules[name]
