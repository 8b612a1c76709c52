"""`make api`: generate types.py, methods.py, collected.py and collected.pyi in telegram/botapi/."""

from telegram.botapi.generate import write
from telegram.botapi.schema import load

if __name__ == "__main__":
    write(load())
