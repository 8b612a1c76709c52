"""`python -m tests.pictures [NAME ...]`: use each example in the sandbox's page, and take its picture for README and docs/."""

import asyncio
import math
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, Page, expect

from handlers import router
from telegram.dialogue import Router
from tests.kit.docs import modules
from tests.kit.page import ADA, GRACE, GROUP, LINUS, bubbles, chat, chromium, opened, press, write
from tests.kit.playground import playground

OUT: Final = Path("docs")
_VIEW: Final = {"width": 380, "height": 900}
_VIEW_PER_CHAT: Final = 1 / 0.7  # telegram/sandbox/chats.css, on a phone
_HEIGHT: Final = """(card, most) => {
    const list = card.querySelector(".messages"), end = list.lastChild.getBoundingClientRect().bottom;
    const heights = [...list.children].map((each) => end - each.getBoundingClientRect().top);
    return heights.find((height) => height <= most) + 16 + card.offsetHeight - list.clientHeight;
}"""
"""How high a chat has to be to show its latest messages, as many as there is room for in a README."""

_MESSAGES_HEIGHT_MAX: Final = 690


async def echo(page: Page) -> int:
    """What comes back."""
    await _say(page, LINUS, "Is anybody there?", 1)
    await _say(page, LINUS, "Who are you?", 2)
    return LINUS


async def survey(page: Page) -> int:
    """A wrong answer, and everything up to the buttons."""
    await _say(page, ADA, "/survey", 2)
    await _say(page, ADA, "Ada", 3)
    await _say(page, ADA, "old enough", 5)
    await _say(page, ADA, "36", 6)
    return ADA


async def order(page: Page) -> int:
    """A basket, an address, and what will come."""
    await _say(page, GRACE, "/order", 1)
    for thing in ("tea", "tea", "cake"):
        await press(page, GRACE, thing)
    await press(page, GRACE, "Done")
    await expect(bubbles(page, GRACE, ".bot")).to_have_count(2)
    await _say(page, GRACE, "Main Street 1", 3)
    await _say(page, GRACE, "Arlington", 4)
    return GRACE


async def quiz(page: Page) -> int:
    """Two people in a group."""
    speaker = chat(page, GROUP).locator("select")
    await speaker.select_option(label="Ada")
    await _say(page, GROUP, "/quiz", 1)
    await press(page, GROUP, "Venus")
    await speaker.select_option(label="Grace")
    await press(page, GROUP, "Mercury")
    await expect(bubbles(page, GROUP, ".bot")).to_have_count(2)
    await speaker.select_option(label="Linus")
    await _say(page, GROUP, "Now it is my turn!", 3)
    return GROUP


async def report(page: Page) -> int:
    """A job at work, and a text that need not wait for it."""
    await page.locator("#add-person").click()
    await page.keyboard.type("Barbara")
    await page.keyboard.press("Enter")
    await expect(page.locator(".chat h2 .name").last).to_have_text("Barbara")
    chat_id = int(await page.locator(".chat").last.get_attribute("data-chat") or 0)
    await _say(page, chat_id, "/report", 1)
    await _say(page, chat_id, "How long will it take?", 2)
    await expect(bubbles(page, chat_id, ".bot").first).to_have_text("Loading … 30 %")
    return chat_id


async def menu_widget(page: Page) -> int:
    """The second page of a list."""
    await _say(page, LINUS, "/book", 1)
    await press(page, LINUS, "»")
    await expect(chat(page, LINUS).get_by_role("button", name="2 / 3")).to_be_visible()
    return LINUS


async def date_picker(page: Page) -> int:
    """A month, and the day that was picked."""
    await _say(page, ADA, "/visit", 1)
    await press(page, ADA, "»")
    return ADA


PICTURES: Final[tuple[Callable[[Page], Awaitable[int]], ...]] = (echo, survey, order, quiz, report)
WIDGETS: Final[tuple[Callable[[Page], Awaitable[int]], ...]] = (menu_widget, date_picker)
"""Of the examples in docs/widgets.md."""


async def _say(page: Page, chat_id: int, text: str, replies: int) -> None:
    """Write it, and wait until the bot has said so many things in all."""
    await write(page, chat_id, text)
    await expect(bubbles(page, chat_id, ".bot")).to_have_count(replies)


async def main() -> None:
    """Write docs/<example>.png, one after the other."""
    OUT.mkdir(exist_ok=True)
    with modules("widgets.md") as made:
        widgets = Router()
        for name in ("book", "visit"):
            widgets.include(made[name].router)
        async with chromium() as browser:
            await _take(browser, router, PICTURES)
            await _take(browser, widgets, WIDGETS)


async def _take(
    browser: Browser, bot: Router, pictures: tuple[Callable[[Page], Awaitable[int]], ...]
) -> None:
    async with (
        playground(router=bot) as play,
        opened(browser, play.sandbox.url, viewport=_VIEW, reduced_motion="reduce") as page,
    ):
        for use in pictures:
            if sys.argv[1:] and use.__name__ not in sys.argv[1:]:
                continue
            place = chat(page, await use(page))
            await expect(place.locator("button.waiting, .toast")).to_have_count(0)
            height = await place.evaluate(_HEIGHT, _MESSAGES_HEIGHT_MAX)
            await page.set_viewport_size({**_VIEW, "height": math.ceil(height * _VIEW_PER_CHAT)})
            await place.locator(".messages").evaluate("list => list.scrollTo(0, list.scrollHeight)")
            await page.mouse.move(0, 0)  # what the mouse is over shows its menu
            path = OUT / f"{use.__name__}.png"
            await place.screenshot(path=path)
            print(f"{path}  {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    asyncio.run(main())
