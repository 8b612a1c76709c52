"""A memory store whose leases another session can take over at any moment."""

from engine import Queue
from engine.stores.memory import MemoryStore


class Steals(MemoryStore):
    """`steal` takes over every lane of the inbox that this session holds, and keeps it."""

    def steal(self) -> None:
        lanes = self._data.queues[Queue.INBOX].lanes
        leases = lanes.reap(self._session)
        while lanes.take("another session") is not None:
            pass
        lost, _ = self._data.watchers[self._session][Queue.INBOX]
        lost(leases)
