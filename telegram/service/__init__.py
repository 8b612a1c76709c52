"""The bot as a service: polling, handling, sending, rate limits, signals, logs; webhook, events, and personal data.

Only what runs a whole bot imports it: command, operating, metrics, load, testing.
"""
