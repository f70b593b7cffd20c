"""Whether a GPU answers, and why not."""

from __future__ import annotations

from collections.abc import Mapping

from gpu_sentinel.catalogue.metric import Kind, Metric, Op

LOST = "gpu_is_lost"
HUNG = "hung"
NOT_LISTED = "not_listed"
UNCLAIMED = "unclaimed"
DRIVER_GONE = "driver_gone"

#: Why a GPU does not answer: what is meant, and what a person does about it. Any other word is the
#: name of NVML's error in small letters (nvml.h, nvmlReturn_t), as `unknown`.
REASONS: Mapping[str, str] = {
    LOST: "the driver says that it has fallen off the bus: look at `dmesg`, reset it or restart "
    "the host",
    HUNG: "calls about it do not come back: look at `dmesg`, restart the host if a reset hangs too",
    NOT_LISTED: "the PCI bus shows it, or it was here before, and the driver does not list it: "
    "look at `dmesg` for NVRM lines",
    UNCLAIMED: "no kernel driver has it, while others are the NVIDIA driver's: it is too old for "
    "this driver, or its initialisation failed",
    DRIVER_GONE: "the driver as a whole does not answer",
    "unknown": "the driver fails in every call about it: look at `dmesg`, reset it",
    "reset_required": "it has to be reset: `nvidia-smi --gpu-reset`",
    "not_ready": "the driver, or its firmware, has not finished starting it",
    "no_permission": "this user may not open its device file",
    "insufficient_power": "its power cables are not connected, or do not give enough",
    "irq_issue": "the kernel has a problem with its interrupts: look at `dmesg`",
    "corrupted_inforom": "its configuration memory is corrupt: replace the board",
    "unexpected": "the driver's answers are of a shape that is not known: look at the log",
}

#: Reason -> the state of the GPU, as it is shown to a person.
_STATES: Mapping[str, str] = {
    "": "ok",
    LOST: "lost",
    HUNG: "not answering",
    NOT_LISTED: "not listed",
    UNCLAIMED: "no driver",
    DRIVER_GONE: "not answering",
}
FAILING = "failing"
#: States of a GPU that tells nothing.
SILENT = frozenset({*_STATES.values(), FAILING}) - {"ok"}


def state(reason: str) -> str:
    """The state of a GPU that does not answer for this reason; "ok" for none."""
    return _STATES.get(reason, FAILING)


def advice(reason: str) -> str:
    """What is meant by a reason, and what to do about it; a sentence without its end."""
    return REASONS.get(reason, "look it up under nvmlReturn_t in NVIDIA's nvml.h")


def complaint(reason: str) -> str:
    """What is wrong with a GPU that does not answer, and what to do; no end of the sentence."""
    shown = state(reason)
    return f"{shown}{f' ({reason})' if shown == FAILING else ''}: {advice(reason)}"


AVAILABILITY = (
    Metric(
        name="gpu_up",
        kind=Kind.GAUGE,
        group="identity",
        op=Op.INVENTORY,
        labels=("gpu", "uuid"),
        help="1 while the GPU answers, 0 while it is lost, hangs, fails in every call, or is on "
        "the PCI bus and not listed by the driver. Its gpu is the PCI address then.",
        source="all calls about the GPU",
    ),
    Metric(
        name="gpu_down_info",
        kind=Kind.INFO,
        group="identity",
        op=Op.INVENTORY,
        labels=("gpu", "uuid", "pci_bus_id", "reason"),
        help="Why the GPU does not answer. Always 1; not there while it does.",
        source="all calls about the GPU",
    ),
    Metric(
        name="gpu_outages_total",
        kind=Kind.COUNTER,
        group="identity",
        op=Op.INVENTORY,
        labels=("gpu", "uuid"),
        help="How often the GPU has stopped answering since the exporter started; a driver that is "
        "gone as a whole does not count.",
        source="all calls about the GPU",
    ),
)
