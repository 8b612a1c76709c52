"""Updates with one or more things wrong, at random: what Telegram, a newer server, or somebody's client might send."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any, Final

from tests.kit.odd_updates import rest_of
from tests.kit.updates import KINDS, Json, message

_WRONG: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    2**80,
    1.5,
    "",
    "x",
    "\0",
    "é" * 300,
    [],
    {},
    [None],
    [[]],
    {"": {}},
)
_BYTES: Final = (b"\xff", b"\xc3", b"\xed\xa0\xbd", b"\\ud800", b"\x01", b"\\", b"\xef\xbb\xbf", b"\xf0\x9f")
_LATER: Final = {"type": "later", "later": [{"text": "later"}]}

REALISTIC: Final = (
    *KINDS.items(),
    ("message", message(reply_to_message=message(photo=[{"file_id": "p", "file_unique_id": "u", "width": 1, "height": 1}]))),
    ("message", message(forward_origin={"type": "user", "date": 1, "sender_user": KINDS["message"]["from"]})),
    ("message", message(new_chat_members=[KINDS["message"]["from"]], pinned_message=message())),
    ("message", message(reply_markup={"inline_keyboard": [[{"text": "Go", "callback_data": "go"}]]})),
)  # fmt: skip


def mutated(rng: random.Random) -> bytes:
    """The bytes behind the id of a realistic update in which something is wrong."""
    kind, item = copy.deepcopy(rng.choice(REALISTIC))
    update: Json = {kind: item}
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        rng.choice(_CHANGES)(rng, update)
    rest = rest_of("", None) if not update else json.dumps(update).encode()[1:-1]
    return _spoiled(rng, rest) if rng.random() < 0.2 else rest


def _owner(rng: random.Random, update: Json) -> tuple[Any, Any]:
    """Some object or list in the update that has something, and one of its keys."""
    owners: list[Any] = []
    waiting: list[Any] = [update]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict | list) and each:
            owners.append(each)
            waiting += each.values() if isinstance(each, dict) else each
    owner = rng.choice(owners) if owners else {"": None}
    return owner, rng.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))


def _drop(rng: random.Random, update: Json) -> None:
    owner, key = _owner(rng, update)
    del owner[key]


def _replace(rng: random.Random, update: Json) -> None:
    owner, key = _owner(rng, update)
    owner[key] = copy.deepcopy(rng.choice(_WRONG))


def _add(rng: random.Random, update: Json) -> None:
    owner, _ = _owner(rng, update)
    if isinstance(owner, dict):
        owner[rng.choice(("later", "chat", "from", "user", "message", "text", "date"))] = copy.deepcopy(
            _LATER
        )
    else:
        owner.append(copy.deepcopy(rng.choice(_WRONG)))


def _deepen(rng: random.Random, update: Json) -> None:
    owner, key = _owner(rng, update)
    for _ in range(rng.choice((1, 10, 300))):
        owner[key] = [owner[key]] if rng.random() < 0.5 else {"reply_to_message": owner[key]}


def _retype(rng: random.Random, update: Json) -> None:
    owner, key = _owner(rng, update)
    owner[key] = json.dumps(owner[key])[:200]


_CHANGES: Final[tuple[Callable[[random.Random, Json], None], ...]] = (_drop, _replace, _add, _deepen, _retype)


def _spoiled(rng: random.Random, rest: bytes) -> bytes:
    """With bytes in it that are no JSON, or cut."""
    at = rng.randrange(len(rest) + 1)
    return rest[:at] if rng.random() < 0.3 else rest[:at] + rng.choice(_BYTES) + rest[at:]
