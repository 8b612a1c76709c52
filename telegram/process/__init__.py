"""The operating system's process: signals, a stop within its time, and a loop that is blocked."""
