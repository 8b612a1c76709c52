"""What a report shows of a command line."""

import pytest

from telegram.service.secrecy import shown_arguments, without_secrets

SECRET = "made-up-secret"


@pytest.mark.parametrize(
    "argument",
    [
        f"--bot-token=1:{SECRET}",
        f"--events-token={SECRET}",
        f"--metrics-token={SECRET}",
        f"--webhook-secret={SECRET}",
        f"--proxy=socks5://user:{SECRET}@host",
        f"--store-url=postgres://user:{SECRET}@host/db",
        f"--EVENTS-TOKEN={SECRET}",
    ],
)
def test_a_flag_without_its_secret(argument):
    shown = without_secrets(argument, "")
    assert SECRET not in shown
    assert shown.startswith(argument.partition("=")[0] + "=")


@pytest.mark.parametrize(
    "argument", ["--workers=8", "--without-token=sandbox", "load", "--handlers=bot:router"]
)
def test_other_flags_are_shown(argument):
    assert without_secrets(argument, "") == argument


def test_a_secret_that_follows_its_flag():
    given = ["run.py", "--events-token", SECRET, "load", "--proxy", SECRET, "--chats", "5"]
    shown = ["run.py", "--events-token", "***", "load", "--proxy", "***", "--chats", "5"]
    assert shown_arguments(given, "") == shown
