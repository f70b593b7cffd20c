"""XIDs about the work that a GPU was given, and about the engines that do it."""

from __future__ import annotations

from gpu_sentinel.catalogue.xids.record import (
    MEND_PROGRAM,
    RERUN,
    RESET_GPU,
    UPDATE,
    WATCH,
    Severity,
    Source,
    Xid,
    engine,
)

_LISTING = Source.LISTING
_APPLICATION, _WARNING, _INFO = Severity.APPLICATION, Severity.WARNING, Severity.INFO

_STREAM = "The GPU was sent commands that make no sense."
_STREAM_ACTION = "Start the work again; if programs that are known to be good do it too, check "
_STREAM_CHECK = _STREAM_ACTION + "the PCIe link and the board."

WORK = (
    *(
        Xid(n, "bad command stream", _WARNING, _STREAM, _STREAM_CHECK, _LISTING)
        for n in (1, 2, 3, 4, 6)
    ),
    Xid(
        7,
        "bad command address",
        _WARNING,
        "The GPU was sent to an address where there are no commands.",
        _STREAM_CHECK,
        _LISTING,
    ),
    Xid(
        8,
        "GPU stopped processing",
        _WARNING,
        "A channel made no progress in time, and its work was ended.",
        RERUN,
    ),
    Xid(9, "driver error", _WARNING, "The driver set up the GPU wrongly.", UPDATE, _LISTING),
    Xid(11, "bad command stream", _APPLICATION, _STREAM, _STREAM_CHECK),
    Xid(
        12,
        "driver error",
        _WARNING,
        "The driver failed while it took care of an error of the GPU.",
        UPDATE,
        _LISTING,
    ),
    Xid(
        13,
        "graphics engine exception",
        _APPLICATION,
        "A program did something that the SMs refuse: an address out of bounds, an illegal "
        "instruction, a wrong register.",
        MEND_PROGRAM + " Where good programs do it on one GPU only, have the board checked.",
    ),
    Xid(
        18,
        "bus mastering off",
        _WARNING,
        "The GPU may not write to the host's memory, because PCI settings forbid it.",
        "Restart the host; look for what changes PCI settings.",
        _LISTING,
    ),
    *(
        Xid(n, f"bad {what} commands", _WARNING, _STREAM, _STREAM_CHECK, _LISTING)
        for n, what in ((20, "MPEG"), (21, "motion estimation"), (22, "video"))
    ),
    Xid(
        24,
        "semaphore timeout",
        _WARNING,
        "Work waited too long for other work on the GPU.",
        RERUN,
        _LISTING,
    ),
    Xid(25, "illegal command stream", _APPLICATION, _STREAM, _STREAM_CHECK),
    Xid(
        26,
        "frame buffer timeout",
        _WARNING,
        "The GPU's memory did not answer in time.",
        RERUN,
        _LISTING,
    ),
    Xid(
        30,
        "semaphore access error",
        _WARNING,
        "Work could not reach what it synchronises with.",
        RERUN,
        _LISTING,
    ),
    Xid(
        31,
        "memory page fault",
        _APPLICATION,
        "A program used an address of the GPU that is not its own or not mapped.",
        MEND_PROGRAM + " In rare cases driver or hardware are the cause.",
    ),
    Xid(32, "bad command stream", _APPLICATION, _STREAM, _STREAM_CHECK),
    *(
        Xid(
            n,
            "video processor exception",
            _WARNING,
            "The video engine met an error, and the work that used it was ended.",
            RERUN,
            _LISTING,
        )
        for n in (27, 28, 29, 34, 35, 36, 42, 47, 65)
    ),
    Xid(
        37,
        "unknown firmware method",
        _APPLICATION,
        "A program asked the GPU's scheduler for something that it does not know.",
        "Nothing at once; if work fails, check the program and the CUDA version that it needs.",
    ),
    Xid(
        38,
        "scheduler watchdog",
        _WARNING,
        "The firmware that switches between programs did not finish in time.",
        UPDATE,
    ),
    *engine({39: "CE0", 40: "CE1", 41: "CE2"}, "copy engine"),
    Xid(
        43,
        "GPU stopped processing",
        _APPLICATION,
        "A program's work met an error of its own and was ended; the GPU is well.",
        "Look for an error in the program; the GPU needs nothing.",
    ),
    Xid(
        44,
        "fault during a context switch",
        _WARNING,
        "The graphics engine failed while it changed from one program to another.",
        WATCH,
    ),
    Xid(
        45,
        "work was cleaned up",
        _INFO,
        "The driver ended work because of an earlier error, or because its program was killed.",
        "Look at the XID before it; without one, at what ended the program.",
    ),
    Xid(
        46,
        "GPU stopped processing",
        Severity.RESET,
        "The GPU did not answer in time and could not be brought back.",
        RESET_GPU,
    ),
    Xid(
        60,
        "video processor exception",
        _WARNING,
        "The security and video processor met an error, and its work was ended.",
        RERUN,
    ),
    *(
        Xid(
            n,
            "illegal access by the driver",
            _WARNING,
            "The driver touched a register that it may not.",
            UPDATE,
        )
        for n in (66, 67)
    ),
    *engine({68: "NVDEC0"}, "video decoder"),
    Xid(
        69,
        "graphics engine class error",
        _APPLICATION,
        "A program sent the graphics engine a command that this GPU does not have.",
        MEND_PROGRAM,
    ),
    *engine({70: "CE3", 71: "CE4", 72: "CE5", 75: "CE6", 76: "CE7", 77: "CE8"}, "copy engine"),
    *engine({73: "NVENC2", 142: "NVENC3"}, "video encoder"),
    Xid(
        80,
        "data arrived corrupted",
        _WARNING,
        "Commands on their way to the GPU did not match their checksum.",
        "Start the work again; if it comes back, check the PCIe link.",
    ),
    *engine(
        {82: "NVJPG0"} | {98 + n: f"NVJPG{n}" for n in range(1, 8)},
        "JPEG decoder",
    ),
    *engine(
        {83: "NVDEC1", 84: "NVDEC2", 88: "NVDEC3", 89: "NVDEC4"}
        | {91 + n: f"NVDEC{n}" for n in (5, 6, 7)},
        "video decoder",
    ),
    *engine({85: "CE9"} | {116 + n: f"CE{n}" for n in range(10, 20)}, "copy engine"),
    *engine({86: "OFA0", 139: "OFA1"}, "optical flow engine"),
    Xid(
        109,
        "context switch timeout",
        Severity.RESET,
        "A program could not be taken off the GPU in time, so that the next one waits for ever.",
        RESET_GPU,
    ),
    Xid(
        141,
        "CUDA fast path error",
        _WARNING,
        "Work that was submitted past the driver met an error.",
        WATCH,
    ),
    Xid(
        152,
        "DLA address error",
        _WARNING,
        "The deep-learning accelerator used an address that is not mapped.",
        WATCH,
    ),
    Xid(
        153, "DLA timeout", _WARNING, "The deep-learning accelerator did not finish in time.", WATCH
    ),
    Xid(
        174,
        "process ended with its channel",
        Severity.APPLICATION,
        "A channel was reset, and the process that it belongs to was ended without a word.",
        RERUN,
        Source.HEADER,
    ),
)
