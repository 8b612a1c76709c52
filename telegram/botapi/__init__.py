"""The Bot API as facts (schema.json), and the generator that makes telegram/botapi/types.py and telegram/botapi/methods.py of them.

The facts are names, types and flags of Bot API 10.3 (2026-08-24): no text. Source: the scraped schema of aiogram 3.31.0
(MIT licence, Copyright (c) 2017-present Alex Root Junior), cross-checked with @gramio/types 10.3.1 (MIT) and
PaulSonOfLars/telegram-bot-api-spec (MIT). `attach` marks what takes a file, `const` the value that tells a member of a
union from the others.

`make api` regenerates; tests/botapi/test_botapi.py checks that nothing changes.
"""
