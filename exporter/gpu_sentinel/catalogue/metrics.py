"""Every metric of the device, declared once.

Collection, exposition, the reference page and the checks of rules and dashboards follow from
these tables, one module a subject.
"""

from __future__ import annotations

from gpu_sentinel.catalogue.availability import AVAILABILITY
from gpu_sentinel.catalogue.clocks import CLOCKS
from gpu_sentinel.catalogue.details import DETAILS, MEDIA, TOPOLOGY
from gpu_sentinel.catalogue.errors import ERRORS
from gpu_sentinel.catalogue.fans import FANS
from gpu_sentinel.catalogue.health import HEALTH
from gpu_sentinel.catalogue.identity import IDENTITY
from gpu_sentinel.catalogue.kernel.metrics import KERNEL_METRICS
from gpu_sentinel.catalogue.memory import MEMORY
from gpu_sentinel.catalogue.metric import Metric
from gpu_sentinel.catalogue.mig import MIG
from gpu_sentinel.catalogue.modes import MODES
from gpu_sentinel.catalogue.nvlink import NVLINK
from gpu_sentinel.catalogue.owners import OWNERS
from gpu_sentinel.catalogue.pcie import PCIE
from gpu_sentinel.catalogue.power import POWER
from gpu_sentinel.catalogue.profiling import PROFILING
from gpu_sentinel.catalogue.temperature import TEMPERATURE
from gpu_sentinel.catalogue.utilization import UTILIZATION
from gpu_sentinel.catalogue.xids.metrics import XID_METRICS

METRICS: tuple[Metric, ...] = (
    *IDENTITY,
    *AVAILABILITY,
    *UTILIZATION,
    *MEMORY,
    *POWER,
    *TEMPERATURE,
    *CLOCKS,
    *PCIE,
    *FANS,
    *ERRORS,
    *HEALTH,
    *XID_METRICS,
    *KERNEL_METRICS,
    *NVLINK,
    *PROFILING,
    *MIG,
    *OWNERS,
    *MODES,
    *MEDIA,
    *TOPOLOGY,
    *DETAILS,
)
