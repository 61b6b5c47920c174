"""OpenTelemetry, which is off unless the standard variables name where traces go.

FastAPI has it built in; what is chosen here is that nothing is sent unasked, and never a message of
an error, which may quote a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

ASKED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def telemetry(environ: Mapping[str, str]) -> TelemetryConfig:
    """The ``telemetry`` of ``FastAPI()``.

    Figures are at /metrics and log lines in the log: only traces are sent. Without
    ``bitext[otel]`` FastAPI says at the start what is missing.
    """
    asked = any(environ.get(name) for name in ASKED)
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_on = asked and not off and environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none"
    return {
        "auto_configure": is_on,
        "tracing": is_on,
        "operation_spans": is_on,
        "metrics": False,
        "logs": False,
    }
