"""The settings of traces, for run.py. All others of theirs are OpenTelemetry's own variables (OTEL_...)."""

from typing import Literal

from pydantic import BaseModel, Field


class TracingSettings(BaseModel):
    """Whether traces are exported, and what is in them."""

    traces: Literal["none", "otlp"] = Field(
        default="none",
        description="otlp: export OpenTelemetry traces over HTTP, as the OTEL_... variables say (docs/operating.md)",
    )
    traces_lanes: bool = Field(
        default=False,
        description="whether spans have the lane's key and scope, and so ids of chats and users",
    )
