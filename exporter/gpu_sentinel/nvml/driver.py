"""The driver as a whole: initialised, asked how many GPUs there are, let go of."""

from __future__ import annotations

import time
from collections.abc import Callable

import pynvml

from gpu_sentinel.model import DeviceId, DriverInfo
from gpu_sentinel.nvml import library
from gpu_sentinel.nvml.device import Device
from gpu_sentinel.nvml.errors import DriverGoneError, typed
from gpu_sentinel.nvml.events import EventSet
from gpu_sentinel.nvml.mig import Mig
from gpu_sentinel.nvml.stats import CallStats, Recorder

#: More than any machine has: what is beyond this is no answer.
MOST_GPUS = 1024


class Driver:
    """NVML between `open` and `close`.

    Every method calls the driver and may block for as long as the driver does.
    """

    def __init__(
        self,
        stats: CallStats,
        loader: library.Loader | None = None,
        wanted: frozenset[str] | None = None,
    ) -> None:
        """Prepare; `open` calls the driver.

        Args:
            stats: counts the calls.
            loader: where the library comes from; None for the one that is installed.
            wanted: the keys that devices are asked for; None for all.
        """
        self._stats = stats
        self._wanted = wanted
        self._loader = loader
        self._recorder = stats.recorder("driver")

    def open(self) -> DriverInfo:
        """Initialise NVML and ask for its versions; one that is not told is empty.

        Raises:
            NvmlError: no library, no driver, no permission, versions that do not fit.
        """
        start = time.perf_counter()
        try:
            library.attach(self._loader)
            pynvml.nvmlInit()
        except Exception as error:
            failure = typed(error, opening=True)
            self._recorder.errors["init", failure.name] += 1
            if isinstance(failure, DriverGoneError):
                # A library that was loaded for another driver never works again: the next
                # attempt shall load what is installed then.
                library.detach()
            raise failure from error
        finally:
            self._recorder.cost("init").add(time.perf_counter() - start)
        return DriverInfo(
            driver_version=self._version("driver", pynvml.nvmlSystemGetDriverVersion),
            cuda_version=self._version("cuda", _cuda_version),
            nvml_version=self._version("nvml", pynvml.nvmlSystemGetNVMLVersion),
        )

    def _version(self, which: str, get: Callable[[], object]) -> str:
        """One version; empty where the driver does not tell it, which costs nothing else."""
        try:
            return str(get())
        except Exception as error:  # noqa: BLE001 - garbage in one string costs that string
            self._recorder.errors[f"version.{which}", typed(error).name] += 1
            return ""

    def count(self) -> int:
        """GPUs that the driver lists, lost ones included.

        Raises:
            NvmlError: the driver is gone, or failed.
        """
        start = time.perf_counter()
        try:
            return _counted(int(pynvml.nvmlDeviceGetCount()))
        except Exception as error:
            failure = typed(error)
            self._recorder.errors["count", failure.name] += 1
            raise failure from error
        finally:
            self._recorder.cost("count").add(time.perf_counter() - start)

    def recorder(self, index: int) -> Recorder:
        """Where the calls about the GPU of this index are counted."""
        return self._stats.recorder(f"gpu{index}")

    def device(self, index: int) -> Device:
        """Look a GPU up; see `Device`."""
        return Device(index, self.recorder(index), wanted=self._wanted)

    def events(self) -> EventSet:
        """Something to wait for XIDs with; to be freed before `close`."""
        return EventSet(self._stats.recorder("events"))

    def mig(self, id_: DeviceId) -> Mig:
        """The MIG instances of a GPU; see `Mig`."""
        return Mig(id_, self._stats.recorder(f"mig{id_.index}"), self._wanted)

    def close(self) -> None:
        """Let go of NVML and unload its library; nobody may be inside the driver."""
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError as error:
            # Not initialised any more, as after the driver went away: that is what we want.
            self._recorder.errors["shutdown", typed(error).name] += 1
        library.detach()


def _cuda_version() -> str:
    number = int(pynvml.nvmlSystemGetCudaDriverVersion())
    return f"{number // 1000}.{number % 1000 // 10}"


def _counted(listed: int) -> int:
    if listed > MOST_GPUS:
        raise ValueError(f"the driver lists {listed} GPUs")
    return listed
