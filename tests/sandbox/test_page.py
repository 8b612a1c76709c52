"""The sandbox's page in a real browser, with a real bot behind it."""

import re
from typing import Final

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import expect

import telegram.sandbox.lanes
from engine import Queue
from telegram.dialogue.contexts.conduct import APOLOGY
from telegram.fake import Fault
from telegram.sandbox.samples import picture
from telegram.sandbox.server import Sandbox
from tests.kit.page import (
    ADA,
    GRACE,
    GROUP,
    LINUS,
    NEEDS_CHROMIUM,
    bubbles,
    chat,
    chromium,
    half,
    opened,
    press,
    stop_clock,
    write,
)
from tests.kit.playground import playground

LOOP: Final = "module"

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.asyncio(loop_scope=LOOP)]


@pytest_asyncio.fixture(scope="module", loop_scope=LOOP)
async def browser():
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope=LOOP)
async def play(monkeypatch):
    monkeypatch.setattr(telegram.sandbox.lanes, "LINGER_S", 600.0)  # lanes stay, however late they are read
    async with playground() as play:
        yield play


@pytest_asyncio.fixture(loop_scope=LOOP)
async def page(play, browser):
    async with opened(browser, play.sandbox.url) as page:
        yield page


SMALL_AND_COVERED: Final = """() => {
  const buttons = [...document.querySelectorAll("button:not(.command)")].filter((each) => each.offsetParent);
  const box = (element) => element.getBoundingClientRect();
  const small = buttons.filter((each) => Math.min(box(each).width, box(each).height) < 24);
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const covered = [...document.querySelectorAll(".bubble time")].filter(
    (time) => [...document.querySelectorAll(".dots-menu")].some((each) => meet(box(each), box(time))));
  return { count: buttons.length, small: small.map((each) => each.outerHTML), covered: covered.map((each) => each.outerHTML) };
}"""


async def width_beyond_the_window(page):
    return await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


# -- chatting --------------------------------------------------------------------------------------------


async def test_a_newcomer_finds_four_chats_and_something_to_say(page):
    await expect(page.locator(".chat h2 .name")).to_have_text(["Ada", "Grace", "Linus", "Tea room"])
    await expect(chat(page, GROUP).locator("h2 .about")).to_have_text("group of 3")
    await expect(page.locator("#no-lanes")).to_be_visible()
    await expect(chat(page, ADA).locator(".suggestions button").first).to_have_text("/start")
    await chat(page, ADA).locator(".suggestions button").first.click()
    await expect(bubbles(page, ADA, ".mine")).to_have_text(["/start"])
    await expect(bubbles(page, ADA, ".bot")).to_have_text(["Press one."])
    await expect(chat(page, ADA).locator(".suggestions")).to_be_hidden()
    await expect(chat(page, GRACE).locator(".suggestions")).to_be_visible()


async def test_everything_is_in_sight_on_a_laptop(page):
    await check_all_is_in_sight(page)
    await page.locator("#burst").click()
    await expect(bubbles(page, GROUP)).to_have_count(40)
    await check_all_is_in_sight(page)  # many messages scroll inside their chat


async def check_all_is_in_sight(page):
    for place in (*[chat(page, each) for each in (ADA, GRACE, LINUS, GROUP)], page.locator("#lanes")):
        box = await place.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 1280
        assert box["y"] + box["height"] <= 800


async def test_two_people_chat_each_with_name_and_time(page):
    await write(page, ADA, "I am Ada")
    await write(page, GRACE, "I am Grace")
    for chat_id, name in ((ADA, "Ada"), (GRACE, "Grace")):
        await expect(bubbles(page, chat_id)).to_have_text([f"I am {name}"] * 2)
        await expect(chat(page, chat_id).locator(".who b")).to_have_text([name, "Chatlane"])
        times = await chat(page, chat_id).locator("time").all_text_contents()
        assert all(re.match(r"\d\d?:\d\d", time) for time in times)
        mine = await chat(page, chat_id).locator(".message.mine .bubble").bounding_box()
        bots = await chat(page, chat_id).locator(".message.bot .bubble").bounding_box()
        assert mine["x"] > bots["x"]
        assert await chat(page, chat_id).locator("textarea").input_value() == ""


async def test_enter_sends_and_shift_enter_does_not(page):
    box = chat(page, ADA).locator("textarea")
    await box.focus()
    await page.keyboard.type("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await expect(bubbles(page, ADA)).to_have_count(0)
    await page.keyboard.press("Enter")
    await expect(bubbles(page, ADA, ".bot")).to_have_text(["one\ntwo"], use_inner_text=True)
    await page.keyboard.press("Enter")  # an empty box sends nothing
    await write(page, ADA, "three")
    await expect(bubbles(page, ADA, ".mine")).to_have_text(["one\ntwo", "three"], use_inner_text=True)


async def test_in_a_group_one_chooses_who_writes(page):
    await chat(page, GROUP).locator("select").select_option(label="Grace")
    await write(page, GROUP, "hello all")
    await expect(chat(page, GROUP).locator(".who b")).to_have_text(["Grace", "Chatlane"])
    await chat(page, GROUP).locator("select").select_option(label="Linus")
    await chat(page, GROUP).locator("button.send").click()  # nothing written yet
    await write(page, GROUP, "hi Grace")
    await expect(chat(page, GROUP).locator(".mine .who b")).to_have_text(["Grace", "Linus"])


async def test_a_button_waits_until_its_toast_comes(play, page):
    await stop_clock(page)
    slow_answer = play.fake.faults.add(Fault("hang", method="answerCallbackQuery", times=1))
    await write(page, ADA, "/start")
    await press(page, ADA, "Toast")
    toast = chat(page, ADA).locator("button", has_text="Toast")
    await expect(toast).to_have_class("waiting")
    await expect(toast).to_have_attribute("aria-busy", "true")
    await expect(page.locator(".chat button.waiting")).to_have_count(1)
    await expect(page.locator(".toast")).to_have_count(0)
    play.fake.faults.remove(slow_answer)  # cut off; the bot tries again
    await expect(chat(page, ADA).locator(".toast")).to_have_text("a <i>toast</i>")
    await expect(toast).not_to_have_class("waiting")
    await page.clock.fast_forward(5000)
    await expect(page.locator(".toast")).to_have_count(0)


async def test_an_alert_wants_to_be_confirmed(page):
    await write(page, GRACE, "/start")
    await press(page, GRACE, "Alert")
    await expect(page.locator("#alert-text")).to_have_text("an <i>alert</i>")
    await page.keyboard.press("Enter")
    await expect(page.locator("#alert")).to_be_hidden()


async def test_an_edit_appears_in_place(page):
    await write(page, ADA, "/start")
    await expect(bubbles(page, ADA)).to_have_text(["/start", "Press one."])
    await write(page, ADA, "below")
    await expect(bubbles(page, ADA)).to_have_count(4)
    await press(page, ADA, "Edit")
    await expect(bubbles(page, ADA)).to_have_text(["/start", "Edited 1", "below", "below"])
    await expect(chat(page, ADA).locator("time", has_text="edited")).to_have_count(1)
    await press(page, ADA, "Edit")
    await expect(bubbles(page, ADA, ".bot").first).to_have_text("Edited 2")
    await expect(page.locator("button.waiting")).to_have_count(0)


async def test_typing_shows_until_the_bot_writes_and_a_deleted_message_goes(page):
    await stop_clock(page)
    about = chat(page, LINUS).locator("h2 .about")
    await write(page, LINUS, "/typing")
    await expect(about).to_have_text("Chatlane is typing …")
    await write(page, LINUS, "hi")
    await expect(about).to_have_text("private chat")
    await write(page, LINUS, "/typing")
    await expect(about).to_have_text("Chatlane is typing …")
    await page.clock.fast_forward(6000)
    await expect(about).to_have_text("private chat")
    await write(page, LINUS, "/delete")
    await expect(bubbles(page, LINUS)).to_have_text(["hi", "hi", "/typing", "/delete"])


async def test_a_draft_grows_until_the_bot_sends_the_message(play, page):
    await write(page, LINUS, "/stream")
    draft = chat(page, LINUS).locator(".draft")
    await expect(draft).to_have_text("It grows")
    play.gate.set()
    await expect(bubbles(page, LINUS).last).to_have_text("It grows, and is sent.")
    await expect(draft).to_have_count(0)


async def test_a_reply_keyboard_writes_and_goes_after_one_use(page):
    await write(page, ADA, "/menu")
    menu = chat(page, ADA).locator(".keyboard.reply")
    await expect(menu.locator("button")).to_have_text(["Tea", "Coffee"])
    await menu.locator("button", has_text="Coffee").click()
    await expect(bubbles(page, ADA).last).to_have_text("Coffee")
    await expect(menu).to_be_hidden()


async def test_a_key_that_asks_for_a_contact_or_a_place_sends_one_and_not_its_text(page):
    """Telegram Bot API, KeyboardButton: request_contact, request_location; the contact is the user's own."""
    await write(page, ADA, "/share")
    keys = chat(page, ADA).locator(".keyboard.reply")
    await expect(keys.locator("button")).to_have_text(["My number", "I am here", "Neither"])
    answers = bubbles(page, ADA, ".bot")
    await keys.locator("button", has_text="My number").click()
    await expect(answers.last).to_have_text(re.compile(r"^Ada \+\d+ own$"))
    await keys.locator("button", has_text="I am here").click()
    await expect(answers.last).to_have_text(re.compile(r"^at -?\d+, -?\d+$"))
    await keys.locator("button", has_text="Neither").click()
    await expect(answers.last).to_have_text("Neither")
    await expect(chat(page, ADA).locator(".mine .thing .kind")).to_have_text(["Contact", "Location"])
    await expect(bubbles(page, ADA, ".mine")).to_have_text(["/share", "Neither"])
    await expect(keys).to_be_visible()  # it is not for one use


async def test_formatting_and_a_command_that_can_be_clicked(page):
    await write(page, ADA, "/html")
    answer = bubbles(page, ADA, ".bot").first
    await expect(answer).to_have_text("bold <i> link")
    await expect(answer.locator("b")).to_have_text("bold")
    await expect(answer.locator("a")).to_have_attribute("rel", "noopener noreferrer")
    await write(page, ADA, "try /start!")
    await bubbles(page, ADA, ".bot").last.locator("button.command", has_text="/start").click()
    await expect(bubbles(page, ADA, ".mine").last).to_have_text("/start")
    await expect(bubbles(page, ADA, ".bot").last).to_have_text("Press one.")


async def test_links_are_links_only_where_they_are_harmless(page):
    await write(page, ADA, "/start")
    await expect(chat(page, ADA).locator(".keyboard a")).to_have_attribute("href", "https://example.org/")
    await expect(chat(page, ADA).locator(".keyboard button", has_text="Evil")).to_be_disabled()
    assert "javascript:" not in await page.content()


EVIL = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><b>b</b>&amp; 👋🏽"
)


async def test_text_is_never_read_as_html(play, page):
    await write(page, ADA, EVIL)
    await expect(bubbles(page, ADA)).to_have_text([EVIL, EVIL])
    await write(page, GRACE, "/start")
    await press(page, GRACE, "Slow <b>")
    await write(page, GRACE, "/bury")
    for button, name in (("+ Person", "<i>Eve</i>"), ("+ Group", "<u>All</u>")):
        await page.get_by_role("button", name=button).click()
        await page.keyboard.type(name)
        await page.keyboard.press("Enter")
        await expect(page.locator(".chat h2 .name").last).to_have_text(name)
    await page.locator(".chat").nth(4).locator("textarea").fill(EVIL)
    await page.locator(".chat").nth(4).locator("textarea").press("Enter")
    await expect(page.locator("[data-lane] b", has_text="<i>Eve</i>")).to_be_visible()
    await expect(page.locator("[data-lane] script, .chat script, .chat img, h2 i, h2 u")).to_have_count(0)
    assert await page.title() == "Chatlane sandbox"


async def test_very_long_words_break(page):
    word = "Donaudampfschifffahrtsgesellschaft" * 20
    await write(page, ADA, word)
    await write(page, GROUP, word)
    for chat_id in (ADA, GROUP):
        await expect(bubbles(page, chat_id, ".bot")).to_have_text([word])
    assert await width_beyond_the_window(page) <= 0
    assert await chat(page, ADA).evaluate("panel => panel.scrollWidth - panel.clientWidth") <= 0
    inside = chat(page, GROUP).locator(".messages")
    assert await inside.evaluate("list => list.scrollWidth - list.clientWidth") <= 0


async def test_newcomers_join_by_keyboard_alone(page):
    await page.locator("#add-person").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#ask")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#ask")).to_be_hidden()
    await expect(page.locator(".chat")).to_have_count(4)
    await expect(page.locator("#add-person")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#ask-name")).to_be_focused()
    await page.keyboard.type("Barbara")
    await page.keyboard.press("Enter")
    await expect(page.locator(".chat h2 .name").last).to_have_text("Barbara")
    await page.keyboard.type("me, too")  # the new chat's box has the focus
    await page.keyboard.press("Enter")
    await expect(page.locator(".chat").last.locator(".message.bot .text")).to_have_text(["me, too"])
    await expect(chat(page, GROUP).locator("option")).to_have_text(["Ada", "Grace", "Linus", "Barbara"])
    await page.locator("#add-group").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#ask")).to_be_visible()
    await page.keyboard.type("Second group")
    await page.keyboard.press("Enter")
    await expect(page.locator(".chat.group")).to_have_count(2)
    await expect(page.locator(".chat.group").last.locator("option")).to_have_count(4)


# -- attachments and reactions ---------------------------------------------------------------------------


async def send(page, chat_id, what):
    await chat(page, chat_id).locator(".plus").click()
    await page.locator("#menu button", has_text=re.compile(f"^{what}")).first.click()


async def open_menu(page, message):
    await message.hover()
    await message.locator(".dots-menu").click()


async def are_drawn(page, chat_id, count):
    pictures = chat(page, chat_id).locator(".message .picture img")
    await expect(pictures).to_have_count(count)
    for each in await pictures.all():
        await expect(each).to_be_visible()
        assert await each.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


async def test_a_photo_goes_to_the_bot_and_comes_back(page):
    await chat(page, ADA).locator("textarea").fill("See <b>this</b>")
    await send(page, ADA, "Photo")
    await expect(bubbles(page, ADA)).to_have_text(["See <b>this</b>", "Nice!"])
    assert await chat(page, ADA).locator("textarea").input_value() == ""
    await are_drawn(page, ADA, 2)


async def test_a_photo_from_this_computer_is_sent_smaller(page, play, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(picture(1))
    async with page.expect_file_chooser() as choosing:
        await send(page, ADA, "Photo from this computer")
    await (await choosing.value).set_files(path)
    await expect(bubbles(page, ADA)).to_have_text(["Nice!"])
    await are_drawn(page, ADA, 2)
    message = play.fake.world.messages(ADA)[0]
    file = play.fake.world.files.find(message["photo"][0]["file_id"])
    _, content = play.fake.world.files.download(file.path)
    assert content[:3] == b"\xff\xd8\xff"


async def test_a_file_that_is_no_picture_is_reported(page, tmp_path):
    await stop_clock(page)
    path = tmp_path / "text.png"
    path.write_text("no picture")
    async with page.expect_file_chooser() as choosing:
        await send(page, ADA, "Photo from this computer")
    await (await choosing.value).set_files(path)
    await expect(chat(page, ADA).locator(".toast")).to_have_text("This picture cannot be read.")


async def test_an_album_is_one_message_on_the_page(page, play, browser):
    await send(page, GRACE, "Album")
    await expect(bubbles(page, GRACE, ".bot")).to_have_text(["An album of 3."])
    await expect(chat(page, GRACE).locator(".message.mine")).to_have_count(1)
    await expect(chat(page, GRACE).locator(".mine .album img")).to_have_count(3)
    play.fake.world.delete_message(GRACE, 2)
    await expect(chat(page, GRACE).locator(".mine .album img")).to_have_count(2)
    async with opened(browser, play.sandbox.url) as later:
        await expect(chat(later, GRACE).locator(".mine .album img")).to_have_count(2)


async def test_a_contact_and_a_location_are_shown_and_handled(page):
    await send(page, ADA, "Contact")
    await send(page, ADA, "Location")
    await expect(chat(page, ADA).locator(".mine .thing")).to_have_text(
        ["ContactAda +00000001001", "Location52.52, 13.405"]
    )
    await expect(bubbles(page, ADA, ".bot")).to_have_count(2)


async def test_an_own_message_is_edited_and_escape_leaves_that(page):
    await write(page, ADA, "won")
    await expect(bubbles(page, ADA)).to_have_count(2)
    own = chat(page, ADA).locator(".message.mine").first
    box = chat(page, ADA).locator("textarea")
    await open_menu(page, own)
    await page.get_by_role("menuitem", name="Edit").click()
    await expect(box).to_be_focused()
    assert await box.input_value() == "won"
    await page.keyboard.press("Escape")
    await expect(chat(page, ADA).locator(".banner")).to_be_hidden()
    assert await box.input_value() == ""
    await open_menu(page, own)
    await page.get_by_role("menuitem", name="Edit").click()
    await write(page, ADA, "one")
    await expect(bubbles(page, ADA)).to_have_text(["one", "won", "You mean: one"])
    await expect(own.locator("time")).to_contain_text("edited")
    await open_menu(page, chat(page, ADA).locator(".message.bot").first)
    await expect(page.get_by_role("menuitem", name="Edit")).to_have_count(0)


async def test_reactions_are_shown_and_a_bot_that_is_an_administrator_gets_them(page, play, browser):
    await stop_clock(page)
    await write(page, GROUP, "hi")
    await expect(bubbles(page, GROUP)).to_have_count(2)
    own = chat(page, GROUP).locator(".message.mine").first
    await open_menu(page, own)
    await page.get_by_role("menuitem", name="👍").click()
    await expect(own.locator(".reactions")).to_have_text("👍")
    await expect(page.locator("#toasts")).to_contain_text("only where it is an administrator")
    await send(page, GROUP, "Make the bot")
    await expect(chat(page, GROUP).locator(".toast")).to_contain_text("administrator now")
    await open_menu(page, own)
    await page.get_by_role("menuitem", name="Remove the reaction").click()
    await expect(own.locator(".reactions")).to_have_count(0)
    await expect(bubbles(page, GROUP, ".bot").last).to_have_text("0 reactions")
    await open_menu(page, own)
    await page.get_by_role("menuitem", name="🔥").click()
    await expect(bubbles(page, GROUP, ".bot").last).to_have_text("1 reactions")
    async with opened(browser, play.sandbox.url) as later:
        await expect(chat(later, GROUP).locator(".reactions")).to_have_text("🔥")


async def test_an_inline_query_shows_results_of_which_one_is_sent_and_voted_on(page):
    await write(page, GROUP, "@chatlane_bot tea")
    results = chat(page, GROUP).locator(".results button")
    await expect(results.locator("b")).to_have_text(["tea 1", "tea 2"])
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")  # the second: the first had the focus
    await expect(bubbles(page, GROUP, ".mine")).to_have_text(["I choose tea 2."])
    await expect(chat(page, GROUP).locator(".mine .about")).to_have_text("via @chatlane_bot")
    await expect(results).to_have_count(0)
    await press(page, GROUP, "Vote")
    await expect(bubbles(page, GROUP, ".mine")).to_have_text(["One vote."])


async def test_results_of_an_inline_query_take_the_place_of_suggestions(page):
    """Beside both there is no room for the suggestions: they covered the results, and the chat's name."""
    suggestions = chat(page, GROUP).locator(".suggestions")
    await expect(suggestions).to_be_visible()
    await write(page, GROUP, "@chatlane_bot tea")
    await expect(chat(page, GROUP).locator(".results button")).to_have_count(2)
    await expect(suggestions).to_be_hidden()
    await expect(chat(page, GROUP).locator(".results button").first).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(suggestions).to_be_visible()
    await expect(chat(page, GROUP).locator("textarea")).to_be_focused()


async def test_an_inline_query_without_an_answer_shows_a_note_and_escape_leaves_it(play, page):
    await stop_clock(page)
    hung = play.fake.faults.add(Fault("hang", method="answerInlineQuery"))
    await write(page, ADA, "@chatlane_bot tea")
    await expect(chat(page, ADA).locator(".results")).to_have_text("Asking the bot …")
    await page.clock.fast_forward(11_000)
    await expect(chat(page, ADA).locator(".results")).to_contain_text("not answered within 10 s")
    await page.keyboard.press("Escape")
    await expect(chat(page, ADA).locator(".results")).to_be_hidden()
    play.fake.faults.remove(hung)  # the bot need not wait for it when it stops


async def test_who_has_stopped_the_bot_can_let_it_write_again(page, play, browser):
    await send(page, LINUS, "Stop the bot")
    await expect(chat(page, LINUS).locator("textarea")).to_be_hidden()
    async with opened(browser, play.sandbox.url) as later:
        await expect(chat(later, LINUS).locator(".unblock")).to_be_visible()
    await chat(page, LINUS).locator(".unblock").click()
    await write(page, LINUS, "hi")
    await expect(bubbles(page, LINUS, ".bot")).to_have_text(["hi"])


async def test_an_hour_passes(page):
    await stop_clock(page)
    await write(page, ADA, "/tea")
    await expect(bubbles(page, ADA, ".bot")).to_have_text(["In an hour."])
    await page.get_by_role("button", name="+ 1 hour").click()
    await expect(bubbles(page, ADA, ".bot")).to_have_text(["In an hour.", "Your tea is ready."])
    await expect(page.locator("#clock")).to_have_text("1 h ahead")
    await expect(page.locator("#caption")).to_contain_text("An hour has passed")


async def test_what_telegram_does_not_know_is_an_error_in_the_chat(page):
    await write(page, GRACE, "/wrong")
    refused = chat(page, GRACE).locator(".service")
    await expect(refused).to_contain_text("sendMessage was refused: 400")
    await expect(refused).to_contain_text('InlineKeyboardButton has no field "colour"')


@pytest.mark.parametrize("width", [390, 1280])
async def test_a_calendar_fits(play, browser, width):
    async with opened(browser, play.sandbox.url, viewport={"width": width, "height": 800}) as page:
        await write(page, LINUS, "/calendar")
        days = chat(page, LINUS).locator(".keyboard .narrow button")
        await expect(days).to_have_count(35)
        cut = "all => all.filter((each) => each.scrollWidth > each.clientWidth || each.offsetHeight > 40).length"
        assert await days.evaluate_all(cut) == 0
        tops = await days.evaluate_all("all => new Set(all.map((each) => each.offsetTop)).size")
        assert tops == 5


async def test_the_commands_that_the_bot_sets_are_suggested(play, page):
    async with aiohttp.ClientSession() as http:
        commands = {"commands": [{"command": "order", "description": "Tea and cake"}]}
        await http.post(f"{play.fake.url}/bot{play.fake.token}/setMyCommands", json=commands)
    await expect(chat(page, ADA).locator(".suggestions button")).to_have_text(["/order", "Hello!"])


# -- layout and keyboard shortcuts -----------------------------------------------------------------------


async def test_one_chat_has_the_whole_width_and_escape_takes_it_back(page):
    await page.get_by_role("button", name="Full width of Grace").click()
    await expect(page.locator(".chat:visible")).to_have_count(1)
    box = await chat(page, GRACE).bounding_box()
    assert box["width"] > 1200
    await page.keyboard.press("Escape")
    await expect(page.locator(".chat:visible")).to_have_count(4)


async def test_the_lanes_fold_and_stay_folded(page):
    before = (await page.locator("#lanes").bounding_box())["height"]
    await page.get_by_role("button", name="Fold").click()
    assert (await page.locator("#lanes").bounding_box())["height"] < before / 2
    await expect(page.locator("#inbox-totals")).to_be_visible()
    await page.reload()
    await expect(page.locator("#state")).to_have_text("live")
    await expect(page.locator("#fold")).to_have_attribute("aria-expanded", "false")
    await expect(page.locator("#rows")).to_be_hidden()
    await page.keyboard.press("l")
    await expect(page.locator("#fold")).to_have_attribute("aria-expanded", "true")


async def test_a_browser_that_remembers_nothing_folds_all_the_same(page):
    blocked = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('blocked'); }})"
    await page.add_init_script(blocked)
    await page.reload()
    await expect(page.locator("#state")).to_have_text("live")
    await page.get_by_role("button", name="Fold").click()
    await expect(page.locator("#rows")).to_be_hidden()


async def test_single_keys_work_outside_of_text_fields(page):
    await page.keyboard.press("2")
    await expect(chat(page, GRACE).locator("textarea")).to_be_focused()
    await page.keyboard.type("1f?l")  # these are letters now
    assert await chat(page, GRACE).locator("textarea").input_value() == "1f?l"
    await page.keyboard.press("Escape")
    await expect(chat(page, GRACE).locator("textarea")).not_to_be_focused()
    await page.keyboard.press("f")
    await expect(page.locator(".chat:visible")).to_have_count(1)
    await page.keyboard.press("f")
    await page.keyboard.press("?")
    await expect(page.locator("#help")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#help")).to_be_hidden()


async def test_the_menu_of_a_message_is_reached_by_keyboard(page):
    await write(page, ADA, "hi")
    await expect(bubbles(page, ADA)).to_have_count(2)
    await chat(page, ADA).locator(".messages").focus()
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowUp")
    await expect(chat(page, ADA).locator(".message.mine")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menuitem", name="👍")).to_be_focused()
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Enter")
    await expect(chat(page, ADA).locator(".reactions")).to_have_text("❤")
    await page.keyboard.press("Escape")


async def test_a_skip_link_leads_to_the_chats(page):
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the chats")).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Full width of Ada")).to_be_focused()


# -- the lanes -------------------------------------------------------------------------------------------


async def test_a_busy_lane_waits_in_line_while_another_is_served(play, page):
    await write(page, ADA, "/start")
    await press(page, ADA, "Slow")
    await expect(half(page, ADA, "inbox").locator(".pill")).to_have_text(
        re.compile(r"worker \d+ · \d+\.\d s")
    )
    for number in range(3):
        await write(page, ADA, f"waits {number}")
    await expect(half(page, ADA, "inbox").locator(".dots i")).to_have_count(3)
    await expect(half(page, ADA, "inbox")).to_have_attribute("data-status", "leased")
    await write(page, GRACE, "overtakes")
    await expect(bubbles(page, GRACE, ".bot")).to_have_text(["overtakes"])
    await expect(half(page, GRACE, "inbox").locator(".done")).to_have_text("✓ 1 handled")
    await expect(half(page, GRACE, "outbox").locator(".done")).to_have_text("✓ 1 sent")
    await expect(page.locator("#inbox-totals")).to_have_text("6 appended = 2 committed + 4 pending + 0 dead")
    await expect(bubbles(page, ADA, ".bot")).to_have_text(["Press one."])
    play.gate.set()
    expected = ["Press one.", "The slow job is done.", "waits 0", "waits 1", "waits 2"]
    await expect(bubbles(page, ADA, ".bot")).to_have_text(expected)
    await expect(half(page, ADA, "inbox").locator(".dots i")).to_have_count(0)
    await expect(page.locator("#inbox-totals")).to_have_text("6 appended = 6 committed + 0 pending + 0 dead")


async def test_a_lane_that_is_done_fades_and_vanishes(page, monkeypatch):
    await write(page, ADA, "hi")
    row = page.locator(f'[data-lane="chat:{ADA}"]')
    await expect(row).to_have_class("idle")
    await expect(row.locator(".lane-name b")).to_have_text("Ada")
    monkeypatch.setattr(telegram.sandbox.lanes, "LINGER_S", 0.1)
    await expect(row).to_have_count(0)
    await expect(page.locator("#no-lanes")).to_be_visible()


async def test_a_burst_fills_every_lane_and_all_is_answered_in_order(play, page):
    await page.locator("#burst").click()
    expected = [f"{number} of 20" for number in range(1, 21)]
    for chat_id in (ADA, GRACE, LINUS, GROUP):
        await expect(bubbles(page, chat_id, ".bot")).to_have_text(expected)
        await expect(half(page, chat_id, "inbox").locator(".done")).to_have_text("✓ 20 handled")
    at_end = "list => list.scrollHeight - list.scrollTop - list.clientHeight < 5"
    assert await chat(page, GROUP).locator(".messages").evaluate(at_end)


async def show_me(page):
    """Press "Show me"; the page looks for the keyboard when the answer is there, however late it comes."""
    await stop_clock(page)
    await page.locator("#show").click()
    await expect(bubbles(page, ADA, ".bot")).to_have_text(["Press one."])
    await page.clock.run_for(50)


async def test_show_me_holds_up_one_chat_only(play, page):
    await show_me(page)
    await expect(page.locator("#caption")).to_contain_text("Ada pressed “Slow <b>”")
    await expect(half(page, ADA, "inbox").locator(".dots i")).to_have_count(20)
    for chat_id in (GRACE, LINUS, GROUP):
        await expect(half(page, chat_id, "inbox").locator(".done")).to_have_text("✓ 20 handled")
        await expect(bubbles(page, chat_id, ".bot")).to_have_count(20)
    await expect(bubbles(page, ADA, ".bot")).to_have_text(["Press one."])
    play.gate.set()
    await expect(bubbles(page, ADA, ".bot")).to_have_count(22)
    await expect(page.locator("#show")).to_be_enabled()


async def test_a_lane_with_more_than_fits_shows_how_many_more(play, page):
    await write(page, ADA, "/start")
    await press(page, ADA, "Slow")
    for _ in range(2):
        await page.locator("#burst").click()
    await expect(half(page, ADA, "inbox").locator(".more")).to_have_text("+20")
    assert await width_beyond_the_window(page) <= 0


async def test_without_a_bot_messages_wait_at_telegram(play, page):
    await play.bot.stop()
    for number in range(3):
        await write(page, LINUS, f"{number}")
    await expect(page.locator(".at-telegram")).to_have_text("+3 at Telegram")
    await expect(half(page, LINUS, "inbox").locator(".done")).to_have_text("")


async def test_a_parked_lane_shows_the_reason(play, page):
    play.fake.faults.add(Fault("status", code=429, retry_after=99, method="sendMessage"))
    await write(page, ADA, "hi")
    pill = half(page, ADA, "outbox").locator(".pill")
    await expect(pill).to_have_text(re.compile(r"parked \d\d\.\d s · .*Too Many Requests"))
    await expect(half(page, ADA, "outbox").locator(".dots i")).to_have_count(1)
    assert (await play.store.lanes(Queue.OUTBOX))[0].status == "parked"


async def test_dead_letters_are_listed_and_tried_again(play, page):
    await expect(page.locator("#dead")).to_be_hidden()
    await write(page, ADA, "/bury")
    await expect(page.locator("#dead-count")).to_have_text("1")
    await page.locator("#dead summary").click()
    letter = page.locator("[data-letter]")
    await expect(letter).to_contain_text(f"inbox · Ada (chat:{ADA}) · attempts 1")
    await expect(letter.locator(".reason")).to_have_text("<b>no</b> way")
    play.gate.set()
    await letter.locator("button").click()
    await expect(bubbles(page, ADA, ".bot")).to_have_text([APOLOGY, "dug out"])
    await expect(page.locator("#dead")).to_be_hidden()


# -- reconnects and rendering ----------------------------------------------------------------------------


async def test_a_page_opened_later_shows_the_same(play, page, browser):
    await write(page, ADA, "/menu")
    await write(page, GRACE, "/start")
    await expect(bubbles(page, GRACE)).to_have_count(2)
    async with opened(browser, play.sandbox.url) as later:
        await expect(bubbles(later, ADA)).to_have_text(["/menu", "Tea or coffee?"])
        await expect(chat(later, ADA).locator(".keyboard.reply button")).to_have_count(2)
        await write(later, GRACE, "from the other page")
        await expect(bubbles(page, GRACE).last).to_have_text("from the other page")
        await chat(page, ADA).locator("textarea").focus()
        await later.locator("#add-person").click()
        await later.keyboard.type("Barbara")
        await later.keyboard.press("Enter")
        await expect(page.locator(".chat")).to_have_count(5)
        await expect(chat(page, ADA).locator("textarea")).to_be_focused()  # the focus stays in this page


NO_SERVER: Final = ("net::ERR_CONNECTION_", "net::ERR_EMPTY_RESPONSE", "WebSocket connection to")
"""What a browser says while a server ends, or is not there."""


async def test_a_bot_that_was_restarted_finds_its_page_again(browser, own_port):
    async with playground(port=own_port) as first:
        connecting = opened(browser, first.sandbox.url, complaints=NO_SERVER)
        page = await connecting.__aenter__()
        await write(page, ADA, "before")
        await expect(bubbles(page, ADA)).to_have_count(2)
        await page.locator("#add-person").click()
        await page.keyboard.type("Short-lived")
        await page.keyboard.press("Enter")
        await expect(page.locator(".chat")).to_have_count(5)
        await chat(page, GRACE).locator("textarea").fill("half a sent")
    await expect(page.locator("#lost")).to_be_visible()
    await expect(page.locator("#state")).to_have_text("connection lost")
    await expect(page.locator("#burst")).to_be_disabled()
    await stop_clock(page)
    await write(page, ADA, "kept")
    await expect(page.locator("#toasts")).to_contain_text("Not sent")
    assert await chat(page, ADA).locator("textarea").input_value() == "kept"
    await page.clock.resume()
    async with playground(port=own_port):
        await expect(page.locator("#state")).to_have_text("live")
        await expect(page.locator("#lost")).to_be_hidden()
        await expect(page.locator(".chat")).to_have_count(4)
        await expect(chat(page, GROUP).locator("option")).to_have_count(3)
        await expect(bubbles(page, ADA)).to_have_count(0)
        assert await chat(page, GRACE).locator("textarea").input_value() == "half a sent"
        await chat(page, ADA).locator("textarea").press("Enter")
        await expect(bubbles(page, ADA, ".bot")).to_have_text(["kept"])
        await connecting.__aexit__(None, None, None)


async def test_a_page_that_was_cut_off_keeps_what_is_still_there(play, browser, own_port):
    parts = (play.fake, play.bot, play.store, play.lanes)
    async with (
        Sandbox(*parts, port=own_port, answer_after_s=0) as second,
        opened(browser, second.url, complaints=NO_SERVER) as page,
    ):
        await write(page, ADA, "before")
        await expect(bubbles(page, ADA, ".bot")).to_have_text(["before"])
        await second.__aexit__(None, None, None)
        await expect(page.locator("#lost")).to_be_visible()
        play.fake.world.send_message(ADA, ADA, "meanwhile")
        async with Sandbox(*parts, port=own_port, answer_after_s=0):
            await expect(page.locator("#lost")).to_be_hidden()
            await expect(bubbles(page, ADA)).to_have_text(["before", "before", "meanwhile", "meanwhile"])


async def test_dark_where_the_system_is_dark(play, browser):
    grounds = {}
    for scheme in ("light", "dark"):
        async with opened(browser, play.sandbox.url, color_scheme=scheme) as page:
            color = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            grounds[scheme] = sum(map(int, re.findall(r"\d+", color)[:3]))
    assert grounds["dark"] < 150 < 600 < grounds["light"]


async def test_a_phone_shows_one_chat_below_the_other(play, browser):
    async with opened(
        browser, play.sandbox.url, viewport={"width": 390, "height": 844}, has_touch=True
    ) as page:
        await show_me(page)
        await expect(half(page, ADA, "inbox").locator(".dots i")).to_have_count(20)
        assert await width_beyond_the_window(page) <= 0
        boxes = await page.locator(".chat").evaluate_all(
            "all => all.map((each) => each.getBoundingClientRect().toJSON())"
        )
        assert len(boxes) == 4
        assert len({box["x"] for box in boxes}) == 1
        assert [box["y"] for box in boxes] == sorted(box["y"] for box in boxes)
        assert all(360 <= box["width"] <= 390 for box in boxes)
        play.gate.set()
        await expect(bubbles(page, ADA, ".bot")).to_have_count(22)


@pytest.mark.parametrize("is_phone", [False, True])
async def test_buttons_are_large_enough_and_cover_nothing(play, browser, is_phone):
    """At least 24 x 24 pixels, except in a text (WCAG 2.2, criterion 2.5.8); the menus of messages leave the time readable."""
    options = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    # Without motion: a box that moves by fractions of a pixel is measured as 23.99.
    async with opened(
        browser, play.sandbox.url, reduced_motion="reduce", **options if is_phone else {}
    ) as page:
        await write(page, ADA, "/start")
        await expect(bubbles(page, ADA)).to_have_count(2)
        found = await page.evaluate(SMALL_AND_COVERED)
        assert found["count"] > 20
        assert found["small"] == []
        assert not is_phone or found["covered"] == []


async def test_every_button_and_box_has_a_name(page):
    await write(page, ADA, "/start")
    await expect(bubbles(page, ADA)).to_have_count(2)
    nameless = await page.evaluate(
        """[...document.querySelectorAll("button, textarea, select, input")]
           .filter((each) => !(each.textContent.trim() || each.ariaLabel || each.labels?.length))
           .map((each) => each.outerHTML)"""
    )
    assert nameless == []


async def test_the_keyboard_reaches_everything_in_order(page):
    reached: list[str] = []
    while not reached or reached[-1] != "Send in Ada":
        await page.keyboard.press("Tab")
        reached.append(
            await page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent")
        )
    assert reached[:2] == ["Skip to the chats", "Skip to the lanes"]
    assert reached[2:8] == ["▶ Show me", "Burst", "+ Person", "+ Group", "+ 1 hour", "Keyboard"]
    assert reached[8:11] == ["Fold", "Full width of Ada", "Messages of Ada"]
    assert reached[11].startswith("/")
    assert reached[-3:] == ["More to send in Ada", "Message in Ada", "Send in Ada"]
