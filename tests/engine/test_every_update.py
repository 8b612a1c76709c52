"""Every kind of update, every odd one, and thousands that were broken at random, through a whole bot over HTTP.

Each is handled in its lane or lies in the dead letters with its bytes; none is lost, and none stops the others.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

from engine import Envelope
from engine.current import current_delivery
from engine.model import DeadLetter
from engine.stores import open_store
from telegram.botapi.routing import FAKE_USERS
from telegram.botapi.types import KINDS, Update
from telegram.client import TgClient
from telegram.dialogue import Context, Router
from telegram.fake import FakeServer
from telegram.fake.world.queue import TTL_S
from telegram.service.bot import Bot, BotConfig
from tests.kit import updates
from tests.kit.mutation import mutated
from tests.kit.odd_updates import ODD, Odd, rest_of

KEYS = json.loads((Path(__file__).parents[1] / "kit" / "update_keys.json").read_text())


class Outcome(NamedTuple):
    """What became of the updates with these ids, in this order."""

    ids: list[int]
    handled: dict[int, tuple[Envelope, Update]]
    dead: dict[int, DeadLetter]


async def through_a_bot(rests: Sequence[bytes]) -> Outcome:
    """Push updates, let a bot handle them all and stop; assert what holds for any updates at all."""
    handled: list[tuple[Envelope, Update]] = []
    router = Router()

    @router.update()
    async def note(ctx: Context) -> None:
        delivery = current_delivery.get()
        assert delivery is not None
        handled.append((delivery.envelope, ctx.update))

    store = await open_store("memory:", "1")
    async with FakeServer(seed=1) as fake, TgClient(fake.token, base_url=fake.url) as client:
        fake.queue.allow(list(KINDS))
        with patch.dict(TTL_S, clear=True):  # however long the bot takes, no inline query expires at Telegram
            ids = [fake.world.push_raw(rest) for rest in rests]
        bot = Bot(client, store, router, BotConfig(allowed_updates=KINDS))
        await bot.start()
        while (stats := (await store.stats()).inbox).committed + stats.dead < len(ids):
            await asyncio.sleep(0)
        await bot.stop()
        assert fake.queue.pending == 0, "the offset has not moved past them all"
    letters = await store.dead_letters(limit=len(ids))
    assert (stats.appended, stats.pending) == (len(ids), 0)
    settled = [each.id for each, _ in handled] + [each.envelope.id for each in letters]
    left_out = set(ids) - set(settled)  # inline queries whose users have typed on, and no others
    assert len(left_out) == bot.dropped["superseded"]
    assert all(b'"inline_query"' in rests[ids.index(id_)] for id_ in left_out)
    assert Counter(ids) == Counter([*settled, *left_out])
    bodies = {each.id: each.body for each, _ in handled} | {
        each.envelope.id: each.envelope.body for each in letters
    }
    assert bodies == {
        id_: b'{"update_id":%d,%b}' % (id_, rest)
        for id_, rest in zip(ids, rests, strict=True)
        if id_ not in left_out
    }
    assert all(each.id == update.update_id for each, update in handled)
    await store.close()
    return Outcome(ids, {each[0].id: each for each in handled}, {each.envelope.id: each for each in letters})


def at(update: Any, path: str | None) -> Any:
    """What stands at a path of update_keys.json; None if nothing does."""
    for name in (path or "nothing").split("."):
        update = update.get(name) if isinstance(update, dict) else None
    return update


def lane_of(kind: str, item: updates.Json) -> tuple[str, str]:
    """Key and scope by the facts of update_keys.json, and the rules beside them."""
    facts, update = KEYS[kind], {kind: item}
    chat, user, other = (at(update, facts[name]) for name in ("chat", "user", "other"))
    if "inline_message_id" in item:  # sent via the bot: its state is shared by all who press
        return f"inline:{item['inline_message_id']}", ""
    if kind == "chat_member":  # the facts name who did it; the lane's scope is whom it happened to
        user = at(update, "chat_member.new_chat_member.user.id")
    if kind == "stopped_message_generation":  # in private chats only, where the chat's id is the user's
        user = chat
    speaker = item.get("sender_chat", {}).get("id", user)
    scope = "" if speaker is None or speaker in FAKE_USERS else str(speaker)
    if "business_connection_id" in (facts["other"] or ""):
        return f"business:{other}:{chat}", scope
    if kind == "guest_message":
        return f"guest:{chat}", scope
    if kind in {"poll", "poll_answer"}:
        return f"poll:{other}", scope
    if kind in {"pre_checkout_query", "shipping_query"}:
        return f"payment:{user}", scope
    if kind == "inline_query":
        return f"inline_query:{user}", scope
    if kind == "chat_join_request" and "query_id" in item:
        return f"join_request:{chat}:{user}", scope
    return f"chat:{user if chat is None else chat}", scope


async def test_every_kind_is_read_put_in_its_lane_and_acknowledged() -> None:
    assert list(KEYS) == list(KINDS) == list(updates.KINDS)
    found = await through_a_bot([rest_of(kind, item) for kind, item in updates.KINDS.items()])
    assert not found.dead
    for update_id, (kind, item) in zip(found.ids, updates.KINDS.items(), strict=True):
        envelope, update = found.handled[update_id]
        assert (update.kind, update.lost) == (kind, ())
        assert getattr(update, kind) is not None
        assert (envelope.key, envelope.scope) == lane_of(kind, item), kind


async def test_every_odd_one_is_in_its_lane_and_is_read_or_kept_with_its_bytes() -> None:
    plain = Odd("plain", rest_of("message", updates.message()), "chat:7", "7")
    sent = [each for odd in ODD for each in (odd, plain)]  # the neighbours of each odd one live
    found = await through_a_bot([odd.rest for odd in sent])
    for update_id, odd in zip(found.ids, sent, strict=True):
        letter = found.dead.get(update_id)
        assert (letter.reason if letter else None) == odd.reason, odd.name
        envelope = letter.envelope if letter else found.handled[update_id][0]
        assert (envelope.key, envelope.scope) == (odd.key.format(id=update_id), odd.scope), odd.name
        assert letter or found.handled[update_id][1].lost == odd.lost, odd.name


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_is_wrong_at_random_nothing_is_lost_and_nothing_stops(seed: int) -> None:
    rng = random.Random(seed)
    found = await through_a_bot([mutated(rng) for _ in range(1000)])
    assert len(found.handled) > 300, "many have a sound event"
    assert len(found.dead) > 300, "and many have not"
    assert not [letter.reason for letter in found.dead.values() if letter.attempts > 1], "a handler failed"
