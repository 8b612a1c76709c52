import asyncio

from telegram.fake.world.events import EVENTS_MAX, Listener


async def test_events_come_in_order_and_close_ends_the_iteration():
    listeners: set[Listener] = set()
    with Listener(listeners) as listener:
        for n in range(3):
            listener.put({"n": n})
        seen = [await anext(listener) for _ in range(3)]
        reader = asyncio.create_task(anext(listener, "the end"))
        await asyncio.sleep(0)
        assert listener in listeners
    assert [event["n"] for event in seen] == [0, 1, 2]
    assert await reader == "the end"
    assert not listeners


async def test_a_waiting_reader_is_woken():
    listener = Listener(set())
    reader = asyncio.create_task(anext(listener))
    await asyncio.sleep(0)
    listener.put({"n": 1})
    assert await reader == {"n": 1}


async def test_a_slow_listener_loses_the_oldest_events_and_gets_their_number():
    listener = Listener(set())
    for n in range(EVENTS_MAX + 2):
        listener.put({"n": n})
    assert await anext(listener) == {"n": 2}
    assert listener.missed == 2
