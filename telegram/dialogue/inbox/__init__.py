"""Runs the handler of an update that the engine delivers, and returns its effects."""
