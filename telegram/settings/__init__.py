"""Settings models: parts of run.py's settings. Only run.py reads the environment."""
