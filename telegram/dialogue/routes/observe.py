"""Events of the router for an observer (engine/observe.py): which handler gets an update."""

from dataclasses import dataclass

from engine import Delivery
from telegram.dialogue.routes.route import Handler


@dataclass(frozen=True, slots=True)
class Routed:
    """The handler of an update or timer is chosen and runs next, unless a limit drops the update; None: there is none."""

    delivery: Delivery
    handler: Handler | None


@dataclass(frozen=True, slots=True)
class Joined:
    """The update with this id belongs to the burst or album of a delivery, and is acked by the commit of that delivery."""

    delivery: Delivery
    update_id: int
