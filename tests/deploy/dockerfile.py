"""The Dockerfile read, and its steps run without a container engine: in folders that are copies of a base system.

    python -m tests.deploy.dockerfile BASE WORK

as root. BASE is the root of a system with /usr/local/bin/python and pip, in place of the image that FROM names; WORK gets a
folder for each stage. What only an engine does (layers, limits, volumes) is not tried.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Step(NamedTuple):
    """An instruction and its text."""

    word: str
    text: str


def steps(dockerfile: Path = ROOT / "Dockerfile") -> list[Step]:
    """Return the instructions in order, without comments, each in one line."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [Step(*line.split(maxsplit=1)) for line in whole.splitlines() if line.strip()]


def in_context(source: str) -> bool:
    """Whether .dockerignore, a list of what is not ignored, lets this file or folder in."""
    return f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines()


def build(base: Path, work: Path) -> Path:
    """Run the steps; return the folder of the last stage."""
    stages: dict[str, Path] = {}
    root, place, env = base, Path("/"), {}
    for word, text in steps():
        print(word, text, flush=True)
        if word == "FROM":
            name = text.rpartition(" AS ")[2] if " AS " in text else "last"
            root = stages[name] = work / name
            shutil.rmtree(root, ignore_errors=True)
            subprocess.run(["cp", "-a", base, root], check=True)
            place, env = Path("/"), {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
        elif word == "WORKDIR":
            place = Path(text)
            _within(root, place).mkdir(parents=True, exist_ok=True)
        elif word == "ENV":
            env |= dict(each.replace("$PATH", env["PATH"]).split("=", 1) for each in text.split())
        elif word == "ARG":
            name, _, default = text.partition("=")
            env |= {name: os.environ.get(name, default)}
        elif word == "COPY":
            _copy(text.split(), root, place, stages)
        elif word == "RUN":
            command = [
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                f"--root={root}",
                "/bin/sh",
                "-c",
                f"cd {place} && {text}",
            ]
            subprocess.run(command, check=True, env=env)
    return root


def _copy(words: list[str], root: Path, place: Path, stages: dict[str, Path]) -> None:
    source = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
    *given, target = words
    for each in given:
        assert source or in_context(each), f"{each} is not in the build context"
        path = _within(stages[source], Path(each)) if source else ROOT / each
        goal = _within(root, place / target)
        if path.is_dir():
            shutil.copytree(
                path, goal, symlinks=True, dirs_exist_ok=True, ignore=None if source else _no_caches
            )
        else:
            shutil.copy(path, goal / each if target.endswith("/") else goal)


def _no_caches(_: str, names: list[str]) -> set[str]:
    return {"__pycache__"} & {*names}


def _within(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def value(word: str) -> str:
    """Return the text of the last instruction of this kind."""
    return [step.text for step in steps() if step.word == word][-1]


def healthcheck() -> list[str]:
    """Return the command of the HEALTHCHECK."""
    found: list[str] = json.loads(value("HEALTHCHECK").partition("CMD")[2])
    return found


if __name__ == "__main__":
    os.umask(0o022)
    print(build(Path(sys.argv[1]), Path(sys.argv[2])))
