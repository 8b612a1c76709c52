"""The production Bot on an event loop with virtual time, where everything that can go wrong does, decided by a seed.

scenario       one run: what befalls the processes, and the judgement
supervisor     starts, crashes, freezes and stops one process
loop           the event loop: several processes on it, that crash and freeze
telegram_side  Telegram and the network
stores         the memory store behind a bad network, and SQLite on a bad disk
trouble        decides about each call, and counts

database       a PostgreSQL server for the real PostgreSQL store
shares         one run of several processes over that

`python -m tests.sim --seeds 2000`; tests/sim/test_sim.py runs a fixed share.
"""
