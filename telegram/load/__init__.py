"""Load tests: a bot and a fake Telegram as real processes, many people who write, and two judges.

command    `run.py load`: everything is started, run, judged, shown, and ended
conduct    one test from the first update to the last reply
people     who writes how much
players    what they do with handlers of one's own: commands, buttons, answers, or a script
trouble    the faults: when they happen, and how each is done and undone
view       what is seen of it in a terminal (needs rich)
outcome    both judges asked, and everything put into a recording
recording  what is kept of a test, as plain data
report     the recording as one HTML file (needs plotly)

The judges, and what they judge:

handlings  the judge of the journal: order and loss for any handlers
ledger     all updates and their handlings, as numbers
journal    reading the journal while it is written
checker    the judge of the replies: what was said against what was seen
replies    the replies on disk, judged chat by chat

The bot's side:

service    run.py as a process: started, killed, stopped, and asked for what it has logged
plan       what the bot's process is told: which handlers, how slow, where its journal is
counting   the handlers that are used if none are named: each reply carries evidence for the judge
watched    wraps any handlers, and notes when each begins and ends
witness    the handlers that the plan names, watched
tutorial   a bot of a wrong design, to see the judges find it
"""
