"""`python -m telegram.command`."""

from telegram.command import console

console()
