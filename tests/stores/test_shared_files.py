"""Files of calls over PostgreSQL: whoever sends a call has its files, and large ones hold up nothing that is bounded."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from engine import Call, Effects, StoreUnavailable
from engine.model import Sql
from engine.stores import open_store
from engine.stores.contract import append
from engine.stores.contract.store import INBOX, OUTBOX, update
from engine.stores.owned import group
from engine.stores.owned.group import LARGE_BYTES
from engine.stores.owned.letters import BYTES_MAX
from engine.stores.owned.shares import share_of
from engine.stores.postgres import connection
from engine.stores.postgres.statements import MAIL_BYTES_MAX
from telegram.botapi.files import InputFile
from telegram.client import TgClient
from telegram.dialogue import MessageContext, Router, command
from telegram.fake import FakeServer
from telegram.fake.server.faults import Fault
from telegram.service.bot import Bot, BotConfig
from tests.kit.bounds import WITHIN_S
from tests.kit.database import Server
from tests.kit.standing import quiet
from tests.stores.test_shares import CHATS, an_old_server, handled, open_it, two

__all__ = ["an_old_server", "open_it"]
PIECE = b"\0\xff" * 40_000


async def test_a_file_that_only_the_handler_had_is_sent_by_another_process(
    closing: AsyncExitStack, database: Server, tmp_path: Path, new_bot: Callable[[], str]
):
    router, later = Router(), Router()

    @router.message(command("file"))
    async def file(ctx: MessageContext) -> None:
        path = tmp_path / "made.bin"
        path.write_bytes(PIECE)
        ctx.call("sendDocument", chat_id=ctx.chat_id, document=InputFile(path))
        ctx.call("sendDocument", chat_id=ctx.chat_id, document=InputFile(PIECE * 2, filename="two.bin"))
        path.unlink()

    @router.message(command("large"))
    async def large(ctx: MessageContext) -> None:
        try:
            ctx.call("sendDocument", chat_id=ctx.chat_id, document=InputFile(bytes(21 << 20), filename="l"))
        except ValueError as error:
            ctx.reply("too large" if "20 MiB" in str(error) else str(error))

    server = await closing.enter_async_context(FakeServer())
    url = database.url(f"files_{new_bot()}")
    number = server.token.partition(":")[0]
    down = server.faults.add(Fault("status", code=429, retry_after=1, method="sendDocument"))
    client = await closing.enter_async_context(TgClient(server.token, base_url=server.url))
    for routes, is_last in ((router, False), (later, True)):  # one after another: as on two machines
        store = await open_store(url, number, shared=True)
        bot = Bot(client, store, routes, BotConfig(drain_timeout_s=5, messages_per_s=0))
        await bot.start()
        if is_last:
            server.faults.remove(down)
            await server.wait_for_calls(2, "sendDocument", delivered=True)
        else:
            for text in ("/file", "/large"):
                server.world.send_message(5, 5, text)
            async with asyncio.timeout(WITHIN_S):
                while not down.hits:
                    await asyncio.sleep(0.01)
        await bot.stop()
        stats, dead = await store.stats(), await store.dead_letters()
        assert dead == []
        assert bool(stats.outbox.pending) != is_last
        await store.close()
    documents = [message["document"] for message in server.world.messages(5) if "document" in message]
    assert [(each["file_name"], each["file_size"]) for each in documents] == [
        ("made.bin", len(PIECE)),
        ("two.bin", 2 * len(PIECE)),
    ]


async def test_large_calls_are_written_in_a_transaction_each(open_it: Any, monkeypatch: pytest.MonkeyPatch):
    store = await open_it()
    await append(store, [update(n, f"chat:{n}") for n in range(1, 9)])
    heads = [await store.claim(INBOX) for _ in range(8)]
    sizes: list[int] = []
    transact = store._writer._transact

    async def noted(steps: Any, *args: Any) -> Any:
        sizes.append(
            sum(
                len(row[3])
                for rows in steps[1::2]
                if isinstance(rows, tuple)
                for row in rows
                if len(row) == 5
            )
        )
        return await transact(steps, *args)

    monkeypatch.setattr(store._writer, "_transact", noted)
    large = Effects(calls=(Call("chat:1", bytes(LARGE_BYTES + 1)),))
    small = Effects(calls=(Call("chat:2", b"small"),))
    await asyncio.gather(
        *(store.commit(head, [small, large][n % 2], more=False) for n, head in enumerate(heads))
    )
    assert max(sizes) <= LARGE_BYTES + 1
    assert sizes.count(LARGE_BYTES + 1) == 4
    calls = [await store.claim(OUTBOX) for _ in range(2)]
    assert {call.lease.key for call in calls} == {"chat:1", "chat:2"}
    assert (await store.stats()).outbox.appended == 8
    assert (await store.audit()).problems == []


def test_many_bodies_of_a_commit_and_many_commits_are_bounded_as_one_large_body_is(monkeypatch):
    monkeypatch.setattr(group, "LARGE_BYTES", 10)
    monkeypatch.setattr(group, "TOGETHER_BYTES", 25)
    together: Any = group.Group()

    def noted(*sizes: int) -> None:
        together.note_size(map(bytes, sizes))
        together.waiting.append(())

    noted(5, 6)
    noted(4, 6)
    noted(10)
    noted(6)  # it would be 26
    noted(5)
    noted(1)
    assert together.large == {0: 11, 3: 6, 5: 1}


async def test_content_that_takes_too_long_fails_its_caller_and_no_other(open_it: Any, monkeypatch):
    """The caller would repeat it for ever, and all others would wait each time."""
    store = await open_it()
    await append(store, [update(n, f"chat:{n}") for n in (1, 2, 3)])
    slow, quick, later = [await store.claim(INBOX) for _ in range(3)]
    transact = store._writer._transact
    limits: list[float] = []

    async def transacting(steps: Any, connection: Any, content: int = 0) -> Any:
        if content:
            raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")
        return await transact(steps, connection)

    large = Effects(calls=tuple(Call("chat:1", bytes(LARGE_BYTES // 2)) for _ in range(3)))
    with monkeypatch.context() as failing:
        failing.setattr(store._writer, "_transact", transacting)
        outcomes = await asyncio.gather(
            store.commit(slow, large, more=False),
            store.commit(quick, Effects(), more=False),
            return_exceptions=True,
        )
    assert [type(each) for each in outcomes] == [asyncpg.QueryCanceledError, type(None)]
    assert not store._writer.suspect

    class Slow:
        async def fetchrow(self, *_: Any, timeout: float = connection.COMMAND_S) -> Any:
            limits.append(timeout)
            raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")

    await quiet(store)
    monkeypatch.setattr(store._writer, "_connection", Slow())
    for head, effects in ((slow, large), (later, Effects())):
        with pytest.raises((asyncpg.QueryCanceledError, StoreUnavailable)):
            await store.commit(head, effects, more=False)
    assert limits[0] >= limits[1] + 1.0


@pytest.mark.parametrize(
    "effects",
    [
        Effects(calls=(Call("chat:1", bytes(LARGE_BYTES + 1)),)),
        Effects(calls=(Call("chat:1", b"small"),), sql=(Sql("INSERT INTO of_files VALUES (1)"),)),
    ],
)
async def test_a_share_is_not_given_up_before_what_is_written_apart_for_it(open_it: Any, effects: Effects):
    """Its next owner reads what is there, and that was not."""
    store = await open_it()
    await store.create_tables("CREATE TABLE IF NOT EXISTS of_files (n int)")
    await append(store, [update(1, "chat:2")])
    head = await store.claim(INBOX)
    committing = asyncio.create_task(store.commit(head, effects, more=False))
    while not (store._writer._next.apart or committing.done()):
        await asyncio.sleep(0)
    assert not committing.done()
    share = share_of("chat:1")
    store._give({share})
    assert store._shares.owns("chat:1")
    await committing
    store._give({share})
    assert not store._shares.owns("chat:1")
    await store.create_tables("DROP TABLE of_files")  # other tests look which tables there are


async def test_mail_is_read_in_bounded_portions_and_in_its_order(
    open_it: Any, monkeypatch: pytest.MonkeyPatch
):
    stores = await two(open_it)
    first, second = stores
    key = next(key for key in CHATS if second._shares.owns(key))
    mine = next(key for key in CHATS if first._shares.owns(key))
    await quiet(second)
    await append(first, [update(n, mine) for n in range(1, 8)])
    bodies = [bytes([n]) * (MAIL_BYTES_MAX // 3) for n in range(6)]
    for body in bodies:
        head = await first.claim(INBOX)
        await first.commit(head, Effects(calls=(Call(key, body),)), more=False)
    read: list[int] = []
    file = second._file

    def noted(rows: Any) -> Any:
        read.append(sum(len(row[6]) for row in rows))
        return file(rows)

    monkeypatch.setattr(second, "_file", noted)
    await second._file_mail()
    assert sum(read) == sum(map(len, bodies))
    assert max(read) < 3 * MAIL_BYTES_MAX // 2
    assert [body[0] for _, _, body in await handled(second, OUTBOX, 6)] == list(range(6))


async def test_large_dead_letters_are_listed_in_bounded_portions(open_it: Any):
    store = await open_it()
    await append(store, [update(n, f"chat:{n}", body=bytes(BYTES_MAX // 3)) for n in range(1, 8)])
    for _ in range(7):
        await store.bury(await store.claim(INBOX), "why")
    letters = await store.dead_letters()
    assert len(letters) == 4
    found = [letter.number for letter in letters]
    while letters := await store.dead_letters(100, below=found[-1]):
        found += [letter.number for letter in letters]
    assert found == sorted(found, reverse=True)
    assert len(found) == await store.dead_count() == 7


async def test_an_audit_does_not_read_what_calls_contain(open_it: Any, database: Server):
    store = await open_it()
    await append(store, [update(1)])
    head = await store.claim(INBOX)
    await store.commit(head, Effects(calls=(Call("chat:1", b"x" * 100),)), more=False)
    rows: list[Any] = []
    read = store._writer._rows

    async def noted(*args: Any) -> Any:
        found = await read(*args)
        rows.extend(found[0])
        return found

    store._writer._rows = noted
    assert (await store.audit()).problems == []
    assert [len(row) for row in rows] == [1]
    connection = await asyncpg.connect(database.url().partition("?")[0])
    await connection.execute("DELETE FROM chatlane.outbox WHERE bot = $1", store._ledger._session.bot)
    await connection.close()
    assert "nothing is in the store" in (await store.audit()).problems[0]
