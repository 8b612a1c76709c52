"""Append as the poller does: under the session's right."""

from collections.abc import Sequence
from typing import Any

from engine import Envelope, Post


async def append(
    store: Any,
    batch: Sequence[Envelope],
    aliases: Sequence[tuple[str, str]] = (),
    posts: Sequence[Post] = (),
) -> int:
    """Append under the right of this session, which waits until another session has resigned."""
    new: int = await store.append(await store.right(), batch, aliases, posts)
    return new
