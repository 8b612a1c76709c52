"""Load tests: a bot and a fake Telegram as real processes, simulated users, and two checkers.

Each folder imports only those below it (checked by import-linter):

command               `run.py load`: starts all parts, runs the test, checks it, shows the result

results/
    outcome           runs both checkers at the end and makes the recording
    view              live view and result in a terminal (needs rich)
    report            the recording as one HTML file (needs plotly); report_data: what its diagrams show

workload/
    load_test         one test from the first update to the last reply
    distribution      distribution of the updates over the chats
    simulated_users   simulated users of a user's own handlers: commands, buttons, answers, or a script
    faults            faults: their schedule, how each is started and ended

checkers/
    handlings         checks the journal: order and loss, for any handlers
    ledger            all updates and their handlings, in arrays
    checker           checks the replies against the updates that were sent
    replies           stores the replies on disk and checks them chat by chat
    recording         all results of a test as plain data

bot/
    service           run.py as a child process: start, kill, stop, read the log
    plan              parameters of the bot's process: handlers, their duration, journal
    entry_point       the handlers of the plan, observed
    counting          the default handlers: each reply carries evidence for the checker
    evidence          the contents of such a reply
    recorder          observes the bot, and records start and end of each handling
    journal           a line for each event of the handlers: written, and read while it is written
    tutorial          a bot of a wrong design, to show that the checkers find its errors
"""
