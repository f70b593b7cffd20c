"""XIDs about what connects a GPU: NVLink, C2C, PCIe, displays."""

from __future__ import annotations

from gpu_sentinel.catalogue.xids.record import (
    MEND_PROGRAM,
    RESET_GPU,
    UPDATE,
    Severity,
    Source,
    Xid,
)

_LISTING = Source.LISTING
_RESET, _WARNING = Severity.RESET, Severity.WARNING

#: Of the fifth generation of NVLink; the line in the log says whether it is fatal.
_NVLINK5_ACTION = (
    "Nothing if `gpu_kernel_events_total` says nvlink_nonfatal; else reset the GPUs at both ends, "
    "and do what XID 154 asks for."
)
NVLINK5 = {
    144: "SAW, the way to the memory",
    145: "RLW, the receiving side",
    146: "TLW, the sending side",
    147: "TREX, the way to the crossbar",
    148: "NVLPW, the control of the links",
    149: "NETIR, the network of the links",
    150: "MSE, the management of the links",
}

LINKS = (
    Xid(
        74,
        "NVLink error",
        _RESET,
        "A link to another GPU or to a switch failed.",
        "Take the work off the GPUs at both ends and reset them; if the same link fails again, "
        "check connector and board.",
    ),
    Xid(
        108,
        "NVLink remote translation error",
        Severity.APPLICATION,
        "A program used an address of another GPU that is not mapped.",
        MEND_PROGRAM,
    ),
    Xid(
        121,
        "C2C error",
        _WARNING,
        "The link between processor and GPU corrected an error.",
        "Nothing at once; if there are many, reset the GPU when it suits and ask for support.",
    ),
    Xid(
        136,
        "link training failed",
        _RESET,
        "An NVLink could not be set up.",
        "Reset the GPU; if it comes back, check connector and cable.",
    ),
    Xid(
        137,
        "NVLink privilege error",
        Severity.APPLICATION,
        "A program reached for the memory of another GPU without the right to, or the other GPU "
        "failed meanwhile.",
        "Look for an earlier XID on the other GPUs; without one, " + MEND_PROGRAM.lower(),
    ),
    *(
        Xid(
            number,
            f"NVLink: {part}",
            _WARNING,
            "A part of the NVLink of Blackwell GPUs met an error.",
            _NVLINK5_ACTION,
        )
        for number, part in NVLINK5.items()
    ),
    Xid(
        155,
        "NVLink: links are down",
        _RESET,
        "The driver gave up NVLinks, often because the switch or its manager asked for it.",
        "See what the fabric manager says, then reset the GPU.",
    ),
    *(
        Xid(
            n,
            "NVLink: confidential traffic",
            _WARNING,
            "A link carried traffic before it was set up for confidential computing.",
            UPDATE,
        )
        for n in (166, 170)
    ),
    Xid(
        167,
        "fatal PCIe timeout",
        _RESET,
        "A transfer over PCIe never came back.",
        RESET_GPU,
    ),
    Xid(
        173,
        "fatal C2C link failure",
        _RESET,
        "The link between processor and GPU failed for good.",
        RESET_GPU,
        Source.HEADER,
    ),
    Xid(
        176,
        "many correctable PCIe errors",
        _WARNING,
        "The PCIe link corrected so many errors that the driver reports a fault.",
        "Check slot, riser and cable when it suits.",
        Source.HEADER,
    ),
)

DISPLAY = tuple(
    Xid(
        number,
        name,
        _WARNING,
        "What drives the displays met an error; computing is not concerned.",
        UPDATE,
        _LISTING,
    )
    for number, name in {
        16: "display engine hung",
        19: "display engine error",
        56: "display engine error",
        111: "display bundle error",
        112: "display supervisor error",
        113: "DisplayPort link training failed",
        114: "display underflow",
        115: "display core channel error",
        116: "display window channel error",
        117: "display cursor channel error",
        118: "display pixel pipeline error",
    }.items()
)
