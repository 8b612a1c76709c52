"""The Bot API: its schema (schema.json), the types and methods generated from it, and the encoding of updates and calls.

The schema has names, types and flags of Bot API 10.3 (2026-08-24), no text. Source: the scraped schema of aiogram 3.31.0
(MIT licence, Copyright (c) 2017-present Alex Root Junior), cross-checked with @gramio/types 10.3.1 (MIT) and
PaulSonOfLars/telegram-bot-api-spec (MIT). `attach` marks fields that take a file, `const` the value that identifies a
member of a union.

`make api` regenerates; tests/botapi/test_botapi.py checks that nothing changes.
"""
