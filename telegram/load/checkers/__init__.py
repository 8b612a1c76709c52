"""Check order and loss, from the journal and from the replies. Pure: no clock, no process."""
