"""Runs a Telegram bot; `run.py sandbox`: the same bot in a sandbox, with a page to chat in.

Settings come from flags, the environment (upper case) and the file .env, in this order.
"""

from telegram.command import console

if __name__ == "__main__":
    console()
