"""Flows as diagrams: `run.py flows`."""
