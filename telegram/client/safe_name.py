"""Names of files that people send: what a name may be on a disk, whoever made it up.

A name comes from the sender as it is (Telegram Bot API, Document: "as defined by the sender").
"""

import re
import unicodedata
from typing import Final

_BYTES_MAX: Final = 150
"""Of UTF-8: file systems take 255, and a download that is not whole has a longer name (telegram.client.downloads.part_of)."""

_ENDING_BYTES_MAX: Final = 20
# No part of a path, and what Windows refuses (Microsoft, "Naming Files, Paths, and Namespaces").
_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*]')
_RESERVED: Final = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3])", re.IGNORECASE
)
_AT_THE_ENDS: Final = " ._-~"  # hidden files, options of commands, home folders; what Windows drops


def safe_name(name: str | None, fallback: str = "file") -> str:
    """Return a name for a new file in a folder of yours, like the one that somebody gave; `fallback` where nothing is left.

    One part of a path, of 1 to 150 bytes, without control and bidi characters, with a name that no system has reserved.
    Two senders may give the same name: put something of your own beside it.
    """
    last = re.split(r"[/\\]", name or "")[-1]
    visible = "".join(
        each for each in unicodedata.normalize("NFC", last) if unicodedata.category(each)[0] != "C"
    )
    clean = " ".join(_FORBIDDEN.sub("_", visible).split()).strip(_AT_THE_ENDS)
    stem, dot, ending = clean.rpartition(".")
    if not stem or len((dot + ending).encode()) > _ENDING_BYTES_MAX:
        stem, dot, ending = clean, "", ""
    stem = _shortened(stem, _BYTES_MAX - len((dot + ending).encode()) - 1).strip(_AT_THE_ENDS)
    clean = (stem + dot + ending).strip(_AT_THE_ENDS) or fallback
    return f"_{clean}" if _RESERVED.fullmatch(clean.partition(".")[0].rstrip()) else clean


def _shortened(text: str, bytes_max: int) -> str:
    return text.encode()[:bytes_max].decode("utf-8", "ignore")
