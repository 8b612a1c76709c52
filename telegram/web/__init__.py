"""For the web side of a bot: data signed by Telegram (Mini Apps, login widget), and deep links.

Pure functions without I/O, for any web framework.
"""

from telegram.web.links import decode_payload, deep_link, encode_payload
from telegram.web.signed import (
    Expired,
    InitData,
    LoginData,
    Unverified,
    WebAppChat,
    WebAppUser,
    check_init_data,
    check_login,
)

__all__ = [
    "Expired",
    "InitData",
    "LoginData",
    "Unverified",
    "WebAppChat",
    "WebAppUser",
    "check_init_data",
    "check_login",
    "decode_payload",
    "deep_link",
    "encode_payload",
]
