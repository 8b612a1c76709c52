"""Which updates a handler takes: filters, their combinations, and limits."""
