"""Other people's clients judge the fake server: `make judges`. Each has an environment of its own, and a lock file here."""
