"""Texts in the language of the user."""
