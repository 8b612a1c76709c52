"""One bot per framework, all doing the same, each started as `python -m bots.NAME` from the folder above.

They are written as the framework's documentation shows; only the base URL and the token are not Telegram's.
"""
