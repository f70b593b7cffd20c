"""A buffer for answers whose length the driver decides."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_uint
from typing import Any

import pynvml

#: No answer has more entries.
MOST_ENTRIES = 16_384
#: How often a call is made anew because the driver wants more room.
_TRIES = 8
#: What nobody has written is no number that means something: NVML's "not available" of any width.
_UNWRITTEN = 0xFF
#: No process has a greater number (include/linux/threads.h, PID_MAX_LIMIT).
_MOST_PIDS = 2**22


class Room:
    """A buffer that is made once, and again where it is too small; one thread at a time.

    Attributes:
        capacity: entries that it holds.
        count: what the driver is told of it, and tells.
        filled: entries of the last answer, never more than it holds.
    """

    def __init__(self, entry_bytes: int, capacity: int) -> None:
        self._entry_bytes = entry_bytes
        self.count = c_uint()
        self._pointer = byref(self.count)
        self._make(capacity)

    def ask(self, call: Callable[[Any, Any], int]) -> memoryview:
        """Make a call until its answer fits.

        Args:
            call: (pointer to `count`, which has the capacity; the buffer) -> NVML's code.

        Returns:
            The buffer, of which `filled` entries are the answer.

        Raises:
            pynvml.NVMLError: the call failed, or wants more room than there is.
        """
        for _ in range(_TRIES):
            ctypes.memset(self._entries, _UNWRITTEN, len(self._view))
            self.count.value = self.capacity
            code = call(self._pointer, self._entries)
            wanted = self.count.value
            if not code:
                self.filled = min(wanted, self.capacity)
                return self._view
            if code != pynvml.NVML_ERROR_INSUFFICIENT_SIZE or self.capacity == MOST_ENTRIES:
                raise pynvml.NVMLError(code)
            # More than was asked for: processes start meanwhile. What is asked for may be a lie.
            self._make(min(MOST_ENTRIES, max(2 * self.capacity, wanted + wanted // 4)))
        raise pynvml.NVMLError(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)

    def _make(self, capacity: int) -> None:
        self.capacity, self.filled = capacity, 0
        self._entries: Any = (ctypes.c_ubyte * (capacity * self._entry_bytes))()
        self._view: memoryview = memoryview(self._entries).cast("B")


def is_pid(number: int) -> bool:
    """Whether this can be the number of a process."""
    return 0 < number <= _MOST_PIDS
