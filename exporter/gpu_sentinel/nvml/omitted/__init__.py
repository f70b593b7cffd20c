"""What the driver offers and the exporter leaves out, with the reason.

Everything that NVML can tell is either read or listed here; a test compares both with the
installed pynvml, so that what a new driver brings is noticed and decided upon.
"""

from gpu_sentinel.nvml.omitted.fields import FIELDS
from gpu_sentinel.nvml.omitted.functions import FUNCTIONS
from gpu_sentinel.nvml.omitted.gpm import GPM_METRICS
from gpu_sentinel.nvml.omitted.nvidiasmi import LINES, RENAMED
from gpu_sentinel.nvml.omitted.nvidiasmiomitted import OMITTED_LINES
from gpu_sentinel.nvml.omitted.omission import Omission
from gpu_sentinel.nvml.omitted.reference import markdown

__all__ = [
    "FIELDS",
    "FUNCTIONS",
    "GPM_METRICS",
    "LINES",
    "OMITTED_LINES",
    "RENAMED",
    "Omission",
    "markdown",
]
