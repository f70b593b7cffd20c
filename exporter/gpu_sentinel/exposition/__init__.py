"""From the snapshot to the bytes of /metrics."""

from gpu_sentinel.exposition.page import MetricsPage
from gpu_sentinel.exposition.selfmetrics import OwnRenderer, ReloadState, Workings

__all__ = ["MetricsPage", "OwnRenderer", "ReloadState", "Workings"]
