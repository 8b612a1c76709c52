"""A bot with a handler that fails for one text until it is repaired."""

from telegram.dialogue import MessageContext, Router


def router_that(works: bool) -> Router:
    router = Router()

    @router.message()
    async def handle(ctx: MessageContext) -> None:
        if not works and ctx.text == "poison":
            raise TypeError("bad code")
        ctx.reply(f"got {ctx.text}")

    return router
