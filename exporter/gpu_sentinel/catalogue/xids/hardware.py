"""XIDs about memory, power, firmware and the board as a whole."""

from __future__ import annotations

from gpu_sentinel.catalogue.xids.record import (
    RESET_GPU,
    UPDATE,
    WATCH,
    Severity,
    Source,
    Xid,
)

_LISTING = Source.LISTING
_FATAL, _RESET, _WARNING = Severity.FATAL, Severity.RESET, Severity.WARNING
_INFO = Severity.INFO

MEMORY = (
    Xid(
        48,
        "double-bit ECC error",
        _RESET,
        "Memory was wrong in a way that ECC could detect but not correct.",
        "Take the work off the GPU and reset it, so that the bad memory is replaced; "
        "with XID 64 after it, or if it comes back, return the board.",
    ),
    Xid(
        57,
        "memory link training failed",
        _WARNING,
        "The interface to the GPU's memory could not be set up.",
        RESET_GPU,
        _LISTING,
    ),
    Xid(
        58,
        "unstable memory interface",
        _WARNING,
        "Data between the GPU and its memory arrived corrupted.",
        RESET_GPU,
        _LISTING,
    ),
    Xid(
        63,
        "memory is to be remapped",
        _WARNING,
        "Bad memory was noted, and will be replaced at the next reset.",
        "Reset the GPU when it suits.",
    ),
    Xid(
        64,
        "memory could not be remapped",
        _RESET,
        "Bad memory could not be noted for replacement.",
        "Take the work off the GPU and reset it; if it comes back, return the board.",
    ),
    Xid(
        92,
        "many corrected memory errors",
        _WARNING,
        "ECC corrects far more single-bit errors than it should have to.",
        "Watch the counters of ECC errors; run field diagnostics if it comes back.",
    ),
    Xid(
        93,
        "InfoROM wear",
        _INFO,
        "The board's own store was written to more often than it is made for.",
        WATCH,
    ),
    Xid(
        94,
        "contained memory error",
        _WARNING,
        "Memory that cannot be corrected was used by one program, which was ended; "
        "the others are not concerned.",
        "Start that program again; reset the GPU when it suits, so that the memory is replaced.",
    ),
    Xid(
        95,
        "uncontained memory error",
        _RESET,
        "Memory that cannot be corrected may have reached any program on the GPU.",
        "End all work on the GPU and reset it; do not trust results of the last minutes.",
    ),
    Xid(
        140,
        "unrecovered ECC error",
        _RESET,
        "A memory error got past what should have contained it.",
        "End all work on the GPU and reset it; if it comes back, return the board.",
    ),
    Xid(
        156,
        "part of the GPU is to be retired",
        _RESET,
        "A broken part will be replaced by a spare one at the next reset.",
        "Take the work off the GPU and reset it.",
    ),
    Xid(
        157,
        "part of the GPU cannot be retired",
        _WARNING,
        "There is no spare one left for a broken part.",
        "Ask for support: the board may have to be returned.",
    ),
    Xid(
        160,
        "memory channel is to be retired",
        _WARNING,
        "A broken memory channel was noted, and will be replaced by a spare one.",
        "Reset the GPU when it suits.",
    ),
    Xid(
        161,
        "memory channel cannot be retired",
        _WARNING,
        "A broken memory channel could not be noted for replacement.",
        "Ask for support: the board may have to be returned.",
    ),
    Xid(
        168,
        "less memory",
        _WARNING,
        "Errors were found in memory that the GPU needs for itself, so there is less of it.",
        "Reset the GPU when it suits; if it comes back, return the board.",
    ),
    Xid(
        171,
        "uncorrectable error in DRAM",
        _RESET,
        "Says of an XID 48 that it was in the GPU's large memory.",
        "As for XID 48.",
    ),
    Xid(
        172,
        "uncorrectable error in SRAM",
        _RESET,
        "Says of an XID 48 that it was in memory on the chip.",
        "As for XID 48.",
    ),
    Xid(
        175,
        "error in the memory system",
        _RESET,
        "The way between the chip and its memory met an error.",
        RESET_GPU,
        Source.HEADER,
    ),
)

BOARD = (
    Xid(
        54,
        "power cable missing",
        _FATAL,
        "The board's own power connector is not connected.",
        "Switch the host off and connect the power cable.",
    ),
    *(
        Xid(
            n,
            "micro-controller error",
            _WARNING,
            "The GPU's controller for power and clocks met an error.",
            UPDATE,
            _LISTING,
        )
        for n in (33, 59)
    ),
    Xid(
        61,
        "micro-controller breakpoint",
        _RESET,
        "The GPU's controller for power and clocks stopped where it should not.",
        RESET_GPU,
        Source.GUIDELINES,
    ),
    Xid(
        62,
        "micro-controller halt",
        _RESET,
        "The GPU's controller for power and clocks has stopped.",
        RESET_GPU,
    ),
    Xid(
        78,
        "vGPU did not start",
        _WARNING,
        "A virtual GPU could not be started.",
        "See that the drivers of host and guest fit each other, and update the older one.",
    ),
    Xid(
        79,
        "GPU has fallen off the bus",
        _FATAL,
        "The GPU does not answer on PCIe any more.",
        "Drain the host and restart it; if it happens again, check power, cooling and slot, and "
        "return the board.",
    ),
    Xid(81, "VGA subsystem error", _WARNING, "The part for old displays failed.", UPDATE, _LISTING),
    *(
        Xid(
            n,
            name,
            _INFO,
            "Somebody tested the channel to the board's management controller.",
            "None.",
        )
        for n, name in ((106, "test message"), (107, "silent test message"))
    ),
    Xid(
        110,
        "security fault",
        _RESET,
        "The GPU caught an access that its security rules forbid, and stopped.",
        RESET_GPU,
    ),
    Xid(
        119,
        "GSP does not answer",
        _RESET,
        "The GPU's system processor (GSP) did not answer the driver in time.",
        "Take the work off the GPU and reset it, or restart the host; update driver and firmware "
        "if it comes back.",
    ),
    Xid(
        120,
        "GSP error",
        _RESET,
        "The firmware of the GPU's system processor (GSP) failed.",
        "Take the work off the GPU and reset it, or restart the host; update driver and firmware "
        "if it comes back.",
    ),
    *(
        Xid(
            n,
            f"flash memory: {what} failed",
            _WARNING,
            "The driver could not use the flash memory of the board.",
            WATCH,
            _LISTING,
        )
        for n, what in ((122, "reading"), (123, "writing"), (124, "erasing"))
    ),
    Xid(
        125,
        "InfoROM error",
        _WARNING,
        "The board's own store of facts cannot be read or written.",
        WATCH,
        _LISTING,
    ),
    Xid(
        143,
        "GPU did not start",
        _RESET,
        "The GPU could not be initialised.",
        "Reset the GPU or restart the host; if it comes back, return the board.",
    ),
    Xid(
        151,
        "key rotation failed",
        _WARNING,
        "The keys of confidential computing could not be changed, and work cannot go on.",
        "Restart the virtual machine; if it comes back, ask for support.",
    ),
    Xid(
        154,
        "recovery action changed",
        _WARNING,
        "The driver has made up its mind what the GPU needs after another XID; "
        "gpu_recovery_action shows it.",
        "Do what the line in the kernel log names: a reset, a restart, or nothing.",
    ),
    Xid(
        158,
        "fatal timeout",
        _RESET,
        "Something inside the GPU did not come back in time.",
        RESET_GPU,
    ),
    Xid(
        159,
        "coherent bus error",
        _WARNING,
        "A transfer between the processor and the GPU, without data, failed.",
        "Start the work again; if it comes back, ask for support.",
    ),
    *(
        Xid(n, f"power smoothing: {what}", severity, meaning, action)
        for n, what, severity, meaning, action in (
            (162, "back in use", _INFO, "The circuit that smooths power works again.", "None."),
            (
                163,
                "out of use",
                _WARNING,
                "The circuit that smooths power has switched itself off.",
                WATCH,
            ),
            (
                164,
                "nearly worn",
                _WARNING,
                "The circuit that smooths power has little life left.",
                "Plan to replace the board.",
            ),
            (
                165,
                "worn",
                _WARNING,
                "The circuit that smooths power is at the end of its life.",
                "Plan to replace the board.",
            ),
        )
    ),
    Xid(
        169,
        "security processor halt",
        _RESET,
        "The GPU's security processor has stopped.",
        RESET_GPU,
    ),
)
