"""From the snapshot to the bytes of /metrics."""

from gpu_sentinel.exposition.page import MetricsPage
from gpu_sentinel.exposition.selfmetrics import (
    ReloadState,
    SelfCollector,
    own_markdown,
    self_registry,
)

__all__ = ["MetricsPage", "ReloadState", "SelfCollector", "own_markdown", "self_registry"]
