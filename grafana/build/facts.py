"""What the catalogue says of a metric, in the words of a panel."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_sentinel.catalogue import METRICS, OWN, Kind, Metric

_BY_NAME = {metric.name: metric for metric in (*METRICS, *OWN)}
_UNITS = {
    "watts": "watt",
    "joules": "joule",
    "celsius": "celsius",
    "hertz": "hertz",
    "bytes": "bytes",
    "bytes_per_second": "binBps",
    "ratio": "percentunit",
    "seconds": "s",
    "": "none",
}
#: Of the rate of a counter.
_RATES = {"joules": "watt", "bytes": "binBps", "seconds": "percentunit"}
_EXTREMES = {"max": "highest", "min": "lowest"}
_WORDS = {
    "bar1": "BAR1",
    "cpu": "CPU",
    "dram": "DRAM",
    "ecc": "ECC",
    "mig": "MIG",
    "nvlink": "NVLink",
    "nvml": "NVML",
    "pcie": "PCIe",
    "sm": "SM",
    "utilization": "utilisation",
    "xid": "XID",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """Title, unit and description of a panel that shows one metric."""

    title: str
    unit: str
    description: str


def metric(name: str) -> Metric:
    """The declaration of a metric.

    Raises:
        KeyError: the catalogue has no such metric.
    """
    return _BY_NAME[name]


def fact(name: str) -> Fact:
    """What a panel says of a metric; of a counter it shows the rate."""
    found = metric(name)
    stem = name.removeprefix("gpu_sentinel_").removeprefix("gpu_").removesuffix("_total")
    if found.unit:
        stem = stem.removesuffix(f"_{found.unit}")
    words = [_WORDS.get(word, word) for word in stem.split("_")]
    if words[-1] in _EXTREMES:
        words.insert(0, _EXTREMES[words.pop()])
    title = " ".join(words)
    is_rate = found.kind is Kind.COUNTER
    unit = _RATES.get(found.unit, "none") if is_rate else _UNITS[found.unit]
    return Fact(title[:1].upper() + title[1:], unit, found.help)
