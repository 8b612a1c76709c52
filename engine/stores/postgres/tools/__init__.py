"""What is done with the database beside running a bot: its tables, a copy of a bot, a person's records, an operator's desk.

None of it is needed by the store, which imports none of it.
"""
