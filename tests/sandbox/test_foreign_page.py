"""Pages of other sites in a real browser: nothing is read, written or stopped, and no file that was sent runs."""

import json
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

from telegram.fake.server.control import Control
from tests.kit.page import ADA, ARGUMENTS, CHROMIUM, NEEDS_CHROMIUM
from tests.kit.playground import playground

LOOP: Final = "module"

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.asyncio(loop_scope=LOOP)]

PAGE = """<!doctype html><title>another site</title><body><script>
const tried = {};
const seen = [];
async function attempt(name, action) {
  const limit = new Promise((_, fail) => setTimeout(() => fail(new Error("no answer")), 3000));
  try { tried[name] = String(await Promise.race([action(), limit])); }
  catch (error) { tried[name] = `failed: ${error}`; }
}
const element = (tag, fields) => new Promise((resolve, fail) => {
  const made = Object.assign(document.createElement(tag), fields);
  made.onload = () => resolve("loaded");
  made.onerror = () => fail(new Error("refused"));
  document.body.append(made);
});
const socket = (url) => new Promise((resolve, fail) => {
  const made = new WebSocket(url);
  made.onopen = () => { made.send('{"do":"say","chat":1001,"user":1001,"text":"evil"}'); };
  made.onmessage = () => resolve("heard");
  made.onclose = () => fail(new Error("closed"));
});
const form = (action, fields, enctype) => new Promise((resolve) => {
  const frame = Object.assign(document.createElement("iframe"), { name: `f${Math.random()}` });
  const made = Object.assign(document.createElement("form"), { action, method: "POST", target: frame.name });
  if (enctype) made.enctype = enctype;
  for (const [name, value] of Object.entries(fields)) {
    made.append(Object.assign(document.createElement("input"), { name, value }));
  }
  document.body.append(frame, made);
  frame.onload = () => {
    let text = "not readable";
    try { if (frame.contentDocument.body.textContent) text = "read"; } catch {}
    resolve(text);
  };
  made.submit();
});
async function attack({ api, control, page, file, key }) {
  const text = { method: "POST", headers: { "Content-Type": "text/plain" } };
  for (const url of [`${api}getMe`, `${api}getUpdates?timeout=0`, `${page}key`, page, `${page}page.js`, file,
                     `${control}stats`, `${control}calls`]) {
    await attempt(`read ${url}`, async () => "read " + await (await fetch(url)).text());
    await attempt(`read with cookies ${url}`,
      async () => "read " + await (await fetch(url, { credentials: "include" })).text());
    await attempt(`image ${url}`, () => element("img", { src: url }));
    await attempt(`script ${url}`, () => element("script", { src: url }));
    await attempt(`module ${url}`, () => import(url).then(() => "loaded"));
  }
  for (const body of ["chat_id=1001&text=evil", '{"chat_id":1001,"text":"evil"}']) {
    const kind = body[0] === "{" ? "text/plain" : "application/x-www-form-urlencoded";
    for (const mode of ["no-cors", "cors"]) {
      await attempt(`send ${mode} ${kind}`, () => fetch(`${api}sendMessage`,
        { method: "POST", mode, headers: { "Content-Type": kind }, body }).then(() => "sent"));
    }
  }
  await attempt("get", () => fetch(`${api}sendMessage?chat_id=1001&text=evil`, { mode: "no-cors" }).then(() => "sent"));
  await attempt("no referrer", () => fetch(`${api}sendMessage?chat_id=1001&text=evil`,
    { mode: "no-cors", referrerPolicy: "no-referrer" }).then(() => "sent"));
  await attempt("beacon", async () => navigator.sendBeacon(`${api}sendMessage`,
    new URLSearchParams({ chat_id: 1001, text: "evil" })));
  await attempt("form", () => form(`${api}sendMessage`, { chat_id: 1001, text: "evil" }));
  await attempt("log out", () => form(`${api}logOut`, {}));
  await attempt("form to say", () => form(`${control}say`,
    { '[{"chat":1001,"user":1001,"text":"evil"}]//': "" }, "text/plain"));
  for (const path of ["down", "restart-ids", "faults", "say", "raw"]) {
    await attempt(`post ${path}`, () => fetch(`${control}${path}`,
      { ...text, mode: "no-cors", body: '[{"chat":1001,"user":1001,"text":"evil"}]' }).then(() => "sent"));
    await attempt(`authorized ${path}`, () => fetch(`${control}${path}`,
      { method: "POST", headers: { Authorization: `Bearer ${key}` }, body: "{}" }).then(() => "sent"));
  }
  await attempt("delete", () => fetch(`${control}faults`, { method: "DELETE" }).then(() => "sent"));
  const evil = `${api}sendMessage?chat_id=1001&text=evil`;
  for (const url of [evil, `${page}key`, file, `${control}stats`]) {
    const there = encodeURIComponent(url);
    const body = "chat_id=1001&text=evil";
    await attempt(`redirected ${url}`, () => fetch(`/to?url=${there}`, { mode: "no-cors" }).then(() => "sent"));
    await attempt(`redirected with its body ${url}`,
      () => fetch(`/to?url=${there}`, { method: "POST", mode: "no-cors", body }).then(() => "sent"));
    await attempt(`of no origin ${url}`, () => element("iframe", { sandbox: "allow-scripts allow-forms", srcdoc:
      `<form method=post enctype=text/plain action="${url}"><input name=a value=b></form>
       <script>fetch("${url}", { mode: "no-cors" }); document.forms[0].submit();</${"script"}>` }).then(() => "sent"));
    await attempt(`worker ${url}`, () => new Promise((resolve) => {
      const made = new Worker(URL.createObjectURL(new Blob([
        `fetch("${url}").then(() => postMessage("read"), () => postMessage("refused"))`])));
      made.onmessage = (message) => resolve(message.data);
    }));
    await attempt(`refreshed ${url}`, () => element("iframe",
      { srcdoc: `<meta http-equiv="refresh" content="0;url=${url}">` }).then(() => "sent"));
    await attempt(`object ${url}`, () => element("object", { data: url }));
    for (const name of ["[::1]", "[::ffff:127.0.0.1]", "127.1", "0.0.0.0", "x.localhost"]) {
      await attempt(`as ${name} ${url}`,
        () => fetch(Object.assign(new URL(url), { hostname: name }), { mode: "no-cors" }).then(() => "sent"));
    }
  }
  const live = page.replace("http:", "ws:") + "live";
  for (const url of [live, `${live}?key=`, `${live}?key=guess`, `${live}?key=${key}`,
                     api.replace("http:", "ws:") + "getMe"]) {
    await attempt(`socket ${url}`, () => socket(url));
  }
  await attempt("events", () => new Promise((resolve, fail) => {
    const made = new EventSource(`${api}getUpdates`);
    made.onmessage = () => resolve("heard");
    made.onerror = () => fail(new Error("refused"));
  }));
  await attempt("frame", () => new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.src = page;
    frame.onload = () => {
      try { resolve(frame.contentDocument.body.textContent ? "read" : "empty"); } catch { resolve("not readable"); }
    };
    document.body.append(frame);
  }));
  await attempt("window", async () => {
    const opened = window.open(page);
    await new Promise((done) => setTimeout(done, 500));
    try { return "read " + opened.document.body.textContent; } catch (error) { return "not readable"; }
  });
  return tried;
}
</script>"""


@asynccontextmanager
async def another_site():
    """Serve the page on its own port, under any host name; yield the port."""

    async def page(_request):
        return web.Response(text=PAGE, content_type="text/html")

    async def to(request):
        raise web.HTTPTemporaryRedirect(request.query["url"])  # a POST keeps its body

    app = web.Application()
    app.add_routes([web.get("/", page), web.route("*", "/to", to)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope=LOOP)
async def browser():
    """evil.example resolves to this machine, as with DNS rebinding."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGUMENTS, "--host-resolver-rules=MAP evil.example 127.0.0.1"]
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope=LOOP)
async def play():
    async with playground() as play:
        yield play


@pytest_asyncio.fixture(loop_scope=LOOP)
async def control(play):
    control = Control(play.fake)
    await control.start()
    yield control
    await control.stop()


def state(play):
    """State that must not change, without the bot's polls."""
    requests = {name: count for name, count in play.fake.stats().requests.items() if name != "getUpdates"}
    messages = [play.fake.world.messages(chat["id"]) for chat in play.fake.world.chats()]
    faults = [fault.as_json() for fault in play.fake.faults]
    return json.dumps([requests, messages, faults, play.fake.queue.next_id, play.fake.world.logged_out])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
async def test_a_page_of_another_site_reads_writes_and_stops_nothing(play, control, browser, host):
    file = play.fake.world.files.add("document", b"secret", name="a.txt")
    fake_api = f"{play.fake.url}/bot{play.fake.token}/"
    targets = {
        "api": fake_api,
        "control": control.url + "/",
        "page": play.sandbox.url,
        "file": f"{play.fake.url}/file/bot{play.fake.token}/{file.path}",
        "key": control.key,
    }
    before = state(play)
    context = await browser.new_context()
    async with another_site() as port:
        page = await context.new_page()
        await page.goto(f"http://{host}:{port}/")
        for name in ("127.0.0.1", host):  # under its own name it would be of the same site
            renamed = {each: url.replace("127.0.0.1", name) for each, url in targets.items()}
            tried = await page.evaluate("targets => attack(targets)", renamed)
            assert len(tried) > 100
            reached = {
                name: outcome
                for name, outcome in tried.items()
                if outcome.startswith(("read", "loaded", "heard"))
            }
            assert reached == {}
        assert state(play) == before
    await context.close()
    play.fake.world.send_message(ADA, ADA, "still there")
    await play.fake.wait_for_calls(1, "sendMessage")


async def test_a_name_that_was_led_here_opens_no_page(play, control, browser):
    context = await browser.new_context()
    page = await context.new_page()
    for url in (
        play.sandbox.url,
        f"{play.sandbox.url}key",
        f"{play.fake.url}/bot{play.fake.token}/getMe",
        control.url,
    ):
        answer = await page.goto(url.replace("127.0.0.1", "evil.example"))
        assert answer.status == 403
    await context.close()


async def test_a_typed_address_that_its_site_leads_here_needs_token_and_key(play, control, browser):
    """To the server it is as if this machine's user had typed it: "Sec-Fetch-Site: none"."""
    before = state(play)
    context = await browser.new_context()
    page = await context.new_page()
    async with another_site() as port:
        for url, status in (
            (f"{play.fake.url}/bot1:guess/sendMessage?chat_id=1001&text=evil", 401),
            (f"{control.url}/stats", 401),
            (play.sandbox.url, 200),  # seen by its user only
        ):
            answer = await page.goto(f"http://evil.example:{port}/to?url={quote(url)}")
            assert (answer.url, answer.status) == (url, status)
    assert state(play) == before
    await context.close()


EVIL = {
    "a.html": b"<!doctype html><script>document.title='ran';fetch('/ran')</script>",
    "a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>document.title='ran';fetch('/ran')</script></svg>",
    "a.xml": b"<html xmlns='http://www.w3.org/1999/xhtml'><script>document.title='ran';fetch('/ran')</script></html>",
    "a.txt": b"<!doctype html><script>document.title='ran';fetch('/ran')</script>",
}


@pytest.mark.parametrize("name", EVIL)
async def test_a_file_that_was_sent_is_saved_and_does_not_run(play, browser, name):
    file = play.fake.world.files.add("document", EVIL[name], name=name)
    url = f"{play.fake.url}/file/bot{play.fake.token}/{file.path}"
    context = await browser.new_context()
    page = await context.new_page()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    async with page.expect_download() as download:
        with pytest.raises(PlaywrightError, match="Download is starting"):
            await page.goto(url)  # as if a person had typed it
    assert (await download.value).url == url
    assert await page.title() == ""
    assert [each for each in asked if each != url] == []
    await context.close()
