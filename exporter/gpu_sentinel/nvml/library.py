"""Loading and unloading libnvidia-ml below pynvml.

pynvml loads the library once and never lets go of it. After a driver was replaced, the old
library answers LIB_RM_VERSION_MISMATCH for ever, so recovery without a restart means to unload
it and load the new one. A loader other than None puts something else in its place: the
simulator's stand-in.
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
from collections.abc import Callable

import pynvml

#: Returns an object with NVML's functions as attributes; OSError where there is none.
Loader = Callable[[], object]


def attach(loader: Loader | None) -> None:
    """Give pynvml its library; None lets it load libnvidia-ml.so.1 itself.

    Raises:
        pynvml.NVMLError: LIBRARY_NOT_FOUND.
    """
    if loader is None or pynvml.nvmlLib is not None:
        return
    try:
        library = loader()
    except OSError:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND) from None
    pynvml._nvmlGetFunctionPointer_cache.clear()  # noqa: SLF001 - pointers of the library before
    pynvml.nvmlLib = library


def detach() -> None:
    """Take the library away from pynvml, and out of the process where it is a real one.

    Nobody may be inside the library when this is called.
    """
    library = pynvml.nvmlLib
    pynvml.nvmlLib = None
    pynvml._nvmlGetFunctionPointer_cache.clear()  # noqa: SLF001 - they point into the library
    if isinstance(library, ctypes.CDLL) and hasattr(_ctypes, "dlclose"):
        with contextlib.suppress(OSError):
            _ctypes.dlclose(library._handle)  # noqa: SLF001 - ctypes offers no other way
