"""Sampler threads and the inventory that owns them."""

from gpu_sentinel.sampling.inventory import HANG_SECONDS, Inventory
from gpu_sentinel.sampling.sampler import Pace
from gpu_sentinel.sampling.store import SnapshotStore

__all__ = ["HANG_SECONDS", "Inventory", "Pace", "SnapshotStore"]
