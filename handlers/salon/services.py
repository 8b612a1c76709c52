"""The services: a menu with pages, and inline queries, "@salon_bot cut" in any chat."""

from typing import Final, NamedTuple

from telegram.botapi.types import InlineQueryResultArticle, InputTextMessageContent
from telegram.dialogue import Context, InlineContext, Router
from telegram.widgets import Menu


class Service(NamedTuple):
    """A service, its length, and its price in euros."""

    name: str
    minutes: int
    price: int


SERVICES: Final = {
    "cut": Service("Haircut", 45, 35),
    "wash": Service("Wash and blow-dry", 30, 20),
    "colour": Service("Colour", 60, 70),
    "highlights": Service("Highlights", 60, 85),
    "beard": Service("Beard", 30, 18),
    "child": Service("Child's haircut", 30, 15),
    "braids": Service("Braids", 60, 60),
    "perm": Service("Perm", 60, 75),
    "bridal": Service("Bridal hair", 60, 140),
}

router = Router()


def text_of(ctx: Context, key: str) -> str:
    """Return a service in the user's language, with its price."""
    return f"{ctx.t(SERVICES[key].name)}, {SERVICES[key].price} €"


def items(ctx: Context) -> list[tuple[str, str]]:
    """Return all services for the menu."""
    return [(text_of(ctx, key), key) for key in SERVICES]


menu = Menu("service", items, per_page=4)


@router.inline_query()
async def find(ctx: InlineContext) -> None:
    """Show the services whose names contain what the user has typed."""
    found = [key for key in SERVICES if ctx.query.lower() in ctx.t(SERVICES[key].name).lower()]
    ctx.answer_page(
        [
            InlineQueryResultArticle(
                id=key,
                title=text_of(ctx, key),
                description=ctx.t("{n} minutes", n=SERVICES[key].minutes),
                input_message_content=InputTextMessageContent(message_text=text_of(ctx, key)),
            )
            for key in found
        ],
        is_personal=True,
    )
