"""Flows for the tests of pictures and checks."""
