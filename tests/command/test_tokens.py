"""BOT_TOKEN with several bots: what each of them gets, and what cannot be."""

import pytest
import structlog

from telegram.command import processes
from telegram.command.settings import WrongSettingError, read_settings
from telegram.command.tokens import read_tokens
from telegram.fake import FakeServer
from telegram.listening import Listener
from telegram.load.bot.service import Service
from telegram.process.supervised import Place
from tests.kit.bounds import WITHIN_S

TWO = "--bot-token=1:Qqq, 2:DeF"
FILES = "--store-url=sqlite:{bot}.db"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("BOT_TOKEN", "ONLY_BOT", "STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Listener, "shares_ports", False)


@pytest.mark.parametrize(("text", "tokens"), [("1:a", ["1:a"]), ("x", ["x"]), ("1:a,2:b", ["1:a", "2:b"])])
def test_tokens_are_separated_by_commas(text, tokens):
    assert read_tokens(text) == tokens


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([TWO], "STORE_URL: each of several bots has a file of its own: write {bot}"),
        ([TWO, "--store-url=sqlite:x.db"], "STORE_URL: each of several bots has a file of its own"),
        (["--bot-token=1:a,", FILES], "BOT_TOKEN: tokens of several bots are separated by commas"),
        (["--bot-token=1:a,b", FILES], "BOT_TOKEN: tokens of several bots are separated by commas"),
        (["--bot-token=1:a,1:b", FILES], "BOT_TOKEN: a bot occurs twice"),
        ([TWO, FILES, "stats"], "BOT_TOKEN has several bots: say which one by --only-bot, of 1, 2"),
        ([TWO, FILES, "export", "5"], "BOT_TOKEN has several bots: say which one by --only-bot"),
        ([TWO, FILES, "--only-bot=3"], "ONLY_BOT: BOT_TOKEN has no token of this bot"),
        (["--bot-token=1:a", "--only-bot=3"], "ONLY_BOT: BOT_TOKEN has no token of this bot"),
        ([TWO, FILES, "--webhook-url=https://bots.example.org/x"], "WEBHOOK_URL is the address of one bot"),
    ],
)
def test_what_cannot_be_with_several_bots_is_one_line(arguments, says):
    with pytest.raises(WrongSettingError) as raised:
        read_settings(arguments)
    assert str(raised.value).startswith(says)
    assert "\n" not in str(raised.value)
    assert "Qqq" not in str(raised.value)


def test_one_of_several_is_named_by_its_number():
    settings = read_settings([TWO, FILES, "--only-bot=2", "stats"])
    assert (settings.token, settings.effective_store_url) == ("2:DeF", "sqlite:2.db")
    assert processes.count_of(settings) == 1


def test_one_bot_may_have_its_number_in_the_name_of_its_file():
    settings = read_settings(["--bot-token=1:Qqq", FILES])
    assert (settings.token, settings.effective_store_url) == ("1:Qqq", "sqlite:1.db")


def test_each_process_has_its_bot_with_its_store_and_ports():
    given = read_settings(
        [
            TWO,
            "--store-url=postgres://db/bots",
            "--processes=2",
            "--metrics-listen=127.0.0.1:9000",
            "--events-listen=127.0.0.1:9100",
            f"--events-token={'x' * 32}",
        ]
    )
    processes.check(given)
    assert processes.count_of(given) == 4
    with structlog.contextvars.bound_contextvars():
        each = [processes.settings_of(given, Place(number, 5)) for number in range(4)]
        assert structlog.contextvars.get_contextvars()["bot_id"] == "2"
    assert [settings.token for settings in each] == ["1:Qqq", "1:Qqq", "2:DeF", "2:DeF"]
    assert [settings.metrics_listen for settings in each] == [f"127.0.0.1:{9000 + n}" for n in range(4)]
    assert [settings.events_listen for settings in each] == [
        f"127.0.0.1:{port}" for port in (9100, 9100, 9101, 9101)
    ]
    addresses = [str(address) for address in processes._addresses(given)]
    assert sorted(addresses) == [f"127.0.0.1:{port}" for port in (9000, 9001, 9002, 9003, 9100, 9101)]
    with pytest.raises(WrongSettingError, match="fewer bots"):
        processes.settings_of(given, Place(4, 5))


@pytest.mark.parametrize("more", [["--reload"], ["--processes=2"]])
def test_files_are_for_one_process_each(more):
    with pytest.raises(WrongSettingError):
        processes.check(read_settings([TWO, FILES, *more]))


@pytest.mark.processes
async def test_a_bot_whose_token_is_revoked_disturbs_no_other(tmp_path):
    async with (
        FakeServer() as fake,  # it knows one token, and refuses the other
        Service(
            tmp_path, fake.url, fake.token, BOT_TOKEN=f"7:revoked,{fake.token}", STORE_URL="sqlite:{bot}.db"
        ) as bots,
    ):
        await bots.spawn()
        line = await bots.logged("started", timeout_s=WITHIN_S)
        number = fake.token.partition(":")[0]
        assert (line["bot_id"], line["process"]) == (number, 1)
        fake.world.send_message(5, 5, "hello")
        await fake.wait_for_calls(1, "sendMessage", delivered=True)
        assert "say which one by --only-bot, of 7, " in (await bots.command("stats")).err
        stats = await bots.command(f"--only-bot={number}", "stats")
        assert stats.out.startswith("process ")
        await bots.logged("process ended", timeout_s=WITHIN_S, process=0)
        assert (await bots.stop()).code == 0
        refused = [line["line"] for line in bots.log() if "refuses" in line.get("line", "")]
        assert "BOT_TOKEN 7:..." in refused[0]
    assert (tmp_path / f"{number}.db").exists()
