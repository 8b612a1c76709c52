"""Conversations with states (FSM).

- flow: the class for authors; spots: decorators that add handlers; outcomes: the results of handlers
- plan: the definition of a flow, filled by the spots
- turn: one update in a flow: finds the handler, follows its outcome, saves the state
- awaiting, offers: flows that wait for updates without a chat; buttons that a flow has offered
- check, buttons: problems of a flow, reported at the start
- diagram, layout, svg, command: `run.py flows`, diagrams from the code
"""
