"""Conversations with states (FSM): a flow says what it asks, what it takes in each state, and where that leads.

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

State, data, time-out and replies of a step are committed at once, with the update. The annotation of what a handler
returns is what the picture of the flow is drawn from (`run.py flows`), and what a step may do.
"""

from collections.abc import Callable, Iterable
from typing import Any

from telegram.dialogue.context import Context
from telegram.dialogue.conversation import Scope
from telegram.dialogue.filters import NO_HINT, Filter, Hint
from telegram.dialogue.flows.outcomes import targets_of
from telegram.dialogue.flows.plan import D, Misfit, Plan, R, S
from telegram.dialogue.flows.spots import Spot
from telegram.dialogue.flows.turn import Turn
from telegram.dialogue.routes import Taken
from telegram.dialogue.scopes import OWN


class Flow(Plan[S, D, R]):
    """A conversation with states. Include it in a router; the first match wins there, as for handlers.

    `states` is an Enum of strings, `data` a pydantic model whose fields all have defaults; what is lost when it
    changes is nothing: raise `version`, and say in `migrate` how older data becomes today's. `scope`: whose
    conversation it is (OWN: of a person in a chat, CHAT, TOPIC, USER: of a person in all chats). `begins`: the states
    in which other handlers `begin` it, beside what its entries return; no code but theirs tells.

    Its steps take only buttons that it has offered since it came into its state, pressed by whoever the conversation belongs
    to; others are answered with the reason. With `takes_any_button` also those of messages that it has not sent itself, as
    with `ctx.now`. Its entries take any button.
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
        """Handlers that begin the flow, whatever else goes on in this conversation."""
        self.anywhere: Spot[S, D, R] = Spot(self, [self.steps_anywhere])
        """Handlers for all states, asked after the state's own; also while a sub-flow runs."""
        self.otherwise: Spot[S, D, R] = Spot(self, [self.steps_else])
        """Handlers for what nothing else in the flow takes."""

    @property
    def kinds(self) -> None:
        """It may take any kind of update."""

    @property
    def hint(self) -> Hint:
        """Nothing narrows the search: that depends on the state."""
        return NO_HINT

    def at(self, *states: S) -> Spot[S, D, R]:
        """The place of these states."""
        if not states:
            raise ValueError(f"{self.name}: at() wants at least one state")
        return Spot(self, [self.steps[state] for state in states], states)

    def misfit(self, handler: Misfit) -> Misfit:
        """Decorate what decides when stored data or a stored state does not fit any more: it gets the data and the error.

        Without it such an update goes to the dead letters, and the data stays.
        """
        self.misfit_targets = targets_of(handler, self.states)
        self.misfits = handler
        return handler

    def take(self, ctx: Context) -> Taken | None:
        """Take what the flow wants in its state, or what begins it."""
        return Turn(self, ctx).take() if ctx.has(self.scope) else None

    async def begin(self, ctx: Context, state: S, data: D | None = None) -> None:
        """Begin the flow from any handler, in `state`; what went on in this conversation is over."""
        await Turn(self, ctx).begin(data or self.data(), state)

    def is_in(self, *states: S) -> Filter:
        """A filter: the flow goes on here, in one of `states` (none named: in any)."""
        wanted = frozenset(state.value for state in states or self.states)
        return lambda ctx: ctx.has(self.scope) and Turn(self, ctx).state() in wanted
