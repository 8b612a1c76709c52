"""The settings of health and metrics as text, for run.py."""

from pydantic import BaseModel, Field, SecretStr, field_validator

from telegram.listening import AddressText, read_address


class MetricsSettings(BaseModel):
    """Where /healthz, /readyz and /metrics are served."""

    metrics_listen: AddressText | None = Field(
        default=None,
        description="HOST:PORT of /healthz, /readyz and /metrics, such as 127.0.0.1:9464; default: not served",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        description="the bearer token of /metrics; needed if METRICS_LISTEN is no loopback address",
    )

    @field_validator("metrics_token")
    @classmethod
    def _token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not (
            token.get_secret_value().isascii() and token.get_secret_value().isprintable()
        ):
            raise ValueError("printable ASCII is needed, like the output of: openssl rand -hex 32")
        return token

    def metrics_problem(self) -> str | None:
        """Return what is wrong with the settings together, in one line."""
        if self.metrics_listen is None:
            return (
                None
                if self.metrics_token is None
                else "METRICS_TOKEN is set but METRICS_LISTEN is not: set both"
            )
        if self.metrics_token is None and not read_address(self.metrics_listen).is_loopback:
            return "METRICS_LISTEN is not a loopback address: set METRICS_TOKEN, too, or use 127.0.0.1"
        return None
