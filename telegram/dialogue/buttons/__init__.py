"""Inline keyboards and the data of their buttons: typed, and marked with the flow's turn that sent them."""
