"""Safe file names from the names of files that users send.

Telegram passes the sender's name on unchanged (Telegram Bot API, Document: "as defined by the sender").
"""

import re
import unicodedata
from typing import Final

_BYTES_MAX: Final = 150
"""UTF-8 bytes of a name: file systems allow 255, and an unfinished download has a longer one (downloads.part_of)."""

_ENDING_BYTES_MAX: Final = 20
# Path separators, and characters that Windows refuses (Microsoft, "Naming Files, Paths, and Namespaces").
_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*]')
_RESERVED: Final = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3])", re.IGNORECASE
)
_AT_THE_ENDS: Final = " ._-~"  # hidden files, command options, home folders; characters that Windows drops


def safe_name(name: str | None, fallback: str = "file") -> str:
    """Return a safe name for a new file, similar to the user's; `fallback` if nothing usable is left of that.

    A single path component of 1 to 150 bytes, without control and bidi characters, and not a reserved name of an
    operating system. Names are not unique: add something of your own.
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
