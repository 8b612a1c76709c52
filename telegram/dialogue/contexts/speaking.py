"""The language of a context, and its texts."""

from typing import TYPE_CHECKING, Any

from engine import Reject
from telegram.dialogue.languages.texts import filled
from telegram.dialogue.state.conversation import DATA

if TYPE_CHECKING:
    from telegram.dialogue.contexts.tools import Tools
    from telegram.dialogue.state.conversation import Memory


class Speaking:
    """What a context has for texts in several languages (telegram/dialogue/languages/texts.py)."""

    __slots__ = ()

    _tools: "Tools"

    @property
    def lang(self) -> str:
        """The language of the texts: the user's choice, else that of the user's Telegram app, else the bot's default.

        Setting it stores the choice with the commit, as `data` is: for this user in this chat. None removes it. ValueError for
        a language that the bot does not have.
        """
        known = self._tools.texts
        if len(known.languages) == 1:
            return known.default
        chosen = known.nearest(self._said_by().lang)
        return chosen or known.nearest(self.language_code()) or known.default

    @lang.setter
    def lang(self, language: str | None) -> None:
        known = self._tools.texts
        if language is not None and language not in known.languages:
            raise ValueError(
                f"the bot has no language {language!r}, but {', '.join(sorted(known.languages))}"
            )
        self._said_by().lang = language

    def t(self, text: str, plural: str | None = None, /, **values: Any) -> str:
        """Return a text in the user's language, with its placeholders filled: `ctx.t("Hello, {name}!", name="Ada")`.

        With a plural form, `n` decides: `ctx.t("{n} task", "{n} tasks", n=3)`. TypeError if a value is missing.
        """
        known, language, n = self._tools.texts, self.lang, values.get("n")
        if plural is not None and not isinstance(n, int):
            raise TypeError(f"t({text[:60]!r}, {plural[:60]!r}, ...) needs n=, a whole number")
        found = known.translated(language, text, plural, n)
        if found is None:
            known.note_missing(language, text)
            found = text if plural is None or n == 1 else plural
        return filled(found, values)

    def said(self, text: str) -> str:
        """Return the translation of a text without placeholders; the text itself if there is none, e.g. of a setting."""
        try:
            language = self.lang
        except Reject:  # the conversation's state is not readable: its handler reports that
            language = self._tools.texts.default
        return self._tools.texts.translated(language, text) or text

    def language_code(self) -> str | None:
        """Return Telegram's code of the user's language (User, language_code), of a timer that of who set it.

        None in a bot with one language.
        """
        if len(self._tools.texts.languages) == 1:
            return None
        event = getattr(self, "event", None)
        user = getattr(event, "from_", None) or getattr(event, "user", None)
        return getattr(user, "language_code", None) or getattr(event, "lang", None)

    def _said_by(self) -> Any:
        """Return the conversation that has the user's choice."""
        memory: Memory = self.memory  # type: ignore[attr-defined] # of Context
        return memory.of(DATA)
