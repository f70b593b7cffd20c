"""The two exposition formats, as far as our families differ in them.

Specifications: the Prometheus text format 0.0.4 and OpenMetrics 1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gpu_sentinel.catalogue import Kind, Metric

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Format:
    """How a family is introduced, and what the whole body is called."""

    name: str
    content_type: str
    openmetrics: bool

    @property
    def end(self) -> str:
        """What stands at the end of a body."""
        return "# EOF\n" if self.openmetrics else ""

    @lru_cache(maxsize=512)  # noqa: B019 - there are two formats, for ever
    def header(self, metric: Metric) -> str:
        """The comment lines before the samples of a family."""
        if not self.openmetrics:
            kind = "gauge" if metric.kind is Kind.INFO else metric.kind.value
            help_ = metric.help.translate(_HELP_ESCAPES)
            return f"# HELP {metric.name} {help_}\n# TYPE {metric.name} {kind}\n"
        family = metric.name
        if metric.kind is Kind.COUNTER:
            family = family.removesuffix("_total")
        elif metric.kind is Kind.INFO:
            family = family.removesuffix("_info")
        unit = f"# UNIT {family} {metric.unit}\n" if metric.unit else ""
        help_ = metric.help.translate(_ESCAPES)
        return f"# HELP {family} {help_}\n# TYPE {family} {metric.kind.value}\n{unit}"

    def family(self, metric: Metric, lines: Sequence[str]) -> str:
        """A family with its samples; empty where there are none."""
        return self.header(metric) + "".join(lines) if lines else ""


TEXT = Format("text", "text/plain; version=0.0.4; charset=utf-8", openmetrics=False)
OPENMETRICS = Format(
    "openmetrics", "application/openmetrics-text; version=1.0.0; charset=utf-8", openmetrics=True
)


def label(name: str, value: str) -> str:
    """`name="value"`, escaped."""
    return f'{name}="{value.translate(_ESCAPES)}"'


#: Most values are those of the page before.
_TEXTS: dict[float, str] = {}
_MOST_TEXTS = 8192


def number(value: float) -> str:
    """A finite sample value; whole numbers without the `.0`."""
    text = _TEXTS.get(value)
    if text is None:
        whole = int(value)
        text = str(whole) if whole == value else repr(value)
        if len(_TEXTS) >= _MOST_TEXTS:
            _TEXTS.clear()
        _TEXTS[value] = text
    return text
