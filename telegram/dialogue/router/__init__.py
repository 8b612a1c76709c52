"""From the decorators to a table: the router, the commands that it lists, what it asks of Telegram, and its checks at the start."""
