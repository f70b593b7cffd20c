"""From the snapshot to the bytes of /metrics."""

from gpu_sentinel.exposition.page import MetricsPage
from gpu_sentinel.exposition.selfmetrics import ReloadState, SelfCollector, self_registry

__all__ = ["MetricsPage", "ReloadState", "SelfCollector", "self_registry"]
