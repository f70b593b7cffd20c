"""Variables: what is looked at."""

from __future__ import annotations

from core import DATASOURCE, Json

from gpu_sentinel.catalogue import METRICS

PROMETHEUS_UID = "sentinel-prometheus"
_HOSTS = 'cluster=~"$cluster",host=~"$host"'
_INFO = next(m.name for m in METRICS if m.name == "gpu_info")


def datasource() -> Json:
    """Which Prometheus."""
    return {
        "name": "ds",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "Prometheus", "value": PROMETHEUS_UID},
    }


def labels(name: str, label: str, selector: str, of: str, *, everything: bool = True) -> Json:
    """A choice among the values of a label; all of them at first, as one pattern.

    Args:
        name: of the variable.
        label: as it is shown.
        selector: the series that have the values.
        of: the label.
        everything: whether all can be chosen at once.
    """
    query = f"label_values({selector}, {of})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": dict(DATASOURCE),
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": everything,
        **({"allValue": ".*"} if everything else {}),
        "current": {"text": ["All"], "value": ["$__all"]} if everything else {},
        "sort": 7,
    }


def number(name: str, label: str, value: str) -> Json:
    """A number that the reader may change, such as a price."""
    return {
        "name": name,
        "label": label,
        "type": "textbox",
        "query": value,
        "current": {"text": value, "value": value},
        "options": [{"text": value, "value": value, "selected": True}],
    }


CLUSTER = labels("cluster", "Cluster", "gpu_sentinel_nvml_up", "cluster")
#: Also of hosts that show no GPU at all.
HOST = labels("host", "Host", 'gpu_sentinel_nvml_up{cluster=~"$cluster"}', "host")
ONE_HOST = labels(
    "host", "Host", 'gpu_sentinel_nvml_up{cluster=~"$cluster"}', "host", everything=False
)
MODEL = labels("model", "Model", f"{_INFO}{{{_HOSTS}}}", "name")
GPU = labels("gpu", "GPU", f'{_INFO}{{{_HOSTS},name=~"$model"}}', "gpu")

FLEET = (datasource(), CLUSTER, HOST, MODEL)
#: Without All for hosts: the pages of a host and of a GPU read at full resolution.
DEVICE = (datasource(), CLUSTER, ONE_HOST, MODEL, GPU)
STACK = (datasource(), CLUSTER, HOST)
