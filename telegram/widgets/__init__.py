"""Keyboards with behaviour: a menu with pages that notices that it is outdated, and a date picker.

A widget keeps nothing: what it needs at a press is in the button's callback data. It answers what is its own business (turning
pages, outdated buttons) and gives the rest to a handler. In a router or in a state of a flow:

    @menu.on(router)                        @picker.on(flow.at(Step.DAY))
"""

from telegram.widgets.dates import NAMES, DateNames, DatePicker
from telegram.widgets.menu import Menu

__all__ = ["NAMES", "DateNames", "DatePicker", "Menu"]
