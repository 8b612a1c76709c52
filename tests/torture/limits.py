"""A thousand chats under Telegram's limits: how much of what is allowed arrives, and how much is refused?

The fake server enforces the limits of telegram/fake/world/flood.py: 30 messages a second over all chats, one a second in a chat, 20
a minute in a group. Everybody writes more than that at first; then the backlog goes out at the bot's own pace.
"""

import time
from typing import Final

from telegram.fake import Call, FloodLimits
from telegram.load.bot.plan import BotPlan
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import open_stage

SHARE_MIN: Final = 0.9
REFUSED_MAX: Final = 0.01
WARM_UP_S: Final = 60.0


def _sends(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.method == "sendMessage"]


async def run(
    plan: Plan,
    tell: Tell,
    limits: FloodLimits = FloodLimits(),  # noqa: B008 - frozen
    *,
    warm_up_s: float = WARM_UP_S,
    share_min: float = SHARE_MIN,
) -> Result:
    """Everything arrives, in order, at `share_min` of the limit or more; less than 1 % of the calls after a minute get a 429."""
    began = time.monotonic()
    texts = round(limits.overall_per_s * plan.minutes * 60)
    async with open_stage(plan, tell, BotPlan(handler_ms=1.0, journal=None), MESSAGES_PER_S="30") as stage:
        await stage.fake.limit(limits)
        await stage.start()
        await stage.say(texts)
        is_answered = await stage.all_answered()
        await stage.stop()
        await stage.look()
        sends = _sends(stage.calls)
        verdict = stage.judge()
    arrived = [call.at for call in sends if call.delivered]
    rate = (len(arrived) - 1) / (arrived[-1] - arrived[0])
    late = [call for call in sends if call.at >= arrived[0] + warm_up_s]
    refused = sum(call.status == 429 for call in sends)
    refused_late = sum(call.status == 429 for call in late) / max(1, len(late))
    facts = {
        "chats": plan.chats,
        "rate": f"{rate:.1f} messages/s, {rate / limits.overall_per_s:.3f} of what the limits allow",
        "refused": f"{refused} of {len(sends)} calls (429)",
        "refused after the first minute": f"{100 * refused_late:.2f} % of {len(late)}",
    }
    failures = [] if is_answered else ["texts were not all answered"]
    if rate < share_min * limits.overall_per_s:
        failures.append(f"{rate:.1f} messages/s is below {share_min} of the limit")
    if refused_late > REFUSED_MAX:
        failures.append(f"{100 * refused_late:.2f} % of the calls after {warm_up_s:.0f} s were refused")
    return Result("limits", verdict, time.monotonic() - began, facts, failures)
