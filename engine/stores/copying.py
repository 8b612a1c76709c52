"""Copies all that a store has of one bot to an empty store: everything or nothing, and compared before it counts.

| killed            | FROM                  | TO                                   | what follows                              |
|-------------------|-----------------------|--------------------------------------|-------------------------------------------|
| while copying     | as before             | empty: nothing was committed         | copy again                                |
| after TO's commit | as before, not marked | complete                             | copy again: TO is compared, FROM is marked |
| after the mark    | marked                | complete                             | start the bot on TO                       |
"""

from collections.abc import Callable
from contextlib import aclosing
from typing import Final, NamedTuple

from engine.errors import StoreError
from engine.stores.moving import KINDS, MARKS, Batches, Moving, Tally

EVERY: Final = 100_000
"""Progress is reported after so many rows of a kind."""

Progress = Callable[[str, int, int], object]
"""Called with a kind of rows, how many are copied, and how many there are."""


class Copied(NamedTuple):
    """What was copied: the rows of each kind; the ids of each kind that were used; tables that were left."""

    kinds: dict[str, Tally]
    marks: dict[str, int]
    others: list[str]
    was_there: bool
    """TO had all of it already: an earlier copy was killed before FROM was marked."""


async def copy(source: Moving, target: Moving, progress: Progress = lambda *_: None) -> Copied:
    """Copy everything, and mark the source as moved; StoreError if the target has something else of the bot."""
    marks = await source.marks()
    other = [kind for kind in KINDS if await target.count(kind)]
    if other:
        kinds = {kind: await _tally(source, kind) for kind in KINDS}
        if [kind for kind in KINDS if kinds[kind] != await _tally(target, kind)]:
            count = await target.count(other[0])
            raise StoreError(
                f"{target.name} has work of this bot already ({other[0]}: {count}): copy to a new file or schema"
            )
    else:
        await target.begin()
        kinds = {kind: await _copy(source, target, kind, progress) for kind in KINDS}
        await target.raise_marks(marks)
        await _compare(target, kinds, marks)
        await target.commit()
    await source.mark_moved(target.name)
    return Copied(kinds, marks, await source.others(), bool(other))


async def _copy(source: Moving, target: Moving, kind: str, progress: Progress) -> Tally:
    tally = Tally()
    total = await source.count(kind)

    async def batches() -> Batches:
        async with aclosing(source.rows(kind)) as rows:
            async for batch in rows:
                before = tally.count
                tally.add(batch)
                if tally.count // EVERY > before // EVERY:
                    progress(kind, tally.count, total)
                yield batch

    async with aclosing(batches()) as rows:
        await target.write(kind, rows)
    if tally.count % EVERY or not tally.count:
        progress(kind, tally.count, total)
    return tally


async def _compare(target: Moving, kinds: dict[str, Tally], marks: dict[str, int]) -> None:
    """Raise StoreError if the target has anything else than what was read from the source."""
    for kind, tally in kinds.items():
        if (found := await _tally(target, kind)) != tally:
            raise StoreError(
                f"{target.name} has other rows of {kind} than were copied ({found.count} for {tally.count}): "
                "nothing was copied"
            )
    found_marks = await target.marks()
    if lower := [kind for kind in MARKS if found_marks[kind] < marks[kind]]:
        raise StoreError(f"{target.name} would use ids of {lower[0]} again: nothing was copied")


async def _tally(store: Moving, kind: str) -> Tally:
    tally = Tally()
    async with aclosing(store.rows(kind)) as rows:
        async for batch in rows:
            tally.add(batch)
    return tally
