"""Load tests: a bot and a fake Telegram as real processes, many people who write, and a judge.

plan       what the bot's process is told: which handlers, how slow, where its journal is
counting   the handlers that are used if none are named: each reply carries evidence for the judge
witness    wraps any handlers, and notes when each begins and ends
service    run.py as a process: started, killed, stopped, and asked for what it has logged
checker    the judge: what was said against what was seen
recording  what is kept of a test, as plain data
"""
