"""Fault injection.

| kind       | the client gets                                   | executed |
|------------|---------------------------------------------------|----------|
| status     | HTTP `code` with a JSON error                     | no       |
| html       | HTTP `code` (502) with an HTML page               | no       |
| garbage    | HTTP 200 with a body that is not JSON             | no       |
| cut_before | the connection closes without a byte              | no       |
| hang       | nothing until the fault is removed; then a close  | no       |
| slow       | the regular answer, `seconds` late                | yes      |
| cut_after  | the connection closes inside the reply's headers  | yes      |
| truncate   | the connection closes in the middle of the body   | yes      |
"""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from http import HTTPStatus
from typing import Any, Literal, get_args

from telegram.fake.protocol.answers import ApiError
from telegram.fake.protocol.params import Params, integer

FaultKind = Literal["status", "html", "garbage", "cut_before", "hang", "slow", "cut_after", "truncate"]

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True, eq=False)
class Fault:
    """A fault for calls of `method` to `chat_id` (None: any), `times` times (None: until removed).

    Each matching call is hit with `probability`; `hits` counts them. `code` is for the kinds "status" and "html";
    `description`, `retry_after` (seconds) and `migrate_to_chat_id` for "status"; `seconds` for "slow".
    """

    kind: FaultKind
    code: int | None = None
    description: str | None = None
    retry_after: int | None = None
    migrate_to_chat_id: int | None = None
    seconds: float = 0.0
    method: str | None = None
    chat_id: int | None = None
    times: int | None = None
    probability: float = 1.0
    hits: int = 0
    removed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"no such kind of fault: {self.kind}")
        if self.code is None:
            self.code = 502 if self.kind == "html" else 500

    def matches(self, method: str, params: Params) -> bool:
        """Whether the fault applies to a call of `method` (lower case)."""
        return (
            (self.times is None or self.hits < self.times)
            and (self.method is None or self.method.lower() == method)
            and (self.chat_id is None or integer(params, "chat_id") == self.chat_id)
        )

    def error(self) -> ApiError:
        """Return the error of a "status" fault."""
        code = self.code or 500
        description = self.description
        if description is None:
            description = _PHRASES.get(code, "Error")
            if self.retry_after is not None:
                description = f"{description}: retry after {self.retry_after}"
        parameters = {"retry_after": self.retry_after, "migrate_to_chat_id": self.migrate_to_chat_id}
        return ApiError(code, description, **{name: n for name, n in parameters.items() if n is not None})

    def as_json(self) -> dict[str, Any]:
        """Return all fields as JSON; `Fault(**fault.as_json())` reverses it."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "removed"}


class Faults:
    """The faults of one server, tried in the order in which they were added; `rng` is for their probability."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._faults: list[Fault] = []

    def __len__(self) -> int:
        return len(self._faults)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def add(self, fault: Fault) -> Fault:
        """Activate a fault; return it."""
        self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Deactivate a fault; requests that hang in it end. ValueError if it is not active."""
        self._faults.remove(fault)
        fault.removed.set()

    def clear(self) -> None:
        """Remove all faults; requests that hang in them end."""
        for fault in self._faults:
            fault.removed.set()
        self._faults.clear()

    def pick(self, method: str, params: Params) -> Fault | None:
        """Return the fault that hits this call (`method` in lower case) and count the hit; None if there is none."""
        for fault in self._faults:
            if fault.matches(method, params) and (
                fault.probability >= 1 or self._rng.random() < fault.probability
            ):
                fault.hits += 1
                return fault
        return None
