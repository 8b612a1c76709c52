"""Text of strangers on a terminal or in a log: people name themselves and write what they like.

ANSI sequences begin with ESC or the C1 character CSI (ECMA-48), and can hide, rewrite or answer for what stands on a
terminal. Line ends can forge a line of a log. Bidirectional controls show letters in another order than they have
(Unicode Technical Report 36, "Bidirectional Text Spoofing"; Standard Annex 9, "Directional Formatting Characters").
"""

import re
from typing import Final

# Categories Cc, Zl, Zp, Cs, and of Cf whatever changes the direction or is not seen. The two joiners stay: names are
# written with them, and emoji are made of them.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return `text` as one harmless line: control and bidi characters, line ends and lone surrogates as \x1b or \u202e."""
    return _UNSAFE.sub(_escaped, text)


def printable_json(text: str) -> str:
    r"""Do the same for JSON, and keep its values: in strings such characters become \u009b, elsewhere there are none."""
    return _UNSAFE.sub(lambda found: _utf16(ord(found[0])), text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _utf16(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
