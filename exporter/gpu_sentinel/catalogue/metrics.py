"""Every metric of the device, declared once.

Collection, exposition, the reference page and the checks of rules and dashboards follow from
these tables, one module a subject.
"""

from __future__ import annotations

from gpu_sentinel.catalogue.board import BOARD
from gpu_sentinel.catalogue.clocks import CLOCKS
from gpu_sentinel.catalogue.errors import ERRORS
from gpu_sentinel.catalogue.identity import IDENTITY
from gpu_sentinel.catalogue.memory import MEMORY
from gpu_sentinel.catalogue.metric import Metric
from gpu_sentinel.catalogue.power import POWER
from gpu_sentinel.catalogue.temperature import TEMPERATURE
from gpu_sentinel.catalogue.utilization import UTILIZATION

METRICS: tuple[Metric, ...] = (
    *IDENTITY,
    *UTILIZATION,
    *MEMORY,
    *POWER,
    *TEMPERATURE,
    *CLOCKS,
    *BOARD,
    *ERRORS,
)
