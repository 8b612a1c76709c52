"""A menu of items, if needed with pages.

name:2               turn to the third page
name:2:aB3-:tea      the item "tea", offered on the third page; aB3- is a hash of its text
"""

from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Final

from telegram.botapi.types import InlineKeyboardMarkup
from telegram.dialogue.buttons.callback_data import CALLBACK_BYTES_MAX
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.updates import CallbackContext
from telegram.widgets.widget import Press, Widget

Items = Sequence[tuple[str, str]]
"""(text, value) of each item; the value is in the button: short, and unique in the menu."""

OUTDATED: Final = "This menu has changed."
_ROWS_MAX: Final = 100  # buttons of a keyboard (Telegram refuses more: REPLY_MARKUP_TOO_LONG)


class Menu(Widget[str]):
    """A button for each of the items that `content` returns at the moment, `per_page` of them at a time.

    At a press `content` is called again. If the item is not there any more, or has another text, the menu is outdated: the
    press is answered with the text `outdated`, the keyboard is replaced, and the handler is not called.
    """

    def __init__(
        self,
        name: str,
        content: Callable[[Context], Items | Awaitable[Items]],
        *,
        per_page: int = 8,
        columns: int = 1,
        outdated: str = OUTDATED,
    ) -> None:
        super().__init__(name, str)
        if not 1 <= per_page <= _ROWS_MAX - 3 or not 1 <= columns <= 8:
            raise ValueError(f"{name}: per_page is from 1 to {_ROWS_MAX - 3}, columns from 1 to 8")
        self._content = content
        self._per_page = per_page
        self._columns = columns
        self._outdated = outdated

    async def keyboard(self, ctx: Context, page: int = 0) -> InlineKeyboardMarkup:
        """Return the keyboard with a page of the items, counted from 0; the last one if there are fewer."""
        return self.page_of(await self._items(ctx), page)

    def page_of(self, items: Items, page: int = 0) -> InlineKeyboardMarkup:
        """Return the keyboard with a page of these items. ValueError for a value that is too long for a button, or there twice."""
        if len({value for _, value in items}) < len(items):
            raise ValueError(f"{self.name}: two items have the same value")
        last = max(0, (len(items) - 1) // self._per_page)
        page = min(max(page, 0), last)
        shown = items[page * self._per_page : (page + 1) * self._per_page]
        cells = [self.button(text, self._data(page, text, value)) for text, value in shown]
        rows = [cells[at : at + self._columns] for at in range(0, len(cells), self._columns)]
        if last:
            rows.append(
                [
                    self.button("«", str(page - 1)) if page else self.button(" "),
                    self.button(f"{page + 1} / {last + 1}"),
                    self.button("»", str(page + 1)) if page < last else self.button(" "),
                ]
            )
        return InlineKeyboardMarkup(inline_keyboard=rows)

    async def choose(self, ctx: CallbackContext, press: Press) -> str | None:
        """Return the value of the item, if it is still offered; else show the menu as it is now."""
        number, _, rest = press.partition(":")
        page = int(number) if number.isascii() and number.isdecimal() and len(number) < 6 else 0
        if not press:
            return None
        items = await self._items(ctx)
        if rest:
            _, _, value = rest.partition(":")
            if any(given == value and self._data(page, text, given) == press for text, given in items):
                return value
            ctx.answer(ctx.said(self._outdated))
        ctx.edit_reply_markup(self.page_of(items, page))
        return None

    async def _items(self, ctx: Context) -> Items:
        found = self._content(ctx)
        return await found if isinstance(found, Awaitable) else found

    def _data(self, page: int, text: str, value: str) -> str:
        seal = urlsafe_b64encode(blake2b(text.encode(), digest_size=3).digest()).decode()
        data = f"{page}:{seal}:{value}"
        if len(f"{self.name}:{data}".encode()) > CALLBACK_BYTES_MAX:
            raise ValueError(f"{self.name}: the value {value!r} is too long for a button: write a key of it")
        return data
