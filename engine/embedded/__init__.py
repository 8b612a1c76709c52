"""In-memory data structures of stores whose lanes live in one process. No I/O."""
