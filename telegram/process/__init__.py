"""The operating system's process: signals, a stop within its deadline, and detection of a blocked event loop."""
