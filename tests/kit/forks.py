"""`python -m tests.kit.forks`: run.main many times for the price of one import, each in a fork of its own.

Takes a JSON list of [arguments, folder, settings] on stdin, and prints one of [exit code, stdout, stderr].
"""

import json
import os
import signal
import sys
import tempfile
import traceback

from telegram.command.main import main

_WITHIN_S = 60


def one(arguments: list[str], folder: str, settings: dict[str, str]) -> tuple[int, str, str]:
    """As a new process would: these settings and no others, in this folder."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            signal.alarm(_WITHIN_S)  # one that hangs is killed, and the others go on
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(settings)
            os._exit(run_main(arguments))
        _, status = os.waitpid(pid, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return os.waitstatus_to_exitcode(status), texts[0], texts[1]


def run_main(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    json.dump([one(*case) for case in json.load(sys.stdin)], sys.stdout)
