import asyncio

from engine import Call, DeadLetter, Delivery, Effects, Envelope, Lease, Queue, Running, StoreUnavailable
from engine.observe import Committed, observed_store
from engine.stores.contract import append
from engine.stores.memory import MemoryStore
from telegram.fake import FakeServer
from telegram.sandbox.lanes import LINGER_S, LaneBoard
from tests.kit.virtual import run_virtual

ADA, BEN = 1001, 1002


class Stage:
    """A world, a store and a bot whose workers are simulated by the test."""

    def __init__(self):
        self.fake = FakeServer(seed=1)
        self.world = self.fake.world
        for name in ("Ada", "Ben"):
            self.world.add_user(name)
        store = MemoryStore()
        self.workers: tuple[list[Running], list[Running]] = ([], [])
        self.board = LaneBoard(self.fake, store)
        self.store = observed_store(store, self.board.observe)

    def sent(self, chat_id):
        """A call of this chat is sent."""
        envelope = Envelope(1, f"chat:{chat_id}", "", b"")
        delivery = Delivery(Lease(Queue.OUTBOX, envelope.key, 1), envelope, 1, None)
        self.board.observe(Committed(delivery, Effects()))

    async def snapshot(self):
        return await self.board.snapshot(self.workers)

    def say(self, chat_id):
        self.board.arrived(chat_id, self.world.send_message(chat_id, chat_id, "x"))

    async def take_in(self):
        """Do what the poller does: append the updates of Telegram's queue, then confirm them."""
        waiting = self.fake.queue.pending
        first = self.fake.queue.next_id - waiting
        keys = [f"chat:{chat['id']}" for chat in self.world.chats() for _ in self.world.messages(chat["id"])]
        await append(
            self.store,
            [Envelope(first + n, key, "", b"") for n, key in zip(range(waiting), keys, strict=True)],
        )
        self.fake.queue.read(first + waiting, 100)

    async def rows(self):
        return (await self.snapshot())["rows"]


def staged(test):
    def run():
        async def main():
            await test(Stage())

        run_virtual(main())

    run.__name__ = test.__name__
    return run


@staged
async def test_an_idle_bot_has_an_empty_board(stage):
    board = await stage.snapshot()
    assert (board["type"], board["rows"], board["dead"]) == ("lanes", [], [])
    for queue in ("inbox", "outbox"):
        assert board[queue]["appended"] == board[queue]["committed"] == board[queue]["pending"] == 0


@staged
async def test_what_waits_at_telegram_is_not_done(stage):
    for _ in range(3):
        stage.say(ADA)
    await asyncio.sleep(10 * LINGER_S)
    (row,) = await stage.rows()
    assert (row["key"], row["name"], row["at_telegram"]) == ("chat:1001", "Ada", 3)
    assert (row["inbox"]["status"], row["inbox"]["pending"], row["inbox"]["done"]) == ("idle", 0, 0)


@staged
async def test_a_lane_from_ready_to_done(stage):
    stage.say(ADA)
    stage.say(ADA)
    await stage.take_in()
    (row,) = await stage.rows()
    assert (row["at_telegram"], row["inbox"]["status"], row["inbox"]["pending"], row["inbox"]["done"]) == (
        *(0, "ready", 2, 0),
    )
    delivery = await stage.store.claim(Queue.INBOX)
    stage.workers[0].append(Running(17, delivery, asyncio.get_running_loop().time()))
    await asyncio.sleep(1.5)
    inbox = (await stage.rows())[0]["inbox"]
    assert inbox == {
        "status": "leased",
        "pending": 2,
        "done": 0,
        "worker": 17,
        "running_s": 1.5,
        "attempt": 1,
        "parked_s": 0.0,
        "reason": "",
    }
    stage.workers[0].clear()
    delivery = await stage.store.commit(delivery, Effects((Call("chat:1001", b""),)), more=True)
    row = (await stage.rows())[0]
    assert (row["inbox"]["worker"], row["inbox"]["running_s"], row["inbox"]["done"]) == (17, 0.0, 1)
    assert (row["outbox"]["status"], row["outbox"]["pending"], row["outbox"]["worker"]) == ("ready", 1, None)
    await stage.store.commit(delivery, Effects(), more=True)
    await stage.store.commit(await stage.store.claim(Queue.OUTBOX), Effects(), more=True)
    row = (await stage.rows())[0]
    assert [row[queue]["status"] for queue in ("inbox", "outbox")] == ["idle", "idle"]
    assert [row[queue]["done"] for queue in ("inbox", "outbox")] == [2, 1]
    assert row["inbox"]["worker"] is None


@staged
async def test_messages_that_were_handled_together_are_counted_each(stage):
    for _ in range(3):
        stage.say(ADA)
    await stage.take_in()
    delivery = await stage.store.claim(Queue.INBOX)
    assert len(await stage.store.peek(delivery, 5)) == 2
    await stage.store.commit(delivery, Effects(also=2), more=False)
    assert (await stage.rows())[0]["inbox"]["done"] == 3


@staged
async def test_a_parked_lane_counts_down(stage):
    stage.say(ADA)
    await stage.take_in()
    await stage.store.park(await stage.store.claim(Queue.INBOX), 30, counted=True, reason="oh <b>")
    await asyncio.sleep(10)
    inbox = (await stage.rows())[0]["inbox"]
    assert (inbox["status"], inbox["parked_s"], inbox["attempt"], inbox["reason"]) == (
        "parked",
        20.0,
        2,
        "oh <b>",
    )


@staged
async def test_a_row_stays_for_a_while_and_starts_anew(stage):
    stage.say(ADA)
    stage.say(BEN)
    await stage.take_in()
    await stage.store.commit(await stage.store.claim(Queue.INBOX), Effects(), more=False)
    assert [row["name"] for row in await stage.rows()] == ["Ada", "Ben"]
    await asyncio.sleep(LINGER_S - 0.1)
    assert [row["name"] for row in await stage.rows()] == ["Ada", "Ben"]
    await asyncio.sleep(0.2)
    assert [row["name"] for row in await stage.rows()] == ["Ben"]  # still has work
    stage.sent(ADA)
    rows = await stage.rows()
    assert [(row["name"], row["inbox"]["done"], row["outbox"]["done"]) for row in rows] == [
        ("Ben", 0, 0),
        ("Ada", 0, 1),
    ]


@staged
async def test_new_work_keeps_a_row_alive_with_its_numbers(stage):
    for _ in range(3):
        stage.sent(ADA)
        await stage.rows()
        await asyncio.sleep(LINGER_S - 0.1)
        await append(stage.store, [Envelope(int(asyncio.get_running_loop().time()), "chat:1001", "", b"")])
        await stage.rows()
        await stage.store.commit(await stage.store.claim(Queue.INBOX), Effects(), more=False)
    assert (await stage.rows())[0]["outbox"]["done"] == 3


@staged
async def test_work_that_was_not_sent_here_is_shown_by_its_key(stage):
    await append(stage.store, [Envelope(1, "poll:x", "", b"")])
    (row,) = await stage.rows()
    assert (row["key"], row["name"], row["inbox"]["pending"], row["inbox"]["done"]) == ("poll:x", "", 1, 0)


@staged
async def test_dead_letters_newest_first_and_again_after_a_replay(stage):
    for _ in range(2):
        stage.say(ADA)
    await stage.take_in()
    for reason in ("first", "second"):
        await stage.store.bury(await stage.store.claim(Queue.INBOX), reason)
    board = await stage.snapshot()
    assert [letter["reason"] for letter in board["dead"]] == ["second", "first"]
    assert board["dead"][0] == {
        "number": board["dead"][0]["number"],
        "queue": "inbox",
        "key": "chat:1001",
        "name": "Ada",
        "attempts": 1,
        "reason": "second",
    }
    assert board["inbox"]["dead"] == 2


class Unwilling:
    """A store whose dead letters cannot be read at the moment."""

    def __init__(self, store, letters):
        self.store = store
        self.letters = letters
        self.reads = 0
        self.is_broken = False

    def __getattr__(self, name):
        return getattr(self.store, name)

    async def dead_letters(self, limit=100, below=None):
        self.reads += 1
        if self.is_broken:
            raise StoreUnavailable("disk")
        return self.letters


@staged
async def test_dead_letters_are_read_when_they_changed_only(stage):
    letter = DeadLetter(5, Queue.OUTBOX, Envelope(1, "chat:9", "", b""), 1, "why", 0.0)
    store = Unwilling(stage.store, [letter])
    board = LaneBoard(stage.fake, store)
    assert [(each["number"], each["name"]) for each in (await board.snapshot(([], [])))["dead"]] == [(5, "")]
    await board.snapshot(([], []))
    assert store.reads == 1
    store.letters = []
    board.dead_letters_changed()
    assert (await board.snapshot(([], [])))["dead"] == []
    store.is_broken = True
    board.dead_letters_changed()
    assert (await board.snapshot(([], [])))["dead"] == []  # what was known stays, and the page lives on
    assert store.reads == 3
