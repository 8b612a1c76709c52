"""The operator's page in a browser: what a person finds there, and does."""

import asyncio
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from engine import Queue
from engine.stores.contract import append
from engine.stores.contract.store import update
from engine.stores.memory import MemoryStore
from telegram.fake import FakeServer
from telegram.metrics.counts import Counts
from telegram.operating import rates
from telegram.operating.operating import Operating
from telegram.operating.page import server as page_server
from tests.kit.operated import READ_SECRET, SECRET, Operated, operated
from tests.kit.page import NEEDS_CHROMIUM, chromium
from tests.kit.stage import Stage
from tests.operating.poisoned import router_that

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with chromium() as browser:
        yield browser


PAGE_JS: Final = Path(page_server.__file__).with_name("page.js").read_text()
TOAST_MS: Final = PAGE_JS.partition("const TOAST_MS = ")[2].partition(";")[0]
TOASTS_STAY: Final = f"""{{
  const later = window.setTimeout;
  window.setTimeout = (act, ms, ...more) => (ms === {TOAST_MS} ? 0 : later(act, ms, ...more));
}}"""
"""A busy machine reads them late."""


@asynccontextmanager
async def seen(browser, page: Operated, *, complaints=(), secret=SECRET, **options):
    """The page after the login; at the end it must have complained of nothing but `complaints`."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    await context.add_init_script(TOASTS_STAY)
    tab = await context.new_page()
    heard: list[str] = []
    tab.on("console", lambda message: heard.append(message.text))
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.on(
        "request",
        lambda request: None if request.url.startswith((page.url, "data:")) else heard.append(request.url),
    )
    await tab.goto(page.url)
    if secret:
        await tab.get_by_label("Secret").fill(secret)
        await tab.keyboard.press("Enter")
        await expect(tab.locator("#state")).to_have_text("live")
    yield tab
    assert [line for line in heard if not any(known in line for known in complaints)] == []
    await context.close()


async def confirm(tab: Page) -> None:
    await tab.locator("#confirm-ok").click()


@asynccontextmanager
async def bot_with_page(stage: Stage, folder: Path, works: bool, **options):
    counts = Counts(stage.fake.clock, asyncio.get_running_loop().time)
    async with (
        stage.bot(router_that(works), meter=counts, apology="") as bot,
        operated(
            stage.store, folder, bot, wall=stage.fake.clock, token=stage.fake.token, counts=counts, **options
        ) as page,
    ):
        yield page


@pytest_asyncio.fixture(loop_scope="module")
async def stage():
    async with FakeServer() as fake:
        yield Stage(fake, MemoryStore())


async def test_a_poisoned_update_is_found_read_and_replayed_after_the_repair(browser, stage, tmp_path):
    async with bot_with_page(stage, tmp_path, works=False) as page, seen(browser, page) as tab:
        stage.fake.world.send_message(5, 5, "poison")
        letter = tab.locator("#letters > li")
        await expect(letter).to_have_count(1)
        await expect(letter.locator(".reason")).to_have_text("TypeError: bad code")
        await expect(tab.locator(".tile", has_text="dead letters").locator("b")).to_have_text("1")
        assert "poison" not in await tab.locator("body").inner_text()
        assert page.recorded() == [("login", "done")]
        await letter.get_by_role("button", name="Show text").click()
        await expect(letter.locator("pre").first).to_contain_text('raise TypeError("bad code")')
        await expect(letter.locator("pre").last).to_contain_text('"text": "poison"')
        assert page.recorded()[1:] == [("letter", "begun"), ("letter", "shown")]
    async with bot_with_page(stage, tmp_path, works=True) as page, seen(browser, page) as tab:
        letter = tab.locator("#letters > li")
        await letter.get_by_role("button", name="Replay").click()
        await expect(tab.locator("#toasts")).to_have_text("Replay: 1 done")
        await expect(letter).to_have_count(0)
        await stage.idle()
        assert stage.texts() == ["got poison"]
        await tab.locator("#audit summary").click()
        await expect(tab.locator("#entries li").first).to_contain_text("replay")
        await expect(tab.locator("#entries li").first).to_contain_text("1 done")


async def test_latencies_and_rates_are_plotted_and_said(browser, stage, tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "EVERY_S", 0.2)
    async with bot_with_page(stage, tmp_path, works=True) as page, seen(browser, page) as tab:
        for chat in range(5, 25):
            stage.fake.world.send_message(chat, chat, "hello")
        for plot, line in (
            ("latency", 0),
            ("latency", 1),
            ("latency", 2),
            ("rates", 0),
            ("rates", 3),
            ("pending", 0),
        ):
            await expect(tab.locator(f"#{plot}-plot path.line-{line}")).to_have_attribute(
                "d", re.compile("M")
            )
        await expect(tab.locator("#latency-plot .legend")).to_contain_text("reply, 95 %")


async def test_a_lane_is_parked_by_its_key_and_released(browser, stage, tmp_path):
    async with bot_with_page(stage, tmp_path, works=True) as page, seen(browser, page) as tab:
        await tab.get_by_placeholder("chat:42").fill("chat:5")
        await tab.keyboard.press("Enter")
        lane = tab.locator('[data-lane="chat:5"]')
        await expect(lane).to_contain_text("parked by operator")
        stage.fake.world.send_message(5, 5, "one")
        stage.fake.world.send_message(5, 5, "two")
        await expect(lane).to_contain_text("2 pending")
        assert stage.sent() == []
        await lane.get_by_role("button", name="Release chat:5").click()
        await expect(lane).to_have_count(0)
        await stage.idle()
        assert stage.texts() == ["got one", "got two"]


async def test_sending_is_paused_after_a_confirmation_and_goes_on(browser, stage, tmp_path):
    async with bot_with_page(stage, tmp_path, works=True) as page, seen(browser, page) as tab:
        pause = tab.locator("#pause")
        await pause.click()
        await tab.get_by_role("button", name="Cancel").click()
        await pause.click()
        await tab.keyboard.press("Escape")
        assert page.recorded() == [("login", "done")]
        await pause.click()
        await confirm(tab)
        await expect(tab.locator("#paused")).to_contain_text("Sending is paused (paused by operator")
        stage.fake.world.send_message(5, 5, "hello")
        await expect(tab.locator(".tile", has_text="calls pending").locator("b")).to_have_text("1")
        assert stage.sent() == []
        await pause.click()
        await expect(tab.locator("#paused")).to_be_hidden()
        await stage.idle()
        assert stage.texts() == ["got hello"]


async def test_a_question_is_not_answered_by_the_end_of_the_one_before(browser, stage, tmp_path):
    """The close event of a dialog comes later than the end of the dialog (HTML Standard, close the dialog)."""
    async with bot_with_page(stage, tmp_path, works=True) as page, seen(browser, page) as tab:
        pause = "document.getElementById('pause').click();"
        await tab.evaluate(f"() => {{ {pause} document.getElementById('confirm').close(); {pause} }}")
        await confirm(tab)
        await expect(tab.locator("#paused")).to_be_visible()


async def test_an_answer_that_was_overtaken_is_not_shown(browser, tmp_path):
    is_read, go_on = asyncio.Event(), asyncio.Event()

    async def late(route):
        answer = await route.fetch()
        is_read.set()
        await go_on.wait()
        await route.fulfill(response=answer)

    async with operated(MemoryStore(), tmp_path) as page, seen(browser, page) as tab:
        await tab.route("**/api/live?*", late, times=1)
        await is_read.wait()
        await tab.get_by_placeholder("chat:42").fill("chat:5")
        await tab.keyboard.press("Enter")
        await expect(tab.locator('[data-lane="chat:5"]')).to_contain_text("parked by operator")
        await tab.evaluate(
            "window.gone = 0; new MutationObserver((seen) => { for (const each of seen) gone += each.removedNodes.length; })"
            ".observe(document.getElementById('rows'), { childList: true })"
        )
        async with tab.expect_response("**/api/live?*"):
            go_on.set()
        async with tab.expect_response("**/api/live?*"):
            pass
        assert await tab.evaluate("window.gone") == 0


async def store_of_letters(count):
    store = MemoryStore()
    for id_ in range(1, count + 1):
        await bury(store, id_)
    return store


async def bury(store, id_):
    await append(store, [update(id_, f"chat:{id_}")])
    await store.bury(await store.claim(Queue.INBOX), "no good")


async def test_older_letters_are_read_also_if_others_are_being_read(browser, tmp_path):
    is_asked, go_on = asyncio.Event(), asyncio.Event()

    async def late(route):
        is_asked.set()
        await go_on.wait()
        await route.continue_()

    store = await store_of_letters(60)
    async with operated(store, tmp_path) as page, seen(browser, page) as tab:
        letters = tab.locator("#letters > li")
        await expect(letters).to_have_count(50)
        await tab.route("**/api/dead?*", late, times=1)
        await bury(store, 61)
        await is_asked.wait()
        await tab.get_by_role("button", name="Older ones").click()
        go_on.set()
        await expect(letters).to_have_count(61)


async def test_several_letters_are_discarded_after_a_confirmation(browser, tmp_path):
    store = await store_of_letters(60)
    async with operated(store, tmp_path) as page, seen(browser, page) as tab:
        letters = tab.locator("#letters > li")
        await expect(letters).to_have_count(50)
        await tab.get_by_role("button", name="Older ones").click()
        await expect(letters).to_have_count(60)
        await expect(tab.get_by_role("button", name="Older ones")).to_be_hidden()
        numbers = await letters.evaluate_all("(all) => all.map((each) => Number(each.dataset.letter))")
        assert numbers == list(range(60, 0, -1))
        await letters.nth(0).get_by_role("checkbox").check()
        await letters.nth(2).get_by_role("checkbox").check()
        await tab.get_by_role("button", name="Discard 2").click()
        await expect(tab.locator("#confirm-title")).to_have_text("Discard 2 dead letters?")
        assert await store.dead_count() == 60
        await confirm(tab)
        await expect(tab.locator("#toasts")).to_have_text("Discard: 2 done")
        await expect(letters).to_have_count(58)
        assert await store.dead_letter(60) is None
        assert await store.dead_letter(59) is not None


async def test_a_reader_sees_all_and_has_no_button_that_changes(browser, tmp_path):
    store = MemoryStore()
    await append(store, [update(1), update(2, "chat:2")])
    await store.bury(await store.claim(Queue.INBOX), "no good")
    async with operated(store, tmp_path) as page, seen(browser, page, secret=READ_SECRET) as tab:
        await expect(tab.locator("#letters > li")).to_have_count(1)
        await expect(tab.locator('[data-lane="chat:2"]')).to_be_visible()
        shown = await tab.locator("button:visible").all_inner_texts()
        assert sorted(shown) == ["Log out", "Show text"]


async def test_a_wrong_secret_is_said_and_the_session_ends_at_logout(browser, tmp_path):
    async with (
        operated(MemoryStore(), tmp_path) as page,
        seen(browser, page, secret="", complaints=("401",)) as tab,
    ):
        await tab.get_by_label("Secret").fill("guess")
        await tab.keyboard.press("Enter")
        await expect(tab.locator("#login-problem")).to_have_text("this secret is not right")
        await tab.get_by_label("Secret").fill(SECRET)
        await tab.keyboard.press("Enter")
        await expect(tab.locator("#state")).to_have_text("live")
        assert await tab.evaluate("document.cookie") == ""  # HttpOnly
        await tab.reload()
        await expect(tab.locator("#state")).to_have_text("live")
        await tab.get_by_role("button", name="Log out").click()
        await expect(tab.get_by_label("Secret")).to_be_visible()
        await tab.reload()
        await expect(tab.get_by_label("Secret")).to_be_visible()


async def test_several_processes_are_listed_and_each_is_drained_by_its_name(browser, tmp_path, monkeypatch):
    process = {"pid": 7, "host": "a", "state": "running", "up_s": 1.0, "running": {"inbox": 1, "outbox": 0}}
    stats = Operating.stats

    async def of_two(self):
        return {**await stats(self), "processes": [process, {**process, "host": "b"}]}

    monkeypatch.setattr(Operating, "stats", of_two)
    async with operated(MemoryStore(), tmp_path) as page, seen(browser, page) as tab:
        await expect(tab.locator("#process-list li")).to_have_count(2)
        await expect(tab.locator("#drain")).to_be_hidden()
        async with tab.expect_request("**/api/drain") as asked:
            await tab.get_by_role("button", name="Drain process 7 on b").click()
            await expect(tab.locator("#confirm-title")).to_have_text("Drain process 7@b?")
            await tab.route("**/api/drain", lambda route: route.fulfill(json={"result": "done"}))
            await confirm(tab)
        assert (await asked.value).post_data_json == {"process": "7@b"}
        await expect(tab.locator("#toasts")).to_have_text("The process stops")


async def test_a_strangers_text_is_no_markup(browser, tmp_path):
    evil = "<img src=x onerror=alert(1)><script>alert(1)</script>"
    store = MemoryStore()
    await append(store, [update(1, f"chat:{evil}", body=evil.encode())])
    await store.bury(await store.claim(Queue.INBOX), evil)
    await append(store, [update(2, f"chat:{evil}")])
    async with operated(store, tmp_path) as page, seen(browser, page) as tab:
        letter = tab.locator("#letters > li")
        await expect(letter.locator(".reason")).to_have_text(evil)
        await letter.get_by_role("button", name="Show text").click()
        await expect(letter.locator("pre").last).to_have_text(evil)
        await expect(tab.locator("#rows > li b")).to_have_text(f"chat:{evil}")
        assert await tab.locator("img, main script").count() == 0


async def test_everything_is_reached_by_keyboard_and_has_a_name(browser, tmp_path):
    store = MemoryStore()
    await append(store, [update(1), update(2, "chat:2")])
    await store.bury(await store.claim(Queue.INBOX), "no good")
    async with operated(store, tmp_path) as page, seen(browser, page) as tab:
        await expect(tab.locator("#letters > li")).to_have_count(1)
        await expect(tab.locator('[data-lane="chat:2"]')).to_be_visible()
        names = set()
        for _ in range(40):
            await tab.keyboard.press("Tab")
            names.add(
                await tab.evaluate(
                    "(document.activeElement.ariaLabel || document.activeElement.innerText"
                    " || document.activeElement.labels?.[0]?.innerText || '').trim()"
                )
            )
        wanted = {
            "Pause sending",
            "Drain the process",
            "Log out",
            "Park chat:2",
            "Show text",
            "Replay",
            "Discard",
            "Choose 1",
        }
        assert wanted <= names
        assert {"Skip to the lanes", "Skip to the dead letters"} <= names
        unnamed = await tab.evaluate(
            "[...document.querySelectorAll('button, input, select')].filter((each) => each.checkVisibility()"
            " && !(each.innerText || each.ariaLabel || each.labels?.length)).map((each) => each.outerHTML)"
        )
        assert unnamed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_nothing_is_cut_off_at_any_width(browser, stage, tmp_path, monkeypatch, scheme, width):
    monkeypatch.setattr(rates, "EVERY_S", 0.05)
    async with bot_with_page(stage, tmp_path, works=False) as page:
        for chat in range(1, 8):
            stage.fake.world.send_message(chat, chat, "poison" if chat < 4 else "hello")
        await stage.idle()
        await stage.store.hold(Queue.INBOX, "chat:9", "parked by operator ab12cd")
        for number in range(4):
            stage.fake.world.send_message(9, 9, f"waits {number}")
        options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
        async with seen(browser, page, **options) as tab:
            await expect(tab.locator("#letters > li")).to_have_count(3)
            await expect(tab.locator('[data-lane="chat:9"]')).to_contain_text("4 pending")
            await expect(tab.locator("#rates-plot path.line-0")).to_have_attribute("d", re.compile("M"))
            assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
            small = await tab.evaluate(
                "[...document.querySelectorAll('button, select')].filter((each) => each.checkVisibility()"
                " && each.getBoundingClientRect().height < 24).map((each) => each.outerHTML)"
            )
            assert small == []  # WCAG 2.2, 2.5.8 Target Size (Minimum)
