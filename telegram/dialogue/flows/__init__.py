"""Conversations with states (FSM).

- flow: what an author writes; spots: where handlers are added; outcomes: where a handler may lead
- plan: what a flow consists of, filled by the spots
- turn: one update in a flow: who takes it, where it leads, what is remembered
- check, buttons: what is wrong with a flow, told at the start
- diagram, layout, svg, command: `run.py flows`, pictures from the code
"""
