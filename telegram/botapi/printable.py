"""Escaping of users' texts for terminals and logs.

ANSI sequences begin with ESC or the C1 character CSI (ECMA-48), and can hide or rewrite a terminal's contents, or make it
send input. Line ends can forge a log line. Bidirectional controls change the displayed order of characters (Unicode
Technical Report 36, "Bidirectional Text Spoofing"; Standard Annex 9, "Directional Formatting Characters").
"""

import re
from typing import Final

# Categories Cc, Zl, Zp, Cs, and of Cf the characters that change the direction or are invisible. The two joiners are
# kept: names and emoji need them.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return `text` as one line, with control and bidi characters, line ends and lone surrogates escaped (\x1b, \u202e)."""
    return _UNSAFE.sub(_escaped, text)


def printable_json(text: str) -> str:
    r"""Do the same for JSON without changing its values: in its strings such characters become JSON escapes (\u009b)."""
    return _UNSAFE.sub(lambda found: _utf16(ord(found[0])), text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _utf16(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
