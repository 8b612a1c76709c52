"""What a commit costs grows in proportion to what is in it: operations are counted, not time.

An operation is a call of Python or C code, or 100 instructions of SQLite's machine. Virtual time has all of it in one
thread.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest

from engine import Call, Effects, StateChange
from engine.checks import checked_effects
from engine.stores.contract import append
from engine.stores.contract.store import INBOX, NOTHING, OUTBOX, update
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import open_sqlite
from engine.stores.sqlite.disk import connect
from tests.kit.loop_thread import LoopThread
from tests.kit.virtual import run_virtual

FEW, MANY = 300, 3_000


class Operations:
    """Counts what happens in a `with`."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        sys.setprofile(self._seen)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _seen(self, _frame: object, event: str, _value: object) -> None:
        self.count += event in {"call", "c_call"}

    def connect(self, path: Path) -> Any:
        connection = connect(path)
        connection.set_progress_handler(self._instructions, 100)
        return connection

    def _instructions(self) -> None:
        self.count += 1


async def send(store: Any, effects: Effects) -> None:
    await store.commit(await store.claim(INBOX), checked_effects(effects), more=False)


async def send_and_drain(store: Any, effects: Effects) -> None:
    await send(store, effects)
    for _ in effects.calls:
        await store.commit(await store.claim(OUTBOX), NOTHING, more=False)


async def park(store: Any, effects: Effects) -> None:
    await store.park(await store.claim(INBOX), 1.0, counted=True, reason="x", calls=effects.calls)


def to_one_lane(count: int) -> Effects:
    return Effects(tuple(Call("chat:1", b"x") for _ in range(count)))


def to_as_many_lanes(count: int) -> Effects:
    return Effects(tuple(Call(f"chat:{n}", b"x") for n in range(count)))


def states(count: int) -> Effects:
    return Effects(states=tuple(StateChange(f"chat:{n}", "", None, b"x") for n in range(count)))


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize(
    ("effects", "act"),
    [
        (to_one_lane, send_and_drain),
        (to_as_many_lanes, send_and_drain),
        (to_one_lane, park),
        (states, send),
    ],
)
def test_a_commit_costs_in_proportion_to_what_is_in_it(
    tmp_path: Path,
    kind: str,
    effects: Callable[[int], Effects],
    act: Callable[[Any, Effects], Awaitable[None]],
) -> None:
    async def cost(count: int) -> int:
        operations = Operations()
        store: Any = (
            MemoryStore()
            if kind == "memory"
            else await open_sqlite(
                tmp_path / f"{count}.db",
                "1",
                connect=operations.connect,
                thread=LoopThread,
                look_every_s=None,
            )
        )
        await append(store, [update(1)])
        given = effects(count)
        operations.count = 0
        with operations:
            await act(store, given)
        await store.close()
        return operations.count

    few, many = run_virtual(cost(FEW)), run_virtual(cost(MANY))
    assert few > FEW
    assert many < 1.2 * few * MANY / FEW
