"""Virtual time, under the name that our own tests know; it is a part of the public test kit."""

from telegram.testing.virtual import DeadlockError, LivelockError, VirtualLoop, run_virtual

__all__ = ["DeadlockError", "LivelockError", "VirtualLoop", "run_virtual"]
