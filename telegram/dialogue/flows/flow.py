"""Conversations with states (FSM): a flow defines the prompt and the handlers of each state, and the transitions.

    class Step(Enum):
        NAME = "name"
        AGE = "age"

    class Answers(BaseModel):
        name: str = ""

    survey = Flow("survey", Step, Answers)

    @survey.entry.message(command("survey"))
    async def begin(ctx: MessageContext, data: Answers) -> Literal[Step.NAME]:
        return Step.NAME

    survey.at(Step.NAME).ask("What is your name?")

    @survey.at(Step.NAME).message(text)
    async def name(ctx: MessageContext, data: Answers) -> Literal[Step.AGE]:
        data.name = ctx.text
        return Step.AGE

State, data, time-out and replies of a step are committed together with the update. The return annotation of a handler
lists its possible outcomes: they are checked at run time, and drawn as transitions (`run.py flows`).
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

from telegram.dialogue.contexts.context import Context
from telegram.dialogue.filters.builtin import NO_HINT, Filter, Hint
from telegram.dialogue.flows.outcomes import targets_of
from telegram.dialogue.flows.plan import D, MismatchHandler, Plan, R, S
from telegram.dialogue.flows.spots import Spot
from telegram.dialogue.flows.turn import Turn
from telegram.dialogue.routes.route import Match
from telegram.dialogue.state.conversation import Scope
from telegram.dialogue.state.scopes import OWN


class Flow(Plan[S, D, R]):
    """A conversation with states. Include it in a router, where the first match handles an update, as for handlers.

    `states` is an Enum of strings, `data` a pydantic model whose fields all have defaults. When the model changes, raise
    `version`, and convert older data in `migrate(version, data)`. `scope`: OWN (a user in a chat), CHAT, TOPIC or USER (a
    user in all chats). `begins`: the states in which other handlers `begin` the flow, besides those its entries return;
    they cannot be found in the code.

    Its steps handle only buttons that the flow has sent since it entered its state, pressed by the owner of the
    conversation; other presses are answered with the reason. With `takes_any_button` they also handle buttons that were
    sent otherwise, e.g. with `ctx.client`. Its entries handle any button.
    """

    def __init__(
        self,
        name: str,
        states: type[S],
        data: type[D],
        result: type[R] | None = None,
        *,
        version: int = 1,
        scope: Scope = OWN,
        begins: Iterable[S] = (),
        migrate: Callable[[int, dict[str, Any]], dict[str, Any]] | None = None,
        takes_any_button: bool = False,
    ) -> None:
        super().__init__(
            name,
            states,
            data,
            result,
            version=version,
            scope=scope,
            begins=begins,
            migrate=migrate,
            takes_any_button=takes_any_button,
        )
        self.entry: Spot[S, D, R] = Spot(self, [self.entries])
        """Handlers that begin the flow, whatever flow runs in this conversation."""
        self.anywhere: Spot[S, D, R] = Spot(self, [self.steps_anywhere])
        """Handlers for all states, tried after the state's own; also while a sub-flow runs."""
        self.otherwise: Spot[S, D, R] = Spot(self, [self.steps_else])
        """Handlers for updates that no other handler of the flow handles."""

    @property
    def kinds(self) -> None:
        """None: the flow may handle any kind of update."""

    @property
    def hint(self) -> Hint:
        """No hint: what the flow handles depends on its state."""
        return NO_HINT

    def at(self, *states: S) -> Spot[S, D, R]:
        """Return the spot of these states, whose decorators add handlers and prompts to them."""
        if not states:
            raise ValueError(f"{self.name}: at() wants at least one state")
        return Spot(self, [self.steps[state] for state in states], states)

    def mismatch(self, handler: MismatchHandler) -> MismatchHandler:
        """Decorate the handler for stored data or a stored state that is not valid any more; it gets the data and the error.

        Without it such an update becomes a dead letter, and the data stays.
        """
        self.mismatch_targets = targets_of(handler, self.states)
        self.mismatch_handler = handler
        return handler

    def misfit(self, handler: MismatchHandler) -> MismatchHandler:
        """Do the same as `mismatch`, which is the name now."""
        warnings.warn("Flow.misfit is now Flow.mismatch", DeprecationWarning, stacklevel=2)
        return self.mismatch(handler)

    def take(self, ctx: Context) -> Match | None:
        """Return the handler for an update in the flow's state, or one that begins the flow; None if there is none."""
        return Turn(self, ctx).take() if ctx.has(self.scope) else None

    async def begin(self, ctx: Context, state: S, data: D | None = None) -> None:
        """Begin the flow in `state`, from any handler; a flow that runs in this conversation ends."""
        await Turn(self, ctx).begin(data or self.data(), state)

    def is_in(self, *states: S) -> Filter:
        """Return a filter that passes while the flow runs in this conversation, in one of `states` (default: any)."""
        wanted = frozenset(state.value for state in states or self.states)
        return lambda ctx: ctx.has(self.scope) and Turn(self, ctx).state() in wanted
