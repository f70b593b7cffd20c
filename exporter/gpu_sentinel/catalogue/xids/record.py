"""What is known of one XID."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """What an XID asks for; the alert fires for the first two."""

    FATAL = "fatal"  # take the host out of use now
    RESET = "reset"  # the GPU cannot be trusted, or not used, until it is reset
    WARNING = "warning"  # look into it when it suits
    APPLICATION = "application"  # the user's program did it
    INFO = "info"  # nothing to do

    @property
    def pages(self) -> bool:
        """Whether somebody has to come."""
        return self in (Severity.FATAL, Severity.RESET)


class Source(str, Enum):
    """Where it is documented."""

    CATALOGUE = "https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html"
    #: The table of the document's earlier releases, which says more of GPUs before Ampere.
    LISTING = "https://docs.nvidia.com/deploy/xid-errors/index.html"
    GUIDELINES = "https://docs.nvidia.com/deploy/gpu-debug-guidelines/index.html"
    #: Names without explanations, ahead of the catalogue: the header of driver 595.
    HEADER = (
        "https://github.com/NVIDIA/open-gpu-kernel-modules/blob/595.45.04"
        "/src/common/sdk/nvidia/inc/nverror.h"
    )
    NOWHERE = ""


@dataclass(frozen=True, slots=True)
class Xid:
    """One kind of error report.

    Attributes:
        meaning: what happened, as a sentence.
        action: what to do about it, as a sentence.
    """

    number: int
    name: str
    severity: Severity
    meaning: str
    action: str
    source: Source = Source.CATALOGUE


RERUN = "Start the work again; if other programs fail alike on this GPU, have the board checked."
MEND_PROGRAM = "Mend the program, with compute-sanitizer where it uses CUDA."
RESET_GPU = "Take the work off the GPU and reset it; if it comes back, ask for support."
WATCH = "Nothing at once; ask for support if it comes back."
UPDATE = "Update driver and firmware; if it comes back, ask for support."


def engine(numbers: dict[int, str], what: str, severity: Severity = Severity.WARNING) -> list[Xid]:
    """The same error in several engines of a kind, by number."""
    return [
        Xid(
            number,
            f"{name} error",
            severity,
            f"The {what} {name} met an error, and the work that used it was ended.",
            RERUN,
        )
        for number, name in numbers.items()
    ]
