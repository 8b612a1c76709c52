"""A quiz for a group: its state belongs to the chat, so all members play the same game. Begin with /quiz."""

from collections import Counter
from enum import Enum
from typing import Final, Literal

from pydantic import BaseModel, Field

from telegram.dialogue import (
    CHAT,
    END,
    CallbackContext,
    CallbackData,
    ChatContext,
    End,
    Flow,
    MessageContext,
    Router,
    TimerContext,
    command,
    inline,
)

QUESTIONS: Final = (
    ("Which planet is nearest to the sun?", ("Venus", "Mercury", "Mars"), 1),
    ("How many bits are in a byte?", ("8", "10", "16"), 0),
    ("Which sea has no coast?", ("Black Sea", "Dead Sea", "Sargasso Sea"), 2),
)
"""Question, answers, and the index of the right one."""

ANSWER_WITHIN_S: Final = 60


class Stage(Enum):
    """The only state: a question is open."""

    QUESTION = "question"


class Game(BaseModel):
    """The state of a chat's game."""

    number: int = 0
    points: dict[str, int] = Field(default_factory=dict)
    tried: list[int] = Field(default_factory=list)


class Guess(CallbackData, prefix="quiz"):
    """An answer's button; the question's number makes old buttons harmless."""

    number: int
    answer: int


quiz = Flow("quiz", Stage, Game, scope=CHAT, takes_any_button=True)  # an old one is answered "Too late."
router = Router()
router.include(quiz)


@quiz.entry.message(command("quiz", help="A game for a group"))
async def begin() -> Literal[Stage.QUESTION]:
    """Begin the quiz; any member may."""
    return Stage.QUESTION


@quiz.at(Stage.QUESTION).asks
async def ask(ctx: ChatContext, game: Game) -> None:
    """Send the question with its answers."""
    question, answers, _ = QUESTIONS[game.number]
    buttons = [(answer, Guess(number=game.number, answer=index)) for index, answer in enumerate(answers)]
    ctx.reply(f"{game.number + 1}/{len(QUESTIONS)}: {question}", reply_markup=inline(buttons))


@quiz.at(Stage.QUESTION).callback_query(Guess)
async def guess(
    ctx: CallbackContext, game: Game, guessed: Guess
) -> Literal[Stage.QUESTION] | End[None] | None:
    """Give the point to the first right answer; each player has one attempt per question."""
    player = ctx.event.from_
    if guessed.number != game.number:
        ctx.answer("Too late.")
        return None
    if player.id in game.tried:
        ctx.answer("You have had your try.")
        return None
    if guessed.answer != QUESTIONS[game.number][2]:
        game.tried.append(player.id)
        ctx.answer("Wrong!")
        return None
    game.points = dict(Counter(game.points) + Counter({player.first_name: 1}))
    ctx.answer("Right!")
    ctx.edit(f"{player.first_name} has it: {QUESTIONS[game.number][1][guessed.answer]}.")
    return _next(ctx, game)


@quiz.at(Stage.QUESTION).timeout(ANSWER_WITHIN_S)
async def nobody(ctx: TimerContext, game: Game) -> Literal[Stage.QUESTION] | End[None]:
    """Handle the time-out of a question: no right answer came."""
    ctx.reply("Time is up.")
    return _next(ctx, game)


@quiz.anywhere.message(command("stop"))
async def stop(ctx: MessageContext, game: Game) -> End[None]:
    """End the quiz; any member may."""
    ctx.reply("The quiz is over. " + _score(game))
    return END


def _next(ctx: ChatContext, game: Game) -> Literal[Stage.QUESTION] | End[None]:
    """Go to the next question, or to the end."""
    game.number += 1
    game.tried.clear()
    if game.number < len(QUESTIONS):
        return Stage.QUESTION
    ctx.reply("The quiz is over. " + _score(game))
    return END


def _score(game: Game) -> str:
    table = ", ".join(f"{name} {points}" for name, points in Counter(game.points).most_common())
    return f"Points: {table or 'none'}."
