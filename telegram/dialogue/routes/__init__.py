"""A handler with its filters and its surroundings: hooks, provided values, resources, albums, events."""
