"""The thresholds as rules use them: a number, or another one for some GPUs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

#: The series that holds what differs from the default, with the name of the threshold as label.
OVERRIDE = "gpu:threshold:override"
_JOIN = "job, instance, uuid"


@dataclass(frozen=True, slots=True)
class Override:
    """Thresholds of some GPUs; what is empty does not matter.

    Attributes:
        values: threshold -> value.
    """

    values: Mapping[str, float]
    gpu: str = ""
    host: str = ""
    model: str = ""

    @property
    def specificity(self) -> int:
        """One GPU beats a host with a model, that a host, and that a model."""
        return 4 * bool(self.gpu) + 2 * bool(self.host) + bool(self.model)

    @property
    def selector(self) -> str:
        """The GPUs, as PromQL."""
        pairs = (("uuid", self.gpu), ("host", self.host), ("name", self.model))
        return ", ".join(
            f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in pairs if value
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """Every threshold, and for which GPUs it is another.

    Attributes:
        runbooks: what the address of a runbook begins with.
        dashboards: what the address of a dashboard begins with; empty where there is no Grafana.
    """

    values: Mapping[str, float]
    overrides: tuple[Override, ...] = ()
    runbooks: str = "docs/runbooks"
    dashboards: str = "http://127.0.0.1:3000"

    def overridden(self, key: str) -> tuple[Override, ...]:
        """Those that say something else, the most specific first."""
        found = [o for o in self.overrides if key in o.values]
        return tuple(sorted(found, key=lambda o: -o.specificity))

    def number(self, key: str) -> str:
        """The default, for an expression."""
        return f"{self.values[key]:.12g}"

    def beyond(self, left: str, operator: str, key: str, each: str = _JOIN) -> str:
        """`left` where it is beyond its threshold.

        With exceptions the comparison is made twice, so that it costs nothing where there are
        none, and a GPU whose exception is not known yet has the default.
        """
        plain = f"({left}) {operator} {self.number(key)}"
        if not self.overridden(key):
            return plain
        other = f'{OVERRIDE}{{threshold="{key}"}}'
        return (
            f"(\n  ({plain}) unless on ({each}) {other}\nor\n"
            f"  ({left}) {operator} on ({each}) group_left () {other}\n)"
        )

    def text(self, key: str, form: str = "") -> str:
        """The threshold that holds for the GPU of an alert, for its annotation.

        Args:
            key: which threshold.
            form: "" or `humanizePercentage`, which Prometheus' templates know.
        """
        pipe = f" | {form}" if form else ""
        default = _percent(self.values[key]) if form == "humanizePercentage" else self.number(key)
        if not self.overridden(key):
            return default
        series = f"{OVERRIDE}{{threshold='{key}',instance='%s',uuid='%s'}}"
        query = f'printf "{series}" $labels.instance $labels.uuid | query'
        other = f"{{{{ . | first | value{pipe} }}}}"
        return f"{{{{ with {query} }}}}{other}{{{{ else }}}}{default}{{{{ end }}}}"


def _percent(ratio: float) -> str:
    """As `humanizePercentage` writes it."""
    return f"{100 * ratio:.4g}%"
