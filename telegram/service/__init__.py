"""The bot as a service: polling, lanes of both queues, pace, signals; what an operator sees of it.

Nothing else in telegram/ imports it, but for those that run a whole bot: load and testing.
"""
