"""setWebhook, deleteWebhook, getWebhookInfo: telegram-bot-api 10.0, Client.cpp."""

import json

import pytest

from telegram.fake.methods import run
from telegram.fake.protocol.answers import ApiError, accepted
from telegram.fake.protocol.params import Upload
from telegram.fake.world import World
from telegram.fake.world.files import Files
from telegram.fake.world.queue import DEFAULT_KINDS, UpdateQueue

URL = "http://127.0.0.1:8000/hook"


def made(clock, *, local=True):
    files = Files(local=local)
    world = World({"id": 7, "is_bot": True}, UpdateQueue(), clock=clock, files=files)
    world.add_user("Ann", user_id=5)
    return world


@pytest.fixture
def world(clock):
    world = made(clock)
    yield world
    world.files.close()


def refusal(world, **params):
    with pytest.raises(ApiError) as caught:
        run(world, "setwebhook", {"url": URL, **params})
    return caught.value.code, caught.value.description.removeprefix("Bad Request: ")


def info(world):
    return run(world, "getwebhookinfo", {})


def test_set_and_delete(world):
    changes = []
    world.webhooks.on_change = lambda: changes.append(world.webhooks.current)
    assert run(world, "setwebhook", {"url": URL, "secret_token": "s"}) == (True, "Webhook was set")
    assert info(world) == {
        "url": URL,
        "has_custom_certificate": False,
        "pending_update_count": 0,
        "max_connections": 100,  # telegram-bot-api.cpp: 100 with --local, else 40
        "ip_address": "127.0.0.1",
    }
    assert world.webhooks.current.secret_token == "s"
    assert run(world, "deletewebhook", {}) == (True, "Webhook was deleted")
    assert info(world)["url"] == ""
    assert [each is None for each in changes] == [False, True]
    answer = json.loads(accepted(run(world, "setwebhook", {"url": ""})))
    assert answer == {"ok": True, "result": True, "description": "Webhook is already deleted"}


def test_the_same_again_changes_nothing_but_the_kinds(world, clock):
    """process_set_webhook_query: "Webhook is already set" keeps the actor; drop_pending_updates makes a new one."""
    run(world, "setwebhook", {"url": URL})
    current = world.webhooks.current
    world.send_message(5, 5, "hi")
    clock.now += 1
    answer = run(world, "setwebhook", {"url": URL, "allowed_updates": ["poll"]})
    assert answer == (True, "Webhook is already set")
    assert world.webhooks.current is current
    assert world.queue.allowed == {"poll"}
    clock.now += 1
    assert (
        run(world, "setwebhook", {"url": URL, "drop_pending_updates": True}).description == "Webhook was set"
    )
    assert world.queue.pending == 0


def test_once_a_second(world, clock):
    """process_set_webhook_query: `next_allowed_set_webhook_time_ = now + 1`, else retry after 1; not for deleting."""
    run(world, "setwebhook", {"url": URL})
    assert refusal(world) == (429, "Too Many Requests: retry after 1")
    run(world, "deletewebhook", {})
    assert refusal(world)[0] == 429
    clock.now += 1
    assert run(world, "setwebhook", {"url": URL})


def test_updates_are_kept_unless_they_are_to_be_dropped(world, clock):
    world.send_message(5, 5, "hi")
    run(world, "setwebhook", {"url": URL})
    assert info(world)["pending_update_count"] == 1
    run(world, "deletewebhook", {})
    assert world.queue.pending == 1
    run(world, "deletewebhook", {"drop_pending_updates": True})
    assert world.queue.pending == 0


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"url": "https://[x/"}, "invalid webhook URL specified"),
        ({"url": "ftp://127.0.0.1/"}, "invalid webhook URL specified"),
        ({"secret_token": "x" * 257}, "secret token is too long"),
        ({"secret_token": "a b"}, "secret token contains unallowed characters"),
        ({"url": "http://192.0.2.1/"}, "bad webhook: this fake server sends to this machine only"),
        ({"ip_address": "192.0.2.1"}, "bad webhook: this fake server sends to this machine only"),
        (
            {"certificate": Upload("a.pem", b"x" * ((3 << 20) + 1))},
            "certificate size is too big (3145729 bytes)",
        ),
    ],
)
def test_a_wrong_webhook_leaves_none_set(world, clock, params, reason):
    """process_set_webhook_query closes the old webhook first; do_set_webhook then checks the new one."""
    run(world, "setwebhook", {"url": URL})
    clock.now += 1
    assert refusal(world, **params) == (400, reason)
    assert info(world)["url"] == ""


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/", "An HTTPS URL must be provided for webhook"),
        ("https://127.0.0.1:8000/", "Webhook can be set up only on ports 80, 88, 443 or 8443"),
        ("https://127.0.0.1/", "IP address 127.0.0.1 is reserved"),
        ("https://localhost:8443/", "IP address 127.0.0.1 is reserved"),
    ],
)
def test_without_local_mode(clock, url, reason):
    """WebhookActor.cpp, start_up and check_ip_address."""
    assert refusal(made(clock, local=False), url=url) == (400, f"bad webhook: {reason}")


@pytest.mark.parametrize(("asked", "given"), [(None, 100), (1, 1), (0, 1), (-1, 1), (200_000, 100_000)])
def test_max_connections(world, asked, given):
    """get_webhook_max_connections: 1 to 100, to 100,000 with --local; get_integer_arg clamps."""
    run(world, "setwebhook", {"url": URL, **({} if asked is None else {"max_connections": asked})})
    assert info(world)["max_connections"] == given


def test_a_certificate_and_an_error_are_shown(world, clock):
    run(world, "setwebhook", {"url": URL, "certificate": Upload("a.pem", b"PEM")})
    world.webhooks.failed("Connection refused")
    assert info(world)["has_custom_certificate"] is True
    assert info(world)["last_error_message"] == "Connection refused"
    assert info(world)["last_error_date"] == int(clock.now)
    clock.now += 1
    run(
        world, "setwebhook", {"url": URL}
    )  # with or without a certificate it is another one, and errors are forgotten
    assert "last_error_date" not in info(world)
    assert info(world)["has_custom_certificate"] is False


def test_allowed_updates(world):
    run(world, "setwebhook", {"url": URL, "allowed_updates": ["poll", "message"]})
    assert info(world)["allowed_updates"] == ["message", "poll"]
    assert run(world, "deletewebhook", {})
    world.send_message(5, 5, "hi")
    assert world.queue.pending == 1
    world.queue.allow([])
    assert world.queue.allowed == DEFAULT_KINDS
    assert "allowed_updates" not in info(world)


def test_a_webhook_set_elsewhere_can_be_deleted(world):
    world.queue.webhook_url = "https://example.org/"
    world.send_message(5, 5, "hi")
    assert info(world)["url"] == "https://example.org/"
    assert run(world, "deletewebhook", {"drop_pending_updates": True}).description == "Webhook was deleted"
    assert info(world)["url"] == ""
    assert world.queue.pending == 0
