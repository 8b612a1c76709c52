"""The same job through other bot frameworks, beside Chatlane: `make bench-peers`. They live in .venv-peers."""
