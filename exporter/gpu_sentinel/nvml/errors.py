"""What can go wrong at the door, as types: nobody above it sees pynvml's exceptions."""

from __future__ import annotations

import pynvml

_PREFIX = "NVML_ERROR_"
_NAMES = {
    getattr(pynvml, name): name.removeprefix(_PREFIX).lower()
    for name in dir(pynvml)
    if name.startswith(_PREFIX)
}

#: The device or the driver will give the same answer until one of them is reset or replaced.
UNSUPPORTED = frozenset(
    {
        pynvml.NVML_ERROR_INVALID_ARGUMENT,
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_NOT_FOUND,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_DEPRECATED,
    }
)

#: No call will work before NVML is initialised anew.
_GONE = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)

_ADVICE = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "libnvidia-ml.so.1 is not installed, "
    "or not mounted into this container: install the NVIDIA driver",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA kernel module is not loaded: "
    "try `modprobe nvidia`, then see `dmesg`",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "libnvidia-ml.so.1 and the loaded kernel module "
    "are of different versions: reload the module or restart the machine",
    pynvml.NVML_ERROR_NO_PERMISSION: "no permission: may this user open /dev/nvidiactl?",
}


class NvmlError(Exception):
    """A call failed; `name` is NVML's name of the error in small letters, `code` its number."""

    def __init__(self, code: int, detail: str = "") -> None:
        self.code = code
        self.name = _NAMES.get(code, f"code_{code}")
        super().__init__(detail or _ADVICE.get(code) or self.name.replace("_", " "))


class GpuLostError(NvmlError):
    """The GPU has fallen off the bus; the others are not concerned."""


class DriverGoneError(NvmlError):
    """NVML has to be initialised again before anything else can be asked."""


class UnexpectedError(NvmlError):
    """The wrapper, not the driver, failed: an answer of a shape that pynvml cannot take."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(-1, f"{type(cause).__name__}: {cause}")
        self.name = "unexpected"


def typed(error: Exception) -> NvmlError:
    """The error of this module for whatever a pynvml call raised."""
    if not isinstance(error, pynvml.NVMLError):
        return UnexpectedError(error)
    code = int(error.value)
    if code == pynvml.NVML_ERROR_GPU_IS_LOST:
        return GpuLostError(code)
    if code in _GONE:
        return DriverGoneError(code)
    return NvmlError(code)
