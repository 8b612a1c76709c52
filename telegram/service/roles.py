"""Says in the log what no process of a bot does: take updates in, or handle them (ROLE)."""

import asyncio
from typing import Final

import structlog

from engine.sharing import Lack, Sharing

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 1.0
LACKS_AFTER_S: Final = 10.0
"""After so long it is no pause between two processes: a killed one is replaced within a few seconds."""

_WHAT: Final = {
    Lack.APPENDER: ("no process takes updates in", "start one with ROLE=poll, or without ROLE"),
    Lack.OWNER: ("no process handles updates", "start one with ROLE=work, or without ROLE"),
}


async def watch_roles(sharing: Sharing) -> None:
    """Look at the sessions every LOOK_EVERY_S, until cancelled; log each lack once, and its end."""
    clock = asyncio.get_running_loop().time
    since: dict[Lack, float] = {}
    logged: set[Lack] = set()
    while True:
        now, lacks = clock(), sharing.lacks
        for lack in Lack:
            event, to_do = _WHAT[lack]
            if lack not in lacks:
                since.pop(lack, None)
                if lack in logged:
                    logged.discard(lack)
                    log.info("this is over", was=event)
            elif lack not in logged and now - since.setdefault(lack, now) >= LACKS_AFTER_S:
                logged.add(lack)
                log.warning(event, to_do=to_do)
        await asyncio.sleep(LOOK_EVERY_S)
