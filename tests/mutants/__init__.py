"""Tests of the tests: take one guard away, and some test must fail. What no test can kill is untested or needless.

catalogue  the guards, each with the change that removes it (engine.toml, stores.toml, telegram.toml, dialogue.toml)
workplace  a copy of the working tree, in which one file at a time is changed and tests run

`python -m tests.mutants` tries all of them; `--sim 2000` asks instead how many seeds the simulation needs to find each.
"""
