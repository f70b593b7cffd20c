"""From the snapshot to the bytes of /metrics."""

from gpu_sentinel.exposition.dcgm import DcgmRenderer, last_xid
from gpu_sentinel.exposition.dcgmholders import holdings
from gpu_sentinel.exposition.dcgminstances import gpu_instances
from gpu_sentinel.exposition.page import MetricsPage
from gpu_sentinel.exposition.render import DeviceRenderer
from gpu_sentinel.exposition.selfmetrics import OwnRenderer, ReloadState, Workings

__all__ = [
    "DcgmRenderer",
    "DeviceRenderer",
    "MetricsPage",
    "OwnRenderer",
    "ReloadState",
    "Workings",
    "gpu_instances",
    "holdings",
    "last_xid",
]
