"""A browser, the sandbox's page in it, and what a person does there."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
ADA, GRACE, LINUS, GROUP = 1001, 1002, 1003, -1_001_000_000_001
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (apt-get install chromium)"),
]

expect.set_options(timeout=15_000)  # a busy machine is slow, and nothing here waits longer than it must


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser; pages share it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(browser, url, *, complaints=(), **options):
    """A page that has its snapshot; at the end it must have complained of nothing but `complaints`."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    page = await context.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((url, "data:")) else heard.append(f"asked {request.url}")
        ),
    )
    await page.goto(url)
    await expect(page.locator("#state")).to_have_text("live")
    await expect(page.locator(".chat").first).to_be_visible()
    yield page
    assert [line for line in heard if not any(known in line for known in complaints)] == []
    await context.close()


async def stop_clock(page):
    """Timers of the page wait for `page.clock.fast_forward`: toasts stay, however late a busy machine reads them."""
    await page.clock.install(time=0)
    # An hour: the clock runs since it was installed, and can only be paused at a later moment.
    await page.clock.pause_at(3600)


def chat(page: Page, chat_id):
    return page.locator(f'.chat[data-chat="{chat_id}"]')


def bubbles(page: Page, chat_id, who=""):
    return chat(page, chat_id).locator(f".message{who} .text")


def half(page: Page, chat_id, queue):
    return page.locator(f'[data-lane="chat:{chat_id}"] [data-queue="{queue}"]')


async def write(page, chat_id, text):
    box = chat(page, chat_id).locator("textarea")
    await box.fill(text)
    await box.press("Enter")


async def press(page, chat_id, label, *, times=1):
    """Press the newest inline button with this label, in one task: the chat does not move between the presses.

    A mouse presses whatever is at its place when it goes down: after the answer to the first of two presses that may
    be a button of the next message.
    """
    button = chat(page, chat_id).locator(".message .keyboard button", has_text=label).last
    await button.click(trial=True)  # it is in sight and enabled, and nothing covers it
    await button.evaluate("(button, times) => { while (times--) button.click(); }", times)
