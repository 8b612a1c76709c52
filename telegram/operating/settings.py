"""The settings for operators as text, for run.py."""

from pathlib import Path

from pydantic import BaseModel, Field


class OperatorSettings(BaseModel):
    """What operators do, and where it is recorded."""

    admin_audit: Path | None = Field(
        default=None,
        description="the log of what operators do; default: beside the database file, else chatlane-audit.jsonl",
    )
