"""What the bots of the campaign `shop` run: an order takes one piece of the stock, in the same commit as its answer.

`router` does it by ctx.sql, `transacting` by ctx.transaction.
"""

import os
from typing import Any, Final

from engine import SqlMismatch
from telegram.dialogue import HANDLED, Context, MessageContext, Router, text

STOCK: Final = 100
SOLD: Final = "Yours"
SOLD_OUT: Final = "Sold out"

_MARKS: Final = ("$1", "$2") if os.environ.get("STORE_URL", "").startswith("postgres") else ("?", "?")

_TABLES: Final = f"""
CREATE TABLE IF NOT EXISTS goods (id INTEGER PRIMARY KEY, stock INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS orders (number BIGINT PRIMARY KEY, chat BIGINT NOT NULL);
INSERT INTO goods (id, stock) VALUES (1, {STOCK}) ON CONFLICT DO NOTHING;
"""
router = Router()
router.tables(_TABLES)
transacting = Router()
transacting.tables(_TABLES)


@router.message(text)
async def orders(ctx: MessageContext) -> None:
    """Take one, write the order, and answer."""
    ctx.sql("UPDATE goods SET stock = stock - 1 WHERE id = 1 AND stock > 0", expect=1)
    ctx.sql(
        f"INSERT INTO orders (number, chat) VALUES ({_MARKS[0]}, {_MARKS[1]})",
        ctx.update_id,
        ctx.chat_id,
        expect=1,
    )
    ctx.reply(f"{SOLD} {ctx.update_id}")


@router.error(SqlMismatch)
async def sold_out(ctx: Context[Any], _: SqlMismatch) -> Any:
    """There was none left at the commit."""
    ctx.call("sendMessage", chat_id=ctx.chat_id, text=f"{SOLD_OUT} {ctx.update_id}")
    return HANDLED


@transacting.message(text)
async def orders_at_once(ctx: MessageContext) -> None:
    """Take one if there is one, write the order, and answer."""
    async with ctx.transaction() as tx:
        taken = await tx.execute("UPDATE goods SET stock = stock - 1 WHERE id = 1 AND stock > 0")
        if taken == "UPDATE 1":
            await tx.execute("INSERT INTO orders (number, chat) VALUES ($1, $2)", ctx.update_id, ctx.chat_id)
    ctx.reply(f"{SOLD if taken == 'UPDATE 1' else SOLD_OUT} {ctx.update_id}")
