"""Formatted text, parsed and checked as tdlib does.

- formatting: text with its entities, from parse_mode or a list of entities; parse_html, parse_markdown: the parse modes
- entities: lengths, order, commands and mentions; addresses: URLs
"""
