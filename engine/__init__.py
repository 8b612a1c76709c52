"""Keyed, ordered, leased, durable dispatch. Knows no Telegram, no HTTP.

* Work is appended to the inbox: durable, each id once.
* Each key's work is a lane, handled strictly one after another; different lanes run side by side.
* A handler returns effects: new state, outgoing calls and timers, committed in one step with the ack.
* Outgoing calls are a second queue of the same kind: the same order, retry, parking and dead letters apply to them.

    Inbox.accept -> Store.append ... Store.claim -> Handler(Work) -> Effects -> Store.commit -> outbox ...
"""

from engine.config import EngineConfig
from engine.current import current_delivery
from engine.dispatcher import Engine
from engine.errors import (
    LeaseLost,
    NotPeeked,
    Park,
    Reject,
    Retries,
    Retry,
    RightLost,
    SqlFailed,
    SqlMismatch,
    StateChanged,
    StoreError,
    StoreUnavailable,
    TooManyTimers,
    TransactionFailed,
)
from engine.inbox import Inbox
from engine.leases import Running
from engine.mistakes import PROGRAMMING_ERRORS, is_mistake
from engine.model import (
    KEEP,
    Call,
    DeadLetter,
    Delivery,
    Effects,
    Envelope,
    Groups,
    LaneView,
    Lease,
    Oldest,
    Post,
    Queue,
    QueueStats,
    Right,
    Sql,
    StateChange,
    Stats,
    Timer,
)
from engine.moved import redirect
from engine.observe import Event, Observe, metered_store, observed_handler, observed_store
from engine.outcome import outcome_of
from engine.store import Limits, LookAhead, Operator, Store
from engine.transaction import Transaction
from engine.work import FullHandler, Handler, Work, guarded

__all__ = [
    "KEEP",
    "PROGRAMMING_ERRORS",
    "Call",
    "DeadLetter",
    "Delivery",
    "Effects",
    "Engine",
    "EngineConfig",
    "Envelope",
    "Event",
    "FullHandler",
    "Groups",
    "Handler",
    "Inbox",
    "LaneView",
    "Lease",
    "LeaseLost",
    "Limits",
    "LookAhead",
    "NotPeeked",
    "Observe",
    "Oldest",
    "Operator",
    "Park",
    "Post",
    "Queue",
    "QueueStats",
    "Reject",
    "Retries",
    "Retry",
    "Right",
    "RightLost",
    "Running",
    "Sql",
    "SqlFailed",
    "SqlMismatch",
    "StateChange",
    "StateChanged",
    "Stats",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "Timer",
    "TooManyTimers",
    "Transaction",
    "TransactionFailed",
    "Work",
    "current_delivery",
    "guarded",
    "is_mistake",
    "metered_store",
    "observed_handler",
    "observed_store",
    "outcome_of",
]

_SQLITE = "check disk errors file running schema writer"
_OWNED = "group ids letters loaded operator timers"

redirect(
    {f"engine.{each}": f"engine.embedded.{each}" for each in ("aliases", "dead", "forward", "lanes", "seen")}
)
redirect({"engine.keeper": "engine.leases", "engine.stores.at_hand": "engine.embedded.at_hand"})
redirect({f"engine.stores.sqlite_{each}": f"engine.stores.sqlite.{each}" for each in _SQLITE.split()})
redirect(
    {
        f"engine.stores.sqlite{by}{each}": f"engine.stores.owned.{each}"
        for each in _OWNED.split()
        for by in "._"
    }
)
