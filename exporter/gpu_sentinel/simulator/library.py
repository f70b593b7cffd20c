"""The stand-in for libnvidia-ml.so.1: C callbacks as attributes, and how a call gets through."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pynvml

from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.mig import FUNCTIONS_WITHOUT_MIG, GpuInstance, MigDevice
from gpu_sentinel.simulator.models import DriverVersion, symbols
from gpu_sentinel.simulator.oddanswers import OddAnswers

if TYPE_CHECKING:
    from gpu_sentinel.simulator.simulation import Simulation

log = logging.getLogger(__name__)

_HANDLE, _HANDLE_STEP = 0x67700000, 0x100
#: Beyond the handles of MIG devices.
_INSTANCE_HANDLE = 0x80
_C_TYPES: dict[str, Any] = {
    "d": ctypes.c_void_p,  # a device
    "p": ctypes.c_void_p,  # a pointer to what is answered, or to an event set
    "s": ctypes.c_char_p,
    "u": ctypes.c_uint,
    "i": ctypes.c_int,
    "q": ctypes.c_ulonglong,
}


class NvmlFailure(Exception):  # noqa: N818 - a return code of C, no error of ours
    """The return code of a call that does not succeed."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def not_supported() -> NvmlFailure:
    """To be raised; a new one each time, because an exception keeps the frames it passed."""
    return NvmlFailure(pynvml.NVML_ERROR_NOT_SUPPORTED)


class Call(NamedTuple):
    """The surroundings of one call; `t` is in seconds since the start of the simulation."""

    library: Library
    t: float
    name: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function of NVML: its arguments as letters of `_C_TYPES`, and what it does."""

    arguments: str
    run: Callable[..., None]
    needs_init: bool = True
    needs_driver: bool = True


#: By every name that the library has for it; filled by the modules `*calls` and `fields`.
FUNCTIONS: dict[str, Function] = {}
#: The same for handles of MIG devices, where a function takes these.
MIG_FUNCTIONS: dict[str, Function] = {}


def function(
    arguments: str, *names: str, needs_init: bool = True, needs_driver: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register what a function of NVML does, under all its names."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        for name in names:
            FUNCTIONS[name] = Function(arguments, run, needs_init, needs_driver)
        return run

    return register


def mig_function(
    arguments: str, *names: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register what a function does with the handle of a MIG device."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        for name in names:
            MIG_FUNCTIONS[name] = Function(arguments, run)
        return run

    return register


class Library:
    """One loaded library; pynvml takes it for a `ctypes.CDLL`."""

    def __init__(self, simulation: Simulation, version: DriverVersion) -> None:
        self.simulation = simulation
        self.version = version
        self.initialized = 0  # the driver's generation for which it is, 0 while it is not
        self.event_sets: dict[int, tuple[dict[int, int], list[int]]] = {}
        self.samples: dict[int, object] = {}  # buffers of GPM by address; see `gpmcalls`
        self._callbacks: dict[str, object] = {}
        self._lacking = simulation.lacking
        self._listed: tuple[SimulatedGpu, ...] = ()
        self._relisted = 0
        self._unsupported = ctypes.CFUNCTYPE(ctypes.c_int)(
            lambda: int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        )

    def __getattr__(self, name: str) -> object:
        """The C function of this name.

        Raises:
            AttributeError: this driver has no such function.
        """
        known = symbols(self.version.symbols)
        if name.startswith("_") or name in self._lacking or name not in known:
            raise AttributeError(f"undefined symbol: {name}")
        callback = self._callbacks.get(name)
        if callback is None:
            callback = self._callbacks[name] = self._callback(name)
        return callback

    def initialize(self) -> None:
        """Begin a session, which keeps the list of GPUs that there is now."""
        if self.initialized != self.simulation.generation:
            self._list()
        self.initialized = self.simulation.generation

    def listed(self) -> tuple[SimulatedGpu, ...]:
        """The GPUs by the index that the driver gives them."""
        if self._relisted != self.simulation.relisted:
            self._list()
        return self._listed

    def _list(self) -> None:
        self._listed, self._relisted = self.simulation.listed(), self.simulation.relisted

    def gpu(self, handle: int | None) -> SimulatedGpu:
        """The GPU of a handle."""
        index, rest = divmod((handle or 0) - _HANDLE, _HANDLE_STEP)
        gpus = self.simulation.gpus
        if rest or not 0 <= index < len(gpus):
            raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return gpus[index]

    @staticmethod
    def handle(gpu: SimulatedGpu) -> int:
        """What the caller gets to name a GPU with."""
        return _HANDLE + gpu.index * _HANDLE_STEP

    @classmethod
    def mig_handle(cls, gpu: SimulatedGpu, index: int) -> int:
        """What the caller gets to name a MIG device with."""
        return cls.handle(gpu) + 1 + index

    def mig_device(self, handle: int | None) -> tuple[SimulatedGpu, MigDevice] | None:
        """The MIG device of a handle, None for the handle of a GPU."""
        index, rest = divmod((handle or 0) - _HANDLE, _HANDLE_STEP)
        if not rest or not 0 <= index < len(self.simulation.gpus):
            return None
        gpu = self.simulation.gpus[index]
        device = gpu.mig.devices.get(rest - 1) if gpu.mig.enabled else None
        if device is None:
            raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return gpu, device

    @classmethod
    def instance_handle(cls, gpu: SimulatedGpu, instance: GpuInstance) -> int:
        """What the caller gets to name a GPU instance with."""
        return cls.handle(gpu) + _INSTANCE_HANDLE + instance.id

    def gpu_instance(self, handle: int | None) -> tuple[SimulatedGpu, GpuInstance]:
        """The GPU instance of a handle."""
        index, rest = divmod((handle or 0) - _HANDLE, _HANDLE_STEP)
        gpus = self.simulation.gpus
        gpu = gpus[index] if 0 <= index < len(gpus) else None
        instance = gpu.mig.instance(rest - _INSTANCE_HANDLE) if gpu and gpu.mig.enabled else None
        if gpu is None or instance is None:
            raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return gpu, instance

    def reach_instance(self, instance: GpuInstance, name: str) -> None:
        """Get through to a GPU instance, or fail as this one does."""
        if instance.hanging:
            self.simulation.wait_while(lambda: instance.hanging)
        if name in instance.failing:
            raise NvmlFailure(instance.failing[name])

    def reach(self, gpu: SimulatedGpu, name: str) -> None:
        """Get through to a GPU, or fail as this one does."""
        if gpu.hanging:
            self.simulation.wait_while(lambda: gpu.hanging)
        if gpu.lost:
            raise NvmlFailure(pynvml.NVML_ERROR_GPU_IS_LOST)
        if gpu.odd is not None and (code := gpu.odd.code(name)):
            raise NvmlFailure(code)
        if name in gpu.model.fails:
            raise NvmlFailure(gpu.model.fails[name])

    def _callback(self, name: str) -> object:
        found = FUNCTIONS.get(name) or MIG_FUNCTIONS.get(name)
        if found is None and name.startswith("nvmlDevice"):
            # C lets a function look at the first of its arguments alone. These take a handle.
            found = _NOT_SIMULATED
        if found is None:
            return self._unsupported
        types = [_C_TYPES[letter] for letter in found.arguments]

        def entry(*arguments: Any) -> int:
            try:
                self._enter(name, found, arguments)
            except NvmlFailure as failure:
                return failure.code
            except Exception:
                # An exception cannot pass through C; it would be printed and read as success.
                log.exception("simulated function failed", extra={"fields": {"function": name}})
                return int(pynvml.NVML_ERROR_UNKNOWN)
            return int(pynvml.NVML_SUCCESS)

        return ctypes.CFUNCTYPE(ctypes.c_int, *types)(entry)

    def _enter(self, name: str, found: Function, arguments: tuple[Any, ...]) -> None:
        simulation = self.simulation
        t = simulation.catch_up()
        if simulation.hanging:
            simulation.wait_while(lambda: simulation.hanging)
        if found.needs_driver:
            self._check_driver(needs_init=found.needs_init)
        if name in self.version.deprecated:
            raise NvmlFailure(pynvml.NVML_ERROR_DEPRECATED)
        call = Call(self, t, name)
        if not found.arguments.startswith("d"):
            if simulation.odd is None or not self._answer_oddly(simulation.odd, call, arguments):
                found.run(call, *arguments)
            return
        mig = self.mig_device(arguments[0])
        if mig is not None:
            self._enter_mig(name, call, *mig, arguments[1:])
            return
        gpu = self.gpu(arguments[0])
        self.reach(gpu, name)
        if (
            name not in FUNCTIONS
            or not gpu.model.has(name)
            or (gpu.mig.enabled and name in FUNCTIONS_WITHOUT_MIG)
        ):
            raise not_supported()
        if gpu.odd is not None and gpu.odd.write(name, found.arguments, arguments):
            return
        found.run(call, gpu, *arguments[1:])

    def _answer_oddly(self, odd: OddAnswers, call: Call, arguments: tuple[Any, ...]) -> bool:
        """Answer a call about the driver as a whole so; False where it shall be as it should."""
        if code := odd.code(call.name):
            raise NvmlFailure(code)
        return odd.write(call.name, FUNCTIONS[call.name].arguments, arguments)

    def _enter_mig(
        self,
        name: str,
        call: Call,
        gpu: SimulatedGpu,
        device: MigDevice,
        arguments: tuple[Any, ...],
    ) -> None:
        self.reach(gpu, name)
        self.reach_instance(device.instance, name)
        if name not in MIG_FUNCTIONS:
            raise not_supported()
        MIG_FUNCTIONS[name].run(call, gpu, device, *arguments)

    def _check_driver(self, *, needs_init: bool) -> None:
        driver = self.simulation.driver
        if driver is None:
            raise NvmlFailure(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
        if driver.version != self.version.version:
            raise NvmlFailure(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
        if needs_init and self.initialized != self.simulation.generation:
            raise NvmlFailure(pynvml.NVML_ERROR_UNINITIALIZED)


def _refuse(*_: object) -> None:
    raise not_supported()


_NOT_SIMULATED = Function("d", _refuse)


def put(c_type: Any, pointer: int | None, value: object) -> None:
    """Write a value where the caller wants it."""
    if not pointer:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    c_type.from_address(pointer).value = value


def put_text(pointer: int | None, length: int, text: str | None) -> None:
    """Write a text with its end mark; None where the device has none."""
    if text is None:
        raise not_supported()
    data = text.encode() + b"\0"
    if not pointer:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    if len(data) > length:
        raise NvmlFailure(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    ctypes.memmove(pointer, data, len(data))


def structure(c_type: Any, pointer: int | None, version: int | None = None) -> Any:
    """The caller's structure; its version must be the one that the driver knows."""
    if not pointer:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    found = c_type.from_address(pointer)
    if version is not None and found.version != version:
        raise NvmlFailure(pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
    return found


def versioned(pointer: int | None, layouts: Mapping[int, Any]) -> Any:
    """As `structure`, for one that exists in several versions."""
    version = structure(ctypes.c_uint, pointer).value
    if version not in layouts:
        raise NvmlFailure(pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
    return structure(layouts[version], pointer)
