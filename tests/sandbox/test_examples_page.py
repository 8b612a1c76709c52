"""All examples of handlers/ in the sandbox's page, used in a real browser."""

from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

import handlers.report
from handlers import router
from tests.kit.page import (
    ADA,
    GRACE,
    GROUP,
    LINUS,
    NEEDS_CHROMIUM,
    bubbles,
    chat,
    chromium,
    opened,
    press,
    stop_clock,
    write,
)
from tests.kit.playground import playground

LOOP: Final = "module"

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.asyncio(loop_scope=LOOP)]


@pytest_asyncio.fixture(scope="module", loop_scope=LOOP)
async def sandbox():
    """One browser and one bot for all examples; each has its own chat."""
    async with (
        chromium() as browser,
        playground(router=router) as play,
        opened(browser, play.sandbox.url) as page,
    ):
        await stop_clock(page)
        yield page


@pytest_asyncio.fixture(loop_scope=LOOP)
async def page(sandbox):
    yield sandbox
    await expect(sandbox.locator("button.waiting")).to_have_count(0)  # every press was answered
    await expect(sandbox.locator("#dead")).to_be_hidden()


async def new_chat(page: Page, name: str) -> int:
    """A new user opens a chat with the bot."""
    await page.locator("#add-person").click()
    await page.keyboard.type(name)
    await page.keyboard.press("Enter")
    last = page.locator(".chat").last
    await expect(last.locator("h2 .name")).to_have_text(name)
    return int(await last.get_attribute("data-chat") or 0)


async def is_told(page: Page, chat_id: int, *texts: str) -> None:
    """The current texts of all messages of the bot."""
    await expect(bubbles(page, chat_id, ".bot")).to_have_text(list(texts))


async def test_echo(page):
    chat_id = await new_chat(page, "Echo")
    await write(page, chat_id, "Hello <b>you</b>!")
    await is_told(page, chat_id, "Hello <b>you</b>!")
    await write(page, chat_id, "/cancel")  # nothing goes on, and a command is no text
    await write(page, chat_id, "bye")
    await is_told(page, chat_id, "Hello <b>you</b>!", "bye")


WELCOME = "Three questions. You can leave with /cancel and return with “Back”."
NAME, AGE, TOPIC = "What is your name?", "How old are you?", "What do you want to hear about?"


async def test_survey(page):
    await write(page, ADA, "/survey")
    await is_told(page, ADA, WELCOME, NAME)
    await write(page, ADA, "Adda")
    await is_told(page, ADA, WELCOME, NAME, AGE)
    await press(page, ADA, "Back")
    await is_told(page, ADA, WELCOME, NAME, AGE, NAME)
    await write(page, ADA, "Ada")
    await write(page, ADA, "old enough")
    asked = [WELCOME, NAME, AGE, NAME, AGE, "Please write a number, like 42.", AGE]
    await is_told(page, ADA, *asked)
    await write(page, ADA, "7")
    asked += ["age: Please write a number of at least 13.", AGE]
    await is_told(page, ADA, *asked)
    await write(page, ADA, "36")
    await is_told(page, ADA, *asked, TOPIC)
    await write(page, ADA, "events, please")
    asked += [TOPIC, "Please answer the question, or leave with /cancel."]
    await is_told(page, ADA, *asked, TOPIC)
    await press(page, ADA, "Events", times=2)
    asked += ["You want to hear about events."]
    await is_told(page, ADA, *asked, "Ada, 36, events. Is that right?")
    await press(page, ADA, "Yes", times=2)
    await is_told(page, ADA, *asked, "Registered: Ada, 36, events.")
    await write(page, ADA, "What now?")
    await is_told(page, ADA, *asked, "Registered: Ada, 36, events.", "What now?")


async def test_survey_cancelled(page):
    chat_id = await new_chat(page, "Leaver")
    await write(page, chat_id, "/survey")
    await is_told(page, chat_id, WELCOME, NAME)
    await bubbles(page, chat_id, ".bot").first.locator("button.command", has_text="/cancel").click()
    await is_told(page, chat_id, WELCOME, NAME, "Cancelled. Nothing was kept.")
    await write(page, chat_id, "just a text")
    await expect(bubbles(page, chat_id, ".bot").last).to_have_text("just a text")


async def test_order(page):
    await write(page, GRACE, "/order")
    await is_told(page, GRACE, "What would you like?")
    await press(page, GRACE, "Done")
    basket = ["What would you like?", "The basket is empty.", "What would you like?"]
    await is_told(page, GRACE, *basket)
    await press(page, GRACE, "tea", times=2)
    await expect(chat(page, GRACE).locator(".toast").last).to_have_text("2 in the basket, 6 €")
    await press(page, GRACE, "cake")
    await expect(chat(page, GRACE).locator(".toast").last).to_have_text("3 in the basket, 11 €")
    await press(page, GRACE, "Done", times=2)
    await is_told(page, GRACE, *basket, "Street and number?")
    await write(page, GRACE, "Main Street 1")
    await is_told(page, GRACE, *basket, "Street and number?", "City?")
    await write(page, GRACE, "Arlington")
    address = [*basket, "Street and number?", "City?"]
    await is_told(page, GRACE, *address, "tea, tea, cake: 11 €\nto Main Street 1, Arlington")
    await press(page, GRACE, "Done")  # the menu's, which is far above
    await press(page, GRACE, "tea")
    await press(page, GRACE, "Order", times=2)
    await is_told(page, GRACE, *address, "Ordered for 11 €. Thank you!")


async def test_quiz(page):
    speaker = chat(page, GROUP).locator("select")
    toast = chat(page, GROUP).locator(".toast").last
    planet = "1/3: Which planet is nearest to the sun?"
    await speaker.select_option(label="Ada")
    await write(page, GROUP, "/quiz")
    await is_told(page, GROUP, planet)
    await press(page, GROUP, "Venus")
    await expect(toast).to_have_text("Wrong!")
    await press(page, GROUP, "Mercury")
    await expect(toast).to_have_text("You have had your try.")
    await speaker.select_option(label="Grace")
    await press(page, GROUP, "Mercury", times=2)
    known = ["Grace has it: Mercury."]
    await is_told(page, GROUP, *known, "2/3: How many bits are in a byte?")
    await press(page, GROUP, "8")
    known += ["Grace has it: 8."]
    await is_told(page, GROUP, *known, "3/3: Which sea has no coast?")
    await speaker.select_option(label="Ada")
    await press(page, GROUP, "Sargasso Sea")
    known += ["Ada has it: Sargasso Sea."]
    await is_told(page, GROUP, *known, "The quiz is over. Points: Grace 2, Ada 1.")


async def test_quiz_with_an_old_button(page):
    await page.locator("#add-group").click()
    await page.keyboard.type("Pub")
    await page.keyboard.press("Enter")
    last = page.locator(".chat.group").last
    await expect(last.locator("h2 .name")).to_have_text("Pub")
    group = int(await last.get_attribute("data-chat") or 0)
    await write(page, group, "/quiz")
    await expect(bubbles(page, group, ".bot")).to_have_count(1)
    await write(page, group, "/quiz")  # a new game, and the message of the old one stays
    await expect(bubbles(page, group, ".bot")).to_have_count(2)
    await press(page, group, "Mercury")
    await expect(bubbles(page, group, ".bot").last).to_contain_text("2/3")
    await press(page, group, "Venus")  # the last one there is: in the message of the old game
    await expect(last.locator(".toast").last).to_have_text("Too late.")
    await write(page, group, "/stop")
    await expect(bubbles(page, group, ".bot").last).to_contain_text("The quiz is over. Points:")


async def test_report(page, monkeypatch, tmp_path):
    monkeypatch.setattr(handlers.report, "STEP_S", 0.01)
    monkeypatch.setattr(handlers.report, "FOLDER", tmp_path)
    await write(page, LINUS, "/report")
    await is_told(page, LINUS, "Loading … 100 %", "Here it is.")
    document = chat(page, LINUS).locator(".message.bot .thing")
    await expect(document).to_contain_text(["report-"])
    (file,) = tmp_path.iterdir()
    await expect(document).to_contain_text([f"{file.stat().st_size} bytes"])
    assert [line.partition(":")[0] for line in file.read_text().splitlines()] == [
        f"part {number}" for number in range(1, 11)
    ]
