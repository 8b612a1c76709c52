"""`make api`: generate telegram/botapi/types.py and telegram/botapi/methods.py."""

from telegram.botapi.generate import write
from telegram.botapi.schema import load

if __name__ == "__main__":
    write(load())
