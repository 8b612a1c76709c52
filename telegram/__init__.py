"""Everything that knows Telegram, from the bytes of an update to the handlers and back.

Each room knows those above it only (checked by import-linter):

- botapi: facts: the API's types and methods (generated), how updates and calls are read and written, errors, lanes of updates
- client: TgClient, the only way out: HTTP, files up and down; text: texts with formatting, as Telegram counts them
- dialogue: for authors of handlers: Router, filters, contexts, flows; process: signals, and a loop that is blocked
- settings: what a person can set
- service: the bot: poller -> inbox -> handlers -> outbox -> sender; logs, dead letters
- fake: a Bot API server with the real one's rules
- sandbox: a page to chat in; load: tests under load and faults; testing: a kit for tests of handlers
"""

from typing import Final

from engine.moved import lead_on

_ROOMS: Final = {
    "botapi": "calls decoding errors files intake intake_large invoking late methods objects parameters printable routing "
    "shortcuts types usual",
    "client": "beneath clock downloads multipart peers safe_name streaming wire",
    "dialogue": "callback_data kept keyboards",
    "process": "blocking guard running watchdog",
    "service": "bot letters logs outage pace poller secrecy sender serving",
}

lead_on(
    {
        f"telegram.{each}": f"telegram.{room}.{each}"
        for room, names in _ROOMS.items()
        for each in names.split()
    }
)
lead_on({"telegram.policies": "telegram.settings.given"})
lead_on({f"telegram.fake.sandbox_{each}": f"telegram.sandbox.{each}" for each in ("kept", "lanes", "wishes")})
