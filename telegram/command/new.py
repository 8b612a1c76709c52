"""`chatlane new my_bot`: a folder with a bot of one's own, its test, a Dockerfile and a CI workflow."""

import keyword
import sys
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field, field_validator
from pydantic_settings import CliPositionalArg

TEMPLATE: Final = Path(__file__).parent / "template"
FILES: Final = {
    "bot.txt": "{name}.py",
    "test.txt": "test_{name}.py",
    "readme.txt": "README.md",
    "requirements.txt": "requirements.txt",
    "requirements-dev.txt": "requirements-dev.txt",
    "env.txt": ".env.example",
    "gitignore.txt": ".gitignore",
    "dockerignore.txt": ".dockerignore",
    "dockerfile.txt": "Dockerfile",
    "workflow.txt": ".github/workflows/test.yml",
}
"""File of the template -> path in the new folder; `{name}` there and `NAME` in the text are the bot's name."""

_TAKEN: Final = sys.stdlib_module_names | {
    "chatlane",
    "engine",
    "handlers",
    "run",
    "telegram",
    "test",
    "tests",
}


class NewBot(BaseModel):
    """Make a folder with a bot of your own: a flow, its test, a Dockerfile and a CI workflow."""

    name: CliPositionalArg[str] = Field(description="of the folder and of the module, like my_bot")

    @field_validator("name")
    @classmethod
    def _module_name(cls, name: str) -> str:
        if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
            raise ValueError(f"{name!r:.60} is no name of a module: use letters, digits and _, like my_bot")
        if name.lower() in _TAKEN:
            raise ValueError(
                f"{name!r:.60} would hide another module of that name: choose another, like my_bot"
            )
        return name


def make_bot(name: str, parent: Path) -> Path:
    """Write the new bot's files to the folder `name` in `parent`; return the folder. ValueError if it exists and is not empty."""
    folder = parent / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"new: {name} exists and is not empty: choose another name, or remove it")
    for source, target in FILES.items():
        path = folder / target.format(name=name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((TEMPLATE / source).read_text("utf-8").replace("NAME", name), "utf-8")
    return folder
