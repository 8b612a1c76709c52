import json

import aiohttp
import pytest

from telegram.fake import FakeServer
from telegram.fake.methods import run
from telegram.fake.server.control import Control


@pytest.fixture
async def server():
    async with FakeServer(history=0) as server:
        server.queue.restart_ids(100)
        yield server


@pytest.fixture
async def control(server):
    control = Control(server)
    await control.start()
    headers = {"Authorization": f"Bearer {control.key}"}
    async with aiohttp.ClientSession(control.url, headers=headers) as http:

        async def ask(verb, path, **request):
            async with http.request(verb, path, **request) as answer:
                body = await answer.text()
                return answer.status, await answer.json() if answer.status == 200 else body

        yield ask
    await control.stop()


async def test_many_messages_with_fields_are_sent_at_once(control, server):
    lines = [{"chat": n % 7 + 1, "user": n % 7 + 1, "text": str(n)} for n in range(2000)]
    lines[0]["dice"] = {"value": 3}
    assert await control("POST", "/messages", json=lines) == (200, list(range(100, 2100)))
    assert b'"dice":{"value":3}' in server.queue.read(0, 1)[0]


async def test_messages_are_sent_over_the_former_path_too(control):
    assert await control("POST", "/say", json=[{"chat": 5, "user": 5, "text": "a"}]) == (200, [100])


async def test_press_push_and_raw(control, server):
    press = {"chat": 5, "user": 5, "message": 1, "data": "x"}
    assert await control("POST", "/press", json=press) == (200, 100)
    assert await control("POST", "/push", json={"kind": "poll", "payload": {"id": "1"}}) == (200, 101)
    assert await control("POST", "/raw", data=b'"message":"\xff"') == (200, 102)
    assert server.queue.read(0, 100)[1:] == [
        b'{"update_id":101,"poll":{"id":"1"}}',
        b'{"update_id":102,"message":"\xff"}',
    ]


async def test_a_key_is_pressed(control, server):
    server.world.keyboards[5] = {"keyboard": [[{"text": "Me", "request_contact": True}]]}
    assert await control("POST", "/key", json={"chat": 5, "user": 5, "text": "Me"}) == (200, 100)
    assert b'"contact":{' in server.queue.read(0, 1)[0]
    status, reason = await control("POST", "/key", json={"chat": 5, "user": 5, "text": "You"})
    assert (status, "no button 'You'" in reason) == (400, True)


async def test_what_people_see_and_what_they_do(control):
    async with FakeServer(history=20) as server:
        world = server.world
        world.add_user("Ann", user_id=5)
        world.send_message(5, 5, "/start")
        markup = {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]}
        run(world, "sendmessage", {"chat_id": 5, "text": "Well?", "reply_markup": markup})
        keys = {
            "keyboard": [
                [
                    "A",
                    {"text": "B", "request_contact": True},
                    {"text": "C", "request_chat": {"request_id": 1, "chat_is_channel": False}},
                ]
            ]
        }
        run(world, "sendmessage", {"chat_id": 5, "text": "Or?", "reply_markup": keys})
        world.send_message(5, 5, "hm")
        other = Control(server)
        await other.start()
        headers = {"Authorization": f"Bearer {other.key}"}
        async with aiohttp.ClientSession(other.url, headers=headers) as http:
            async with http.post("/shown", json=[5, 6]) as answer:
                (message, labels), nothing = await answer.json()
            assert (message["text"], labels, nothing) == ("Or?", [["A", "B"]], [None, []])
            acts = [(5, "text", "Hi", 0), (5, "press", "y", 2), (5, "key", "B", 0), (5, "key", "Z", 0)]
            async with http.post("/act", json=acts) as answer:
                ids = await answer.json()
        await other.stop()
    assert ids[1:] == [ids[0] + 1, ids[0] + 2, 0]
    done = [json.loads(raw) for raw in server.queue.read(ids[0], 100)]
    assert [next(iter(each.keys() - {"update_id"})) for each in done] == [
        "message",
        "callback_query",
        "message",
    ]
    assert done[2]["message"]["contact"]["user_id"] == 5


async def test_calls_since(control, server):
    for n in range(3):
        server.log.record(1.5, "getMe", {"n": n}, 200, delivered=True)
    assert await control("GET", "/calls?since=1") == (
        200,
        [[2, 1.5, "getMe", {"n": 1}, 200, True], [3, 1.5, "getMe", {"n": 2}, 200, True]],
    )


async def test_forget(control, server):
    for _ in range(3):
        server.log.record(1.5, "getMe", {}, 200, delivered=True)
    assert (await control("POST", "/forget", json={"through": 2}))[0] == 200
    assert [n for n, *_ in (await control("GET", "/calls?since=0"))[1]] == [3]
    assert (await control("GET", "/stats"))[1]["calls"] == 3


async def test_wait(control, server):
    server.log.record(1.5, "getMe", {}, 429, delivered=False)
    assert len((await control("GET", "/wait?n=1&method=getMe&delivered=false"))[1]) == 1
    status, why = await control("GET", "/wait?n=1&delivered=true&timeout_s=0")
    assert (status, why) == (504, "0 of 1 calls of any method within 0.0 s")


async def test_faults(control, server):
    assert (await control("POST", "/faults", json={"kind": "slow", "seconds": 2, "times": 1}))[0] == 200
    (fault,) = server.faults
    fault.hits = 1
    _, (told,) = await control("GET", "/faults")
    assert (told["kind"], told["seconds"], told["hits"]) == ("slow", 2, 1)
    await control("DELETE", "/faults")
    assert len(server.faults) == 0


async def test_it_works_while_the_bot_api_is_down(control, server):
    assert (await control("POST", "/down"))[0] == 200
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(server.url)
        assert (await control("GET", "/stats"))[0] == 200
        assert (await control("POST", "/up"))[0] == 200
        async with http.get(server.url) as answer:
            assert answer.status == 404


async def test_restart_ids_and_stats(control, server):
    await control("POST", "/restart-ids", json={"next_id": 7})
    assert server.queue.next_id == 7
    assert (await control("GET", "/stats"))[1] == {
        "pending": 0,
        "confirmed": 0,
        "expired": 0,
        "dropped": 0,
        "requests": {},
        "calls": 0,
        "polls": 0,
        "flooded": 0,
    }


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/messages", [{"chat": 5}]),
        ("/messages", [{"chat": 5, "user": 6, "text": "x"}]),
        ("/faults", {"kind": "gremlin"}),
        ("/faults", {"kind": "slow", "colour": "red"}),
        ("/restart-ids", {"next_id": 0}),
        ("/push", 5),
        ("/forget", {"through": "all"}),
    ],
)
async def test_bad_input_is_400(control, path, body):
    status, why = await control("POST", path, json=body)
    assert status == 400
    assert "Error: " in why
