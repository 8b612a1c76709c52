"""A survey, an order with a nested address, and a quiz that belongs to the chat. Nothing is wrong with them."""

from enum import Enum
from typing import Literal

from pydantic import BaseModel

from telegram.dialogue import (
    CallbackContext,
    CallbackData,
    ChatContext,
    MessageContext,
    Router,
    TimerContext,
    command,
    data,
    inline,
    keyboard,
    text,
)
from telegram.dialogue.flows.flow import Flow
from telegram.dialogue.flows.outcomes import BACK, END, Back, End
from telegram.dialogue.state.scopes import CHAT


class Step(Enum):
    NAME = "name"
    AGE = "age"
    SUMMARY = "summary"


class Answers(BaseModel):
    name: str = ""
    age: int = 0


survey = Flow("survey", Step, Answers)


@survey.entry.message(command("survey"))
async def begin(ctx: MessageContext, answers: Answers) -> Literal[Step.NAME]:
    return Step.NAME


survey.at(Step.NAME).ask("What is your name?")
survey.at(Step.AGE).ask("How old are you?", reply_markup=keyboard(["/back", "/cancel"]))
survey.at(Step.SUMMARY).ask(
    "Is it right?", reply_markup=inline([("Confirm", "yes"), ("Change the name", "name")])
)


@survey.at(Step.NAME).message(text)
async def name(ctx: MessageContext, answers: Answers) -> Literal[Step.AGE]:
    answers.name = ctx.text
    return Step.AGE


@survey.at(Step.AGE, Step.SUMMARY).message(command("back"))
async def back(ctx: MessageContext, answers: Answers) -> Back:
    return BACK


@survey.at(Step.AGE).message(text)
async def age(ctx: MessageContext, answers: Answers) -> Literal[Step.SUMMARY]:
    answers.age = int(ctx.text)
    return Step.SUMMARY


@survey.at(Step.AGE).timeout(600)
async def too_late(ctx: TimerContext, answers: Answers) -> End[None]:
    return END


@survey.at(Step.SUMMARY).callback_query(data("yes"))
async def confirm(ctx: CallbackContext, answers: Answers) -> End[None]:
    return END


@survey.at(Step.SUMMARY).callback_query(data("name"))
async def change(ctx: CallbackContext, answers: Answers) -> Literal[Step.NAME]:
    return Step.NAME


@survey.anywhere.message(command("cancel"))
async def cancel(ctx: MessageContext, answers: Answers) -> End[None]:
    return END


class Where(Enum):
    STREET = "street"
    TOWN = "town"


class Address(BaseModel):
    street: str = ""
    town: str = ""


address = Flow("address", Where, Address, str)
address.at(Where.STREET).ask("Which street?")
address.at(Where.TOWN).ask("Which town?")


@address.at(Where.STREET).message(text)
async def street(ctx: MessageContext, found: Address) -> Literal[Where.TOWN]:
    found.street = ctx.text
    return Where.TOWN


@address.at(Where.TOWN).message(text)
async def town(ctx: MessageContext, found: Address) -> End[str]:
    return End(f"{found.street}, {ctx.text}")


@address.anywhere.message(command("back"))
async def address_back(ctx: MessageContext, found: Address) -> Back:
    return BACK


class Buy(Enum):
    CART = "cart"
    ADDRESS = "address"
    PAY = "pay"


class Order(BaseModel):
    items: list[int] = []
    address: str = ""


class Item(CallbackData, prefix="item"):
    number: int


order = Flow("order", Buy, Order)
order.at(Buy.CART).ask(
    "What would you like?",
    reply_markup=inline([("Tea", Item(number=1)), ("Cake", Item(number=2))], [("To the till", "till")]),
)
order.at(Buy.PAY).ask("Pay now?", reply_markup=inline([("Pay", "pay"), ("Another address", "address")]))


@order.entry.message(command("order"))
async def begin_order(ctx: MessageContext, cart: Order) -> Literal[Buy.CART]:
    return Buy.CART


@order.at(Buy.CART).callback_query(Item)
async def put(ctx: CallbackContext, cart: Order, item: Item) -> None:
    cart.items.append(item.number)


@order.at(Buy.CART).callback_query(data("till"))
async def till(ctx: CallbackContext, cart: Order) -> Literal[Buy.ADDRESS]:
    return Buy.ADDRESS


@order.at(Buy.ADDRESS).runs(address)
async def take_address(ctx: ChatContext, cart: Order, value: str) -> Literal[Buy.PAY]:
    cart.address = value
    return Buy.PAY


@order.at(Buy.PAY).callback_query(data("address"))
async def again(ctx: CallbackContext, cart: Order) -> Literal[Buy.ADDRESS]:
    return Buy.ADDRESS


@order.at(Buy.PAY).callback_query(data("pay"))
async def pay(ctx: CallbackContext, cart: Order) -> End[None]:
    return END


@order.anywhere.message(command("cancel"))
async def cancel_order(ctx: MessageContext, cart: Order) -> End[None]:
    return END


@order.anywhere.timeout(1800)
async def forgotten(ctx: TimerContext, cart: Order) -> End[None]:
    return END


class Round(Enum):
    JOIN = "join"
    QUESTION = "question"
    ANSWER = "answer"


class Scores(BaseModel):
    players: list[int] = []


quiz = Flow("quiz", Round, Scores, scope=CHAT)
quiz.at(Round.JOIN).ask("Who plays?", reply_markup=inline([("I do", "join"), ("Start", "go")]))
quiz.at(Round.QUESTION).ask("2 + 2?", reply_markup=inline([("3", "3"), ("4", "4"), ("5", "5")]))
quiz.at(Round.ANSWER).ask("It is 4.", reply_markup=inline([("Next", "next"), ("Stop", "stop")]))


@quiz.entry.message(command("quiz"))
async def begin_quiz(ctx: MessageContext, scores: Scores) -> Literal[Round.JOIN]:
    return Round.JOIN


@quiz.at(Round.JOIN).callback_query(data("join"))
async def join(ctx: CallbackContext, scores: Scores) -> None:
    scores.players.append(ctx.user_id or 0)


@quiz.at(Round.JOIN).callback_query(data("go"))
async def start(ctx: CallbackContext, scores: Scores) -> Literal[Round.QUESTION]:
    return Round.QUESTION


@quiz.at(Round.QUESTION).callback_query(data("3", "4", "5"))
async def guess(ctx: CallbackContext, scores: Scores) -> Literal[Round.ANSWER] | None:
    return Round.ANSWER if ctx.button == "4" else None


@quiz.at(Round.QUESTION).timeout(30)
async def time_is_up(ctx: TimerContext, scores: Scores) -> Literal[Round.ANSWER]:
    return Round.ANSWER


@quiz.at(Round.ANSWER).callback_query(data("next"))
async def proceed(ctx: CallbackContext, scores: Scores) -> Literal[Round.QUESTION]:
    return Round.QUESTION


@quiz.at(Round.ANSWER).callback_query(data("stop"))
async def stop(ctx: CallbackContext, scores: Scores) -> End[None]:
    return END


@quiz.otherwise.message(text)
async def chatter(ctx: MessageContext, scores: Scores) -> None:
    """What is written meanwhile is no answer."""


router = Router()
for each in (survey, order, quiz):
    router.include(each)
