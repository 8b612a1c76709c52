"""Stores whose lanes are in the memory of one process at a time, which owns what they keep (sqlite/).

The lanes, leases, timers and caches are here, and how requests become groups: transactions that many requests share. How
a group becomes durable, and how everything is read, is the store's own (ledger.py).
"""
