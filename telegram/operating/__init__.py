"""What an operator does with a bot, while it runs and while it does not (docs/operating.md). Only telegram/command uses it.

- operating: the actions, as plain data in and out
- letters: dead letters for display, with the hash that names what was seen
- rates: rates and latencies of the last minutes
- audit: the log of what was done
- desk: names of the actions, their parameters and roles; each one that changes or shows something is audited
- local: the desk behind a socket beside the database file, for the command line
- database: the same through the tables of a PostgreSQL store
- shared: the desk of a page at one of several processes
- page: the desk behind a web page (`ADMIN_LISTEN`), and its files
- commands: the commands of the command line; asked, reaching: where they ask; top: the live view
- office: all of it at a bot that runs
"""
