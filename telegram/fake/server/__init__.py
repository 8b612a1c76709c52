"""The Bot API over HTTP, the control API, and what tests record and inject.

- server: FakeServer; polling: getUpdates; delivery: requests to the webhook; downloads: files; replies: raw HTTP responses; access: who may send requests
- calls: the log of requests; faults: injected errors; clock: a clock that tests move
- control, remote: the control API of `python -m telegram.fake`, and its client
"""

from .server import DEFAULT_TOKEN, HOST, FakeServer

__all__ = ["DEFAULT_TOKEN", "HOST", "FakeServer"]
