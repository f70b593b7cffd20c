"""What is to be seen of a sick GPU, and which alert is to fire: the rules, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from cells import ALL, AWHILE, BEFORE, CACHED, CODES, DEAD, GONE, LOST, Cell

#: The calls that begin everything.
INIT, COUNT, LOOKUP = "nvmlInitWithFlags", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2"
#: What a healthy GPU answers to what it does not have.
NO_SUCH_THING = frozenset(
    CODES[name]
    for name in (
        "invalid_argument",
        "not_supported",
        "no_permission",
        "not_found",
        "function_not_found",
        "argument_version_mismatch",
        "deprecated",
    )
)


@dataclass(frozen=True)
class Expected:
    """What is to be seen.

    Attributes:
        driver: it answers (`gpu_sentinel_nvml_up`).
        reason: why the sick GPUs are down while they are sick; empty where they are up.
        ends: they are up again at the end.
        alert: the one critical alert, about each of the sick GPUs or the host; empty for none.
    """

    driver: bool = True
    reason: str = ""
    ends: bool = False
    alert: str = ""

    @property
    def lost(self) -> bool:
        """Whether they have fallen off the bus (`gpu_lost`)."""
        return self.alert == "GpuLost"


def expected(cell: Cell) -> Expected:
    """The rules, the first that fits."""
    from_the_start = cell.moment == BEFORE
    if cell.function == INIT and from_the_start:
        return Expected(driver=False, alert="GpuDriverGone")
    if cell.function == COUNT and from_the_start and cell.code in GONE:
        # Nobody says how many GPUs there are, and NVML asks to be initialised anew. With any
        # other code as many GPUs are tried as the PCI bus shows.
        return Expected(driver=False, alert="GpuDriverGone")
    if cell.function == CACHED and from_the_start and cell.code in NO_SUCH_THING:
        # It says who it is, and of all else that it has no such thing: that may well be so.
        return Expected()
    if (cell.function == LOOKUP and from_the_start) or cell.function in (ALL, CACHED, DEAD):
        # A GPU is looked up once: what the look-up answers later is not even seen.
        return Expected(
            reason=cell.reason,
            ends=cell.moment == AWHILE,
            alert="GpuLost" if cell.code == LOST else "GpuFailing",
        )
    # One function is not the GPU, whatever it says: it answers, and the rest of it is shown.
    return Expected()
