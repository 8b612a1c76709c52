"""The examples of the README and of the pages that it begins with, taken from them as they are, do what these say."""

import re
import sys
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.stores import open_store
from telegram.botapi import errors
from telegram.client import TgClient
from telegram.dialogue.router.flows import router_problems
from telegram.fake import FakeServer
from telegram.service.bot import Bot
from tests.kit.docs import examples, modules

README = (Path(__file__).parents[1] / "README.md").read_text()
DOCS = Path(__file__).parents[1] / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text() for name in ("handlers", "api", "architecture")}
OWN = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
EXAMPLES = OWN | {
    f"{name}.py": code for page in ("handlers", "api") for name, code in examples(f"{page}.md").items()
}


def example(name: str) -> Any:
    """What the example defines."""
    found: dict[str, Any] = {"__name__": name}
    exec(compile(EXAMPLES[name], name, "exec"), found)  # noqa: S102 - our own README
    return found


@asynccontextmanager
async def a_bot_of(name: str) -> AsyncIterator[FakeServer]:
    store = await open_store("memory:", "1")
    async with (
        FakeServer(seed=1, strict=True) as fake,
        TgClient(fake.token, base_url=fake.url) as client,
    ):
        bot = Bot(client, store, example(name)["router"])
        await bot.start()
        yield fake
        await bot.stop()
    assert not await store.dead_letters()
    await store.close()


def test_every_example_is_tested() -> None:
    assert sorted(OWN) == ["pizza.py", "test_pizza.py"]
    assert README.count("```python") == len(OWN)
    with modules("api.md") as made:
        assert sorted(made) == ["hello", "outside"]
    with modules("handlers.md") as made:
        assert sorted(made) == ["my_bot"]


def test_the_readme_is_short_and_its_links_are_true() -> None:
    assert len(README.splitlines()) <= 200
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", README):
        assert (DOCS.parent / target).exists(), target


def test_each_page_of_the_docs_is_linked() -> None:
    linked = {*re.findall(r"\]\(docs/([\w-]+\.md)\)", README)}
    assert {path.name for path in DOCS.glob("*.md")} == linked


def test_the_architecture_names_every_package() -> None:
    root = DOCS.parent
    named = {*re.findall(r"`([\w/]+)/`", PAGES["architecture"])}
    for path in [*root.glob("engine/*/"), *root.glob("telegram/*/"), *root.glob("telegram/*/*/")]:
        if (path / "__init__.py").exists() and path.parent.name != "fake":  # its layers are in a sentence
            assert named & {str(path.relative_to(root)), path.name}, path


async def test_my_bot_counts() -> None:
    async with a_bot_of("my_bot.py") as fake:
        fake.world.send_message(7, 7, "/start")
        await fake.wait_for_calls(1, method="sendMessage")
        fake.world.send_message(7, 7, "one")
        fake.world.send_message(7, 7, "two")
        calls = await fake.wait_for_calls(3, method="sendMessage")
        assert [call.text for call in calls] == ["Hello!", "message 1: one", "message 2: two"]
        fake.world.press(7, 7, 2, "n")
        (answer,) = await fake.wait_for_calls(1, method="answerCallbackQuery")
        assert answer.text == "2 messages"


def test_a_flow_and_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len([line for line in EXAMPLES["pizza.py"].splitlines() if line]) < 30
    pizza = types.ModuleType("pizza")
    monkeypatch.setitem(sys.modules, "pizza", pizza)
    exec(compile(EXAMPLES["pizza.py"], "pizza.py", "exec"), pizza.__dict__)  # noqa: S102 - our own README
    assert router_problems(pizza.router) == []
    example("test_pizza.py")["test_pizza"]()


async def test_hello_greets_with_buttons_that_answer() -> None:
    async with a_bot_of("hello.py") as fake:
        fake.world.send_message(7, 7, "/hello")
        (greeting,) = await fake.wait_for_calls(1, method="sendMessage")
        assert greeting.params["reply_parameters"] == {"message_id": 1, "allow_sending_without_reply": True}
        assert [each["type"] for each in greeting.params["entities"]] == ["bold"]
        (row,) = greeting.params["reply_markup"]["inline_keyboard"]
        assert [button["text"] for button in row] == ["Fine", "Read"]
        fake.world.press(7, 7, 2, "fine")
        (answer,) = await fake.wait_for_calls(1, method="answerCallbackQuery")
        (edit,) = await fake.wait_for_calls(1, method="editMessageText")
        assert (answer.text, edit.text, edit.params["message_id"]) == ("Good!", "You are fine.", 2)


async def test_a_long_story_comes_in_parts() -> None:
    async with a_bot_of("hello.py") as fake:
        fake.world.send_message(7, 7, "/story")
        parts = await fake.wait_for_calls(3, method="sendMessage")
        assert all(len(part.text) <= 4096 for part in parts)
        assert " ".join(part.text for part in parts).split().count("so") == 1000


async def test_an_album_of_the_disk_and_the_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "1.jpg").write_bytes(b"picture")
    monkeypatch.chdir(tmp_path)
    async with a_bot_of("hello.py") as fake:
        fake.world.send_message(7, 7, "/album")
        (album,) = await fake.wait_for_calls(1, method="sendMediaGroup")
        assert album.status == 200


async def test_a_client_sends_and_fetches(tmp_path: Path) -> None:
    async with FakeServer(seed=1, strict=True) as fake, TgClient(fake.token, base_url=fake.url) as client:
        fake.world.send_message(7, 7, "hi")
        path = await example("outside.py")["send_and_fetch"](client, 7, tmp_path)
        assert path.read_bytes() == b"notes"


def test_every_error_class_is_in_the_table() -> None:
    table = PAGES["api"].partition("by what there is to do")[2].partition("\n\n## ")[0]
    named = {
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and each.__module__ == errors.__name__
    }
    assert {name for name in named if f"`{name}`" not in table} == {"ApiError", "TelegramError"}
