"""Everything that knows Telegram, from the wire to the handler.

- bot: what runs: poller, inbox, outbox, and the order in which they start and stop
- client: the Bot API's methods (wire: the HTTP below them; errors: what can go wrong, by what to do about it)
- files: what is uploaded (multipart: as a form; streaming: larger than memory; downloads: onto the disk)
- poller: getUpdates -> intake (split a reply) -> routing (lane and scope of each update) -> the inbox
- dialogue: for authors of handlers: Router, filters, contexts, flows; testing: a kit for their tests; types: what an
  update looks like
- sender: the outbox's handler (calls: a call as it lies there)
- logs: events as lines, without the token
- fake: a Bot API server with the real one's rules, and the sandbox's page
"""
