"""Structured log lines on standard error: logfmt or JSON, one line for one change of state.

What belongs to a line beside its message is passed as `extra={"fields": {...}}`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timezone

from gpu_sentinel import printable

_BARE = re.compile(r"[^\s\"=\\]+")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    time = datetime.fromtimestamp(record.created, timezone.utc)
    line: dict[str, object] = {
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "component": record.name.removeprefix("gpu_sentinel."),
        "msg": record.getMessage(),
    }
    extra = getattr(record, "fields", None)
    if isinstance(extra, Mapping):
        line.update(extra)
    if record.exc_info:
        line["exception"] = logging.Formatter().formatException(record.exc_info)
    return line


def _logfmt_value(value: object) -> str:
    text = str(value)
    if _BARE.fullmatch(text) and printable.line(text) == text:
        return text
    return printable.as_json(text, ascii_only=False)


class LogfmtFormatter(logging.Formatter):
    """`time=… level=info component=… msg="…" key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the values contain."""
        return " ".join(f"{key}={_logfmt_value(v)}" for key, v in _fields(record).items())


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the values contain."""
        return printable.as_json(_fields(record), ascii_only=False)


def configure(level: str, fmt: str) -> None:
    """Send our log to standard error; may be called again with other values."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if fmt == "json" else LogfmtFormatter())
    root = logging.getLogger("gpu_sentinel")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(level.upper())
