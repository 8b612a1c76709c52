"""How long a test waits for what takes milliseconds: a bound that ends a hang, not a measure of speed."""

from typing import Final

WITHIN_S: Final = 60.0
"""A machine that is ten times slower than usual, and busy, stays below it."""
