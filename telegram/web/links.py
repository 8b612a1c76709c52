"""Deep links to a bot, and payloads of any bytes in them (https://core.telegram.org/bots/features#deep-linking).

A link with `start` or `startgroup` leads to the message "/start PAYLOAD" (telegram.dialogue: command("start").payload), one
with `startapp` to the `start_param` of the Mini App's init data (telegram.web.check_init_data). Anybody can write a link of
their own, so a payload is the user's input.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Final, Literal

LinkKind = Literal["start", "startgroup", "startchannel", "startapp"]

PAYLOAD_MAX: Final = 64
"""Maximum length of a payload for `start` and `startgroup` (https://core.telegram.org/api/links#bot-links)."""

APP_PAYLOAD_MAX: Final = 512
"""Maximum length of a payload for `startapp` (https://core.telegram.org/api/links#main-mini-app-links)."""

RIGHTS: Final = frozenset((
    "change_info", "post_messages", "edit_messages", "delete_messages", "restrict_members", "invite_users", "pin_messages",
    "manage_topics", "promote_members", "manage_video_chats", "anonymous", "manage_chat", "post_stories", "edit_stories",
    "delete_stories",
))  # fmt: skip
"""Names of administrators' rights in links (https://core.telegram.org/api/links#group-channel-bot-links)."""

_PAYLOAD: Final = re.compile(r"[A-Za-z0-9_-]*")
_USERNAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{3,31}")
_APP: Final = re.compile(r"[A-Za-z0-9_]{1,64}")


def deep_link(
    username: str,
    kind: LinkKind = "start",
    payload: str = "",
    *,
    admin: Iterable[str] = (),
    app: str | None = None,
    mode: Literal["compact", "fullscreen"] | None = None,
) -> str:
    """Return a link https://t.me/... that opens the bot `username` (with or without "@").

    start          the private chat; the bot gets "/start PAYLOAD"
    startgroup     a group to choose, to which the bot is added, with the rights `admin`, if any; "/start@bot PAYLOAD"
    startchannel   a channel to choose, with the rights `admin`; no payload
    startapp       the bot's main Mini App, or the one with the short name `app`, shown as `mode`

    ValueError for a username, a payload or a right that Telegram does not accept; for other payloads use `encode_payload`.
    """
    name = username.removeprefix("@")
    if _USERNAME.fullmatch(name) is None:
        raise ValueError(f"a bot's username has 4 to 32 letters, digits and _, not {username!r}")
    rights = [admin] if isinstance(admin, str) else list(admin)
    if kind not in {"start", "startgroup", "startchannel", "startapp"}:
        raise ValueError(f"a link is start, startgroup, startchannel or startapp, not {kind!r}")
    if unknown := [each for each in rights if each not in RIGHTS]:
        raise ValueError(f"a link knows no right {unknown[0]!r}: {', '.join(sorted(RIGHTS))}")
    if rights and kind not in {"startgroup", "startchannel"}:
        raise ValueError(f"admin= is for startgroup and startchannel, not for {kind}")
    if kind == "startchannel" and (payload or not rights):
        raise ValueError("a startchannel link has rights (admin=[...]), and no payload")
    if kind != "startapp" and (app is not None or mode is not None):
        raise ValueError(f"app= and mode= are for startapp, not for {kind}")
    if app is not None and _APP.fullmatch(app) is None:
        raise ValueError(f"the short name of a Mini App has letters, digits and _, not {app!r}")
    if mode not in {None, "compact", "fullscreen"}:
        raise ValueError(f"mode is 'compact' or 'fullscreen', not {mode!r}")
    _check_payload(payload, APP_PAYLOAD_MAX if kind == "startapp" else PAYLOAD_MAX)
    query = f"{kind}={payload}" if payload else kind
    query += f"&admin={'+'.join(rights)}" if rights else ""
    query += f"&mode={mode}" if mode else ""
    return f"https://t.me/{name}{f'/{app}' if app else ''}?{query}"


def _check_payload(payload: str, length_max: int) -> None:
    if _PAYLOAD.fullmatch(payload) is None:
        raise ValueError(
            f"a payload has only A-Z, a-z, 0-9, _ and -: write encode_payload(...), not {payload!r}"
        )
    if len(payload) > length_max:
        raise ValueError(f"a payload has at most {length_max} characters, this has {len(payload)}")


def encode_payload(content: bytes | str) -> str:
    """Return bytes, or a text in UTF-8, as a payload: base64url without padding. 48 bytes fit into 64 characters."""
    octets = content.encode() if isinstance(content, str) else content
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def decode_payload(payload: str) -> bytes | None:
    """Return the bytes of a payload; None for one that `encode_payload` has not made: users write links, too."""
    if _PAYLOAD.fullmatch(payload) is None or len(payload) % 4 == 1:
        return None
    content = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    return content if encode_payload(content) == payload else None
