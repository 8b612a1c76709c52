"""What a handler is given: the context of its update, with everything that can be done about it."""
