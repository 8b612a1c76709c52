"""Parts that the sandbox's page and the operator's page share: colours, elements, and the state of a lane as pill and dots."""

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent
FILES: Final = {name: _FOLDER / name for name in ("theme.css", "pills.css", "dom.js", "pills.js")}
"""The files, by the name under which a page finds them."""
