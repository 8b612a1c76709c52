"""The texts of a bot in several languages.

    router = Router(texts=Texts(Path(__file__).parent / "locales"))     # locales/ru.po, locales/de.po, ...

    ctx.t("Hello, {name}!", name=...)
    ctx.t("{n} task", "{n} tasks", n=3)

The source texts stand in the code; a catalogue has their translations (telegram/dialogue/languages/catalogue.py). A text that a language
lacks is looked up in the default language, and then used as it is.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from telegram.dialogue.languages.catalogue import COUNT, Catalogue, Entry, placeholders, read_catalogue

log = structlog.get_logger(__name__)

SOURCE: Final = "en"
"""The language of Chatlane's own texts in the code."""

_LOGGED_MAX: Final = 1_000


class Texts:
    """The catalogues of a folder: `ru.po`, or `ru/LC_MESSAGES/*.po`. `default` is for users of all other languages.

    ValueError, in one line with file and line, for a catalogue that is broken, or a text whose placeholders differ from those
    of the default language (or of the source text, if that is it).
    """

    def __init__(self, folder: Path | str | None = None, *, default: str = SOURCE) -> None:
        self.default = _language(default)
        self.catalogues: dict[str, list[Catalogue]] = {}
        if folder is not None:
            self._load(Path(folder))
        self._check()

    def _load(self, folder: Path) -> None:
        paths = sorted([*folder.glob("*.po"), *folder.glob("*/LC_MESSAGES/*.po")])
        if not paths:
            raise ValueError(f"{folder.name}: no catalogue LANGUAGE.po in this folder")
        for path in paths:
            language = _language(path.stem if path.parent == folder else path.parents[1].name)
            name = str(path.relative_to(folder.parent))
            self.catalogues.setdefault(language, []).append(read_catalogue(path, name))

    def _check(self) -> None:
        for language, catalogues in self.catalogues.items():
            for catalogue in catalogues:
                for text, entry in catalogue.entries.items():
                    known = None if language == self.default else self.find(self.default, text)
                    source = _Source(text, entry) if known is None else _Source(known[0].forms[0], known[0])
                    is_key = language == self.default and not placeholders(text)
                    if not is_key:
                        source.check(catalogue.name, entry)

    @property
    def languages(self) -> frozenset[str]:
        """The languages of the catalogues, and the default language."""
        return frozenset((self.default, *self.catalogues))

    def find(self, language: str, text: str) -> tuple[Entry, Catalogue] | None:
        """Return the translation of a text; None if there is none."""
        for catalogue in self.catalogues.get(language, ()):
            if (entry := catalogue.entries.get(text)) is not None:
                return entry, catalogue
        return None


class _Source:
    """The text that the translations of an entry have to agree with: their placeholders are the same."""

    def __init__(self, text: str, entry: Entry) -> None:
        self._names = frozenset[str]().union(
            *map(placeholders, (text, *((entry.plural,) if entry.plural else ())))
        )
        self._text = text

    def check(self, name: str, entry: Entry) -> None:
        """Raise ValueError for a translation with other placeholders; a plural form may leave out {n}."""
        optional = {COUNT} if entry.plural is not None else set()
        for form in entry.forms:
            if (differ := self._names ^ placeholders(form)) and not differ <= (optional & self._names):
                raise ValueError(
                    f"{name}, line {entry.line}: {form[:40]!r} has other placeholders than {self._text[:40]!r}: "
                    f"{', '.join(sorted(f'{{{each}}}' for each in differ))}"
                )


class Languages:
    """The texts of all routers of a bot, and Chatlane's own behind them."""

    def __init__(self, texts: Iterable[Texts] = ()) -> None:
        self.parts = list(dict.fromkeys(texts))
        if len({each.default for each in self.parts}) > 1:
            raise ValueError("the routers' texts have different default languages")
        self.default = self.parts[0].default if self.parts else SOURCE
        self.languages = frozenset((self.default,)).union(*(each.languages for each in self.parts))
        self._logged: set[tuple[str, str]] = set()

    def nearest(self, code: str | None) -> str | None:
        """Return the bot's language for a code of Telegram's, such as "pt-br"; None if it has none."""
        code = (code or "").lower().replace("_", "-")
        short = code.partition("-")[0]
        return next((each for each in (code, short) if each in self.languages), None)

    def translated(self, language: str, text: str, plural: str | None = None, n: Any = None) -> str | None:
        """Return the translation of a text, for the number `n` if it has a plural form; None if there is none."""
        for each in dict.fromkeys((language, self.default)):
            for texts in (*self.parts, ours()):
                if (found := texts.find(each, text)) is None:
                    continue
                entry, catalogue = found
                if entry.plural is None or plural is None:
                    return entry.forms[0]
                return entry.forms[catalogue.form_of(abs(n)) if isinstance(n, int) else -1]
        return None

    def note_missing(self, language: str, text: str) -> None:
        """Log once that a language of the bot lacks a text."""
        has_catalogue = any(language in each.catalogues for each in self.parts)
        if has_catalogue and (language, text) not in self._logged and len(self._logged) < _LOGGED_MAX:
            self._logged.add((language, text))
            log.warning("a text is not translated", language=language, text=text[:80])


def filled(template: str, values: Mapping[str, Any]) -> str:
    """Return a text with its placeholders filled; TypeError if a value is missing."""
    try:
        return template.format_map(values)
    except KeyError as error:
        raise TypeError(f"t({template[:60]!r}, ...) needs {error.args[0]}=") from None
    except (IndexError, AttributeError, ValueError) as error:
        raise TypeError(f"t({template[:60]!r}, ...): {error}") from None


_ours: list[Texts] = []


def ours() -> Texts:
    """Return the translations of Chatlane's own texts, read at the first use."""
    if not _ours:
        _ours.append(Texts(Path(__file__).parent / "locales"))
    return _ours[0]


def _language(name: str) -> str:
    code = name.lower().replace("_", "-")
    if not code.replace("-", "").isalnum() or not code.isascii() or not 2 <= len(code.partition("-")[0]) <= 3:
        raise ValueError(f"{name!r} is not a language: en, ru, pt-br, ...")
    return code
