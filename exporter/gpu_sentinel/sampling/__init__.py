"""The threads that sample, and the inventory that owns them."""

from gpu_sentinel.sampling.governor import Budget, Governor, automatic_cpu
from gpu_sentinel.sampling.health import HANG_SECONDS
from gpu_sentinel.sampling.inventory import Inventory
from gpu_sentinel.sampling.lending import Lending
from gpu_sentinel.sampling.pace import Lateness, Pace
from gpu_sentinel.sampling.stalls import Stalls
from gpu_sentinel.sampling.store import SnapshotStore
from gpu_sentinel.sampling.xidwatch import XidState

__all__ = [
    "HANG_SECONDS",
    "Budget",
    "Governor",
    "Inventory",
    "Lateness",
    "Lending",
    "Pace",
    "SnapshotStore",
    "Stalls",
    "XidState",
    "automatic_cpu",
]
