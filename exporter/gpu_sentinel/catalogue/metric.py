"""What a metric's declaration says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from gpu_sentinel.model import Tier

#: The one window of minima and maxima. A second more than its name says, so that a scrape every
#: minute sees each peak although what was read is published a moment later.
WINDOW_SECONDS = 61.0
WINDOW_LABEL = "1m"


class Kind(str, Enum):
    """The type of a metric family, as in the exposition formats."""

    GAUGE = "gauge"
    COUNTER = "counter"
    INFO = "info"
    HISTOGRAM = "histogram"


class Op(str, Enum):
    """What is done with the readings before they are shown."""

    READ = "read"  # shown as read
    MIN = "min"  # smallest in the window
    MAX = "max"  # largest in the window
    INTEGRAL = "integral"  # integral over time
    OBSERVED = "observed"  # seconds over which the integral is known
    LEVELS = "levels"  # seconds at or below each of some bounds
    SAMPLER = "sampler"  # supplied by the sampler, not by the driver
    EXPORTER = "exporter"  # about the exporter itself
    INVENTORY = "inventory"  # which devices there are, and what happened to them
    INSTANCE = "instance"  # read of each MIG instance


def value_key(op: Op, key: str) -> str:
    """The name under which a sample keeps a reading, or what was made of it."""
    return key if op in (Op.READ, Op.SAMPLER, Op.INSTANCE) else f"{op.value}({key})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """One metric family.

    Attributes:
        series: label value, or those of several labels, -> query key; the label value is ""
            where there is no label.
        label: name of the label, or of the labels, that tell the series of one GPU apart.
        index: a key has several values (fans, links): the label that holds the index of each.
        bounds: the one key has a value for each of these and for `+Inf`; they are label values.
        constant: further labels, equal on every series.
        valid: smallest and largest plausible value in base units, both included.
        labels: all labels of a metric, where they do not begin with `gpu` and `uuid`; of a MIG
            instance, those that say which one it is.
        needs: keys from which it is made, beside those of `series`.
        source: the driver's functions or fields, for the reference page.
    """

    name: str
    kind: Kind
    help: str
    group: str
    source: str
    tier: Tier = Tier.FAST
    op: Op = Op.READ
    series: Mapping[str, str] | Mapping[tuple[str, str], str] = field(default_factory=dict)
    label: str | tuple[str, ...] | None = None
    index: str | None = None
    bounds: tuple[float, ...] = ()
    constant: Mapping[str, str] = field(default_factory=dict)
    valid: tuple[float, float] | None = None
    labels: tuple[str, ...] | None = None
    needs: tuple[str, ...] = ()

    def value_keys(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Pairs of the values of `own_labels` and the key of the value in a sample."""
        for label_value, key in self.series.items():
            values = (label_value,) if isinstance(label_value, str) else label_value
            yield (values if self.label else ()), value_key(self.op, key)

    @property
    def own_labels(self) -> tuple[str, ...]:
        """The names of the labels whose values stand in `series`."""
        if self.label is None:
            return ()
        return (self.label,) if isinstance(self.label, str) else self.label

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Every label name of the family, in the order in which they are written."""
        first = ("gpu", "uuid") if self.labels is None else self.labels
        index = (self.index,) if self.index else ()
        return (*first, *self.own_labels, *index, *self.constant)

    @property
    def unit(self) -> str:
        """The OpenMetrics unit, which is the end of the name; empty where there is none."""
        stem = self.name.removesuffix("_total")
        return next((u for u in UNITS if stem.endswith(f"_{u}")), "")


UNITS = ("watts", "joules", "celsius", "hertz", "bytes", "bytes_per_second", "ratio", "seconds")
