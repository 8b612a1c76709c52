"""The flags of `run.py load`, each with its default and the reason for it."""

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from telegram.settings.bot_config import BotConfig

FAULTS: Final = ("kill", "stop", "429", "5xx", "slow", "cut")
STARVED_AFTER_S: Final = 30.0
_PATIENCE_S: Final = 60.0
_PATIENCE_WITH_TUTORIAL_S: Final = 5.0


class Load(BaseModel):
    """Test handlers under load and faults, on this machine, with a fake Telegram: real bots and stores are not used.

    Shows the progress and a verdict, and writes a report. Exit code 1 if a promise was broken. The defaults
    take about a minute. Your own handlers: run.py load --handlers my_bot:router
    """

    chats: int = Field(default=200, ge=1, le=100_000, description="number of chats")
    updates: int = Field(
        default=20_000, ge=1, le=1_000_000, description="number of texts to send; 20000 at 500/s take 40 s"
    )
    rate: float = Field(
        default=500, gt=0, le=20_000, description="updates a second; the real Telegram sends most bots fewer"
    )
    skew: Literal["uniform", "zipf", "flood"] = Field(
        default="uniform",
        description="distribution of the texts over the chats: equal, a few chats most, or one chat floods",
    )
    handler_ms: float = Field(
        default=20,
        ge=0,
        le=60_000,
        description="duration of a handler: that of a small database query",
    )
    handlers: str | None = Field(
        default=None,
        description="module:router with your own; without it handlers whose replies prove order and loss",
    )
    script: Path | None = Field(
        default=None,
        description="the steps that each user repeats with your own handlers: a file with a text, a /command or "
        "`press LABEL` in each line; without it users choose commands, buttons, and texts where the bot asks",
    )
    faults: str = Field(
        default="all",
        description="all, none, or some of kill (kill -9 and restart), stop (SIGSTOP), 429, 5xx, slow (answers), "
        "cut (connections), separated by commas",
    )
    limits: Literal["none", "telegram"] = Field(
        default="none",
        description="telegram: 429 for more than about 30 messages a second, 1 in a chat, 20 a minute in a group",
    )
    source: Literal["polling", "webhook"] = Field(
        default="polling",
        description="how updates come; webhook: as Telegram sends them, over 40 connections, one at a time of each chat",
    )
    store: str = Field(
        default="sqlite", description="sqlite (a new file), memory, or a STORE_URL that is new, too"
    )
    workers: int = Field(
        default=BotConfig().workers, ge=1, le=10_000, description="handlers at a time, as in WORKERS"
    )
    processes: int = Field(
        default=1, ge=1, le=64, description="of the bot; several share a database: --store postgres://..."
    )
    engine: Literal["chatlane", "tutorial"] = Field(
        default="chatlane",
        description="tutorial: one queue in memory, wrong on purpose, to see that the test detects it",
    )
    seed: int = Field(default=1, description="seed of the order of the chats and of the faults")
    starved_after_s: float = Field(
        default=STARVED_AFTER_S, gt=0, description="a chat that waits longer for an unfair turn is starved"
    )
    patience_s: float = Field(
        default=_PATIENCE_S,
        gt=0,
        description="after this long without progress the rest counts as lost; the longest pause after a failure is 30 s",
    )
    report: Path = Field(default=Path("out/load.html"), description="the report, one file for a browser")
    json_path: Path | None = Field(default=None, alias="json", description="the same as JSON, for a machine")

    @property
    def fault_kinds(self) -> tuple[str, ...]:
        """Return the kinds of fault to cause, in the order of FAULTS."""
        if self.faults in {"all", "none"}:
            return FAULTS if self.faults == "all" else ()
        names = self.faults.split(",")
        return tuple(kind for kind in FAULTS if kind in names)

    @property
    def longest_pause_s(self) -> float:
        """Return the time without progress that ends the test; short for the tutorial's engine, which never retries."""
        if self.engine == "tutorial" and "patience_s" not in self.model_fields_set:
            return _PATIENCE_WITH_TUTORIAL_S
        return self.patience_s

    @field_validator("faults")
    @classmethod
    def _known(cls, faults: str) -> str:
        names = faults.replace(" ", "").lower()
        unknown = set(names.split(",")) - set(FAULTS)
        if names not in {"all", "none"} and unknown:
            raise ValueError(
                f"there is no {', '.join(map(repr, sorted(unknown)))}: use all, none, or some of {','.join(FAULTS)}"
            )
        return names

    @field_validator("store")
    @classmethod
    def _new(cls, store: str) -> str:
        scheme, _, path = store.partition(":")
        if scheme == "sqlite" and path and Path(path).exists():
            raise ValueError(f"{path} exists: a load test wants a new file")
        return store

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.store in {"memory", "memory:"} and "kill" in self.fault_kinds and self.engine == "chatlane":
            others = ",".join(kind for kind in self.fault_kinds if kind != "kill") or "none"
            raise ValueError(f"a store in memory forgets at a kill: use --store sqlite, or --faults {others}")
        if self.processes > 1 and not self.store.startswith(("postgres://", "postgresql://")):
            raise ValueError(
                "a file belongs to one process: use --processes 1, or --store postgres://USER:PASSWORD@HOST/DATABASE"
            )
        if self.processes > 1 and (self.engine == "tutorial" or self.source == "webhook"):
            raise ValueError("--processes is for --engine chatlane with --source polling")
        if self.source == "webhook" and self.engine == "tutorial":
            raise ValueError("--engine tutorial polls: use --source polling")
        if self.handlers is not None and "handler_ms" in self.model_fields_set:
            raise ValueError("--handler-ms is for the built-in handlers, --handlers names others")
        if self.script is not None and self.handlers is None:
            raise ValueError("--script is for your own handlers: name them with --handlers")
        if self.skew == "flood" and self.chats < 2:
            raise ValueError("--skew flood needs at least two chats")
        return self
