"""Parsing of URLs in formatted text (tdlib/td, LinkManager.cpp and HttpUrl.cpp)."""

import re
from typing import Final

from telegram.fake.protocol.answers import Json

_USER: Final = re.compile(r"tg:(?://)?user(/?\?[^#]*)", re.IGNORECASE)
_PARTS: Final = re.compile(r"(?:(?P<scheme>[^:/?#@\[\]]*)://)?(?P<place>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_OWN_SCHEME: Final = re.compile(
    r"(tg|ton|tonsite):(?://)?(?P<host>[\w.-]+)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
_HOST: Final = re.compile(r"(?:[A-Za-z0-9.\-_!$,~*'();&+=\x80-\U0010ffff]|%[0-9A-Fa-f]{2})+")
_USER_INFO: Final = re.compile(r"(?:[A-Za-z0-9.\-_!$,~*'();&+=:\x80-\U0010ffff]|%[0-9A-Fa-f]{2})*")
_IPV6: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]")
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_DATE_FORMAT: Final = re.compile(r"[rR]|[tTdDwW]*")
_PORT_MAX: Final = 65_535


def link(url: str) -> Json | None:
    """Return the entity of a link, without offset and length; None for an invalid URL."""
    if user_id := mentioned_user(url):
        return {"type": "text_mention", "user": {"id": user_id}}
    address = checked(url)
    return {"type": "text_link", "url": address} if address else None


def mentioned_user(url: str) -> int | None:
    """Return the user id of a `tg://user?id=` URL; None for any other."""
    found = _USER.match(url)
    wanted = _argument(found[1], "id") if found else None
    if wanted is None or not _INTEGER.fullmatch(wanted) or int(wanted) <= 0:
        return None
    return int(wanted)


def checked(url: str) -> str:
    """Return the URL as Telegram normalizes it (with scheme and path); "" for an invalid one, which is no link."""
    if own := _OWN_SCHEME.fullmatch(url):
        rest = own["rest"]
        if not re.match(r"[/?#]|\Z", rest) or (own[1].lower() != "tonsite" and "." in own["host"]):
            return ""
        return f"{own[1].lower()}://{own['host'].lower()}{rest}"
    parts = _PARTS.fullmatch(url)
    if parts is None or (parts["scheme"] or "http").lower() not in ("http", "https"):
        return ""
    user, at, place = parts["place"].rpartition("@")
    host, port = place, ""
    if (found := re.fullmatch(r"(.+):([^\]]*)", place)) is not None:
        host, port = found[1], found[2]
        if not re.fullmatch(r"[0-9]{1,9}", port) or not 0 < int(port) <= _PORT_MAX:
            return ""
    if not _IPV6.fullmatch(host) and (not _HOST.fullmatch(host) or "." not in host or host == "."):
        return ""
    if not _USER_INFO.fullmatch(user):
        return ""
    scheme = (parts["scheme"] or "http").lower()
    return f"{scheme}://{user}{at}{host.lower()}{f':{int(port)}' if port else ''}{_path(parts['rest'])}"


def emoji_or_moment(url: str) -> Json | None:
    """Return the entity of a `tg://emoji?id=` or `tg://time?unix=` URL, without offset and length; None for any other."""
    found = re.match(r"tg:(?://)?(emoji|time)/?\?([^#]*)", url, re.IGNORECASE)
    if found is None:
        return None
    if found[1].lower() == "emoji":
        emoji = _argument("?" + found[2], "id")
        return {"type": "custom_emoji", "custom_emoji_id": emoji} if emoji and is_emoji(emoji) else None
    unix, form = _argument("?" + found[2], "unix") or "", _argument("?" + found[2], "format") or ""
    if not _INTEGER.fullmatch(unix) or not 0 < int(unix) < 2**31 or not is_date_format(form):
        return None
    return moment(int(unix), form)


def moment(unix: int, form: str) -> Json:
    """Return a date_time entity, without offset and length."""
    return {"type": "date_time", "unix_time": unix} | ({"date_time_format": form} if form else {})


def is_emoji(text: str) -> bool:
    """Whether the text is a valid id of a custom emoji: a positive 64-bit integer."""
    return bool(_INTEGER.fullmatch(text)) and 0 < int(text) < 2**63


def is_date_format(text: str) -> bool:
    """Whether the text is a date format: "r", "R", or letters of "tTdDwW" (Telegram Bot API, MessageEntity)."""
    return _DATE_FORMAT.fullmatch(text) is not None


def _argument(query: str, name: str) -> str | None:
    pairs = (pair.partition("=") for pair in query.lstrip("/").removeprefix("?").split("&"))
    return next((value for key, _, value in pairs if key == name), None)


def _path(rest: str) -> str:
    rest = rest.rstrip(" \t\r\n\0\v")
    escaped = "".join(f"%{ord(letter):02X}" if letter <= " " else letter for letter in rest)
    return escaped if escaped[:1] == "/" else "/" + escaped
