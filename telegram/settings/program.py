"""The name under which the program was started, for its texts: `chatlane` of the package, else `run.py`."""

import sys
from pathlib import Path
from typing import Final

PROGRAM: Final = "chatlane" if Path(sys.argv[0]).stem == "chatlane" else "run.py"
