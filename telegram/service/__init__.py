"""The bot as a service: polling, handling, sending, rate limits, signals, logs, and the operator's commands.

In telegram/ only load and testing, which run a whole bot, import it.
"""
