"""`run.py flows`: lists the flows and their problems, and draws their diagrams."""

import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field

from telegram.dialogue.diagrams.diagram import mermaid, picture_of, plain
from telegram.dialogue.diagrams.svg import svg
from telegram.dialogue.router.flows import Found, flows_of, router_problems
from telegram.dialogue.router.loading import find_router

EXIT_PROBLEMS: Final = 1

_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Flows</title>
<style>
  :root {{ color-scheme: light dark }}
  body {{ font: 15px system-ui, sans-serif; margin: 2rem }}
  img {{ max-width: 100%; height: auto }}
  li {{ color: light-dark(#b42318, #ff8b80) }}
</style>
<h1>Flows</h1>
{problems}{flows}
</html>
"""


class Flows(BaseModel):
    """Draw the flows of HANDLERS as state diagrams, and report problems in them: exit code 1 if there are any."""

    out: Path = Field(default=Path("out/flows"), description="the folder for the diagrams")


def draw_flows(spec: str, options: Flows) -> tuple[list[str], list[str]]:
    """Draw the flows of the router `spec`; return a line about each, and all problems.

    ValueError, in one line, if there is no such router, or the folder cannot be written.
    """
    router = find_router(spec)
    found, wrong = flows_of(router), router_problems(router)
    try:
        _write(options.out, found, wrong)
    except OSError as error:
        raise ValueError(f"cannot write to {error.filename or options.out}: {error.strerror}") from None
    return [_line(each) for each in found], wrong


def _write(folder: Path, found: list[Found], wrong: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sections = []
    for each, file in zip(found, _file_names(each.flow.name for each in found), strict=True):
        picture = picture_of(each.flow)
        (folder / f"{file}.mmd").write_text(mermaid(picture), encoding="utf-8")
        (folder / f"{file}.svg").write_text(svg(picture), encoding="utf-8")
        name = escape(plain(each.flow.name))
        sections.append(
            f'<h2>{name}</h2>\n<img src="{file}.svg" alt="states of {name}">\n'
            f'<p><a href="{file}.mmd">Mermaid</a></p>\n'
        )
    items = "".join(f"<li>{escape(line)}</li>\n" for line in wrong)
    page = _PAGE.format(problems=f"<ul>\n{items}</ul>\n" if items else "", flows="".join(sections))
    (folder / "index.html").write_text(page, encoding="utf-8")


def _line(found: Found) -> str:
    states = ", ".join(plain(state.value) for state in found.flow.steps)
    inside = f" (in {', '.join(plain(host.name) for host in found.hosts)})" if found.hosts else ""
    return f"{plain(found.flow.name)}{inside}: {states}"


def _file_names(names: Iterable[str]) -> list[str]:
    """Return a plain file name for each, all different, also on a case-insensitive file system."""
    taken = {"index"}
    found = []
    for name in names:
        base = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60] or "flow"
        file, number = base, 1
        while file.lower() in taken:
            number += 1
            file = f"{base}-{number}"
        taken.add(file.lower())
        found.append(file)
    return found
