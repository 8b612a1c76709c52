"""Everything that knows Telegram, from the bytes of an update to the handlers and back.

Each package imports only those above it (checked by import-linter):

- botapi: the Bot API's types and methods (generated), encoding of updates and calls, errors, the lane of an update
- client: TgClient, the HTTP client with uploads and downloads; text: formatted texts, with lengths as Telegram counts them
- dialogue: for authors of handlers: Router, filters, contexts, flows; process: signals, and detection of a blocked loop
- listening: an HTTP server with limits, for the webhook, the metrics and the operator's page; board: parts of pages
- settings: the settings of a bot and of a load test
- service: the bot: poller or webhook -> inbox -> handlers -> outbox -> sender; logs, dead letters
- fake: a Bot API server with the real one's rules
- sandbox: a page to chat in; load: tests under load and faults; testing: a kit for tests of handlers; metrics: health and metrics
- operating: what an operator does with a bot: the commands, and the log of what was done
- command: the command line, where the parts are put together
"""

from typing import Final

from engine.moved import redirect

_ROOMS: Final = {
    "botapi": "calls decoding errors files intake intake_large invoking late methods objects parameters printable routing "
    "shortcuts types usual",
    "client": "beneath clock downloads multipart peers safe_name streaming wire",
    "dialogue.buttons": "callback_data keyboards",
    "dialogue.state": "kept",
    "process": "blocking guard running watchdog",
    "service": "bot logs outage pace poller secrecy sender serving",
}

_DIALOGUE_FOLDERS: Final = {
    "buttons": "callback_data keyboards marks",
    "contexts": "answers commands conduct context defaults invalid long origin queries tools",
    "filters": "captions conditions limits",
    "inbox": "backlog batches lending newest unmatched",
    "router": "kinds loading menus table",
    "routes": "albums decorators events hooks presence providing stopping",
    "state": "conversation kept scopes timers",
}

_FAKE_FOLDERS: Final = {
    "protocol": "answers params",
    "text": "entities",
    "world": "events files flood members messages people queue",
    "server": "calls clock control faults remote",
}

_LOAD_FOLDERS: Final = {
    "bot": "counting journal plan service",
    "checkers": "checker handlings ledger recording replies",
    "workload": "distribution faults load_test simulated_users",
    "results": "outcome report report_data view",
}

redirect(
    {
        f"telegram.{each}": f"telegram.{room}.{each}"
        for room, names in _ROOMS.items()
        for each in names.split()
    }
    | {
        f"telegram.{package}.{each}": f"telegram.{package}.{folder}.{each}"
        for package, folders in (
            ("dialogue", _DIALOGUE_FOLDERS),
            ("fake", _FAKE_FOLDERS),
            ("load", _LOAD_FOLDERS),
        )
        for folder, names in folders.items()
        for each in names.split()
    }
    | {f"telegram.fake.sandbox_{each}": f"telegram.sandbox.{each}" for each in ("forms", "lanes", "samples")}
    | {
        "telegram.fake.sandbox": "telegram.sandbox.server",
        "telegram.fake.sandbox_kept": "telegram.sandbox.saved_chats",
        "telegram.sandbox.kept": "telegram.sandbox.saved_chats",
        "telegram.load.options": "telegram.settings.load_test",
    }
)
