"""What the bot of the campaign `policies` runs: a model that thinks for THINKS_S and streams, once with each policy."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from telegram.dialogue import ChatContext, MessageContext, Router, text
from telegram.dialogue.routes.policies import Policy

POLICIES: Final[tuple[Policy, ...]] = ("queue", "stop", "restart", "merge", "drop")
THINKS_S: Final = 0.8
"""A minute, scaled down."""

_PARTS: Final = 5

router = Router()


def policy_of(chat_id: int) -> Policy:
    """Return the policy of a chat."""
    return POLICIES[abs(chat_id) % len(POLICIES)]


def _answers(policy: Policy) -> Callable[[MessageContext], Awaitable[None]]:
    async def answer(ctx: MessageContext) -> None:
        """Answer with the user, the count of this conversation, and all texts."""
        ctx.data["count"] = ctx.data.get("count", 0) + 1
        async with ctx.stream() as out:
            out.write(f"{ctx.user_id} {ctx.data['count']}")
            for _ in range(_PARTS):
                await asyncio.sleep(THINKS_S / _PARTS)
            out.write(f" {' '.join(ctx.texts)}")

    def is_of_policy(ctx: ChatContext) -> bool:
        return ctx.chat_id is not None and policy_of(ctx.chat_id) == policy

    return router.message(text, is_of_policy, on_new=policy)(answer)


for _policy in POLICIES:
    _answers(_policy)
