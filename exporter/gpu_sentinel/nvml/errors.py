"""What can go wrong in NVML's calls, as types: nobody else sees pynvml's exceptions."""

from __future__ import annotations

from collections.abc import Iterable

import pynvml

_PREFIX = "NVML_ERROR_"
_NAMES = {
    getattr(pynvml, name): name.removeprefix(_PREFIX).lower()
    for name in dir(pynvml)
    if name.startswith(_PREFIX)
}

#: The device has no such thing, or not yet: the answer stays as it is until a reset, another
#: firmware or a service of the driver changes it. Asked for again now and then.
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

#: What a driver that is gone answers to every call, until NVML is initialised anew.
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
        super().__init__(detail or self.name.replace("_", " "))


class GpuLostError(NvmlError):
    """A call says that the GPU has fallen off the bus.

    Only where no other call about the GPU is answered, it has.
    """


class DriverGoneError(NvmlError):
    """A call says that NVML has to be initialised again before anything else can be asked.

    Only where calls that concern no single GPU say so too, it has.
    """


class UnexpectedError(NvmlError):
    """The wrapper, not the driver, failed: an answer of a shape that pynvml cannot take."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(-1, f"{type(cause).__name__}: {cause}")
        self.name = "unexpected"


def typed(error: Exception, *, opening: bool = False) -> NvmlError:
    """The error of this module for whatever a pynvml call raised.

    Args:
        error: what was raised.
        opening: by the initialisation of NVML, so that the text says what to do.
    """
    if not isinstance(error, pynvml.NVMLError):
        return UnexpectedError(error)
    code = int(error.value)
    detail = _ADVICE.get(code, "") if opening else ""
    if code == pynvml.NVML_ERROR_GPU_IS_LOST:
        return GpuLostError(code, detail)
    if code in _GONE:
        return DriverGoneError(code, detail)
    return NvmlError(code, detail)


def worst(failures: Iterable[NvmlError]) -> NvmlError | None:
    """The one that says most about a GPU of which no call was answered; None of none."""
    ranked = sorted(failures, key=lambda f: (_rank(f), f.code))
    return ranked[0] if ranked else None


def _rank(failure: NvmlError) -> int:
    if isinstance(failure, DriverGoneError):
        return 0
    if isinstance(failure, GpuLostError):
        return 1
    if isinstance(failure, UnexpectedError):
        return 4
    return 3 if failure.code == pynvml.NVML_ERROR_UNKNOWN else 2
