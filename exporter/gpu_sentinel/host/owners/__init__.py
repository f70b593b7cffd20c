"""From a pid of the machine to its owner."""

from gpu_sentinel.host.owners.containers import Containers
from gpu_sentinel.host.owners.memory import Process
from gpu_sentinel.host.owners.resolver import Resolver

__all__ = ["Containers", "Process", "Resolver"]
