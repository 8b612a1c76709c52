"""Requests and answers of the Bot API, without chats.

- params: parameters of a call, from JSON, query strings and forms
- answers: the JSON of results and errors; ApiError
- shapes: types of values, from the schema; checks: parameters against the schema
- markup: reply_markup
"""
