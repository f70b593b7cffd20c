"""What `gpu-sentinel check` looks at: each finding says what is wrong and what to do about it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

from gpu_sentinel.catalogue import keys_needed
from gpu_sentinel.catalogue.availability import (
    HUNG,
    LOST,
    NOT_LISTED,
    REASONS,
    UNCLAIMED,
    advice,
    state,
)
from gpu_sentinel.config import ConfigError
from gpu_sentinel.finding import Finding
from gpu_sentinel.host import KernelLog, bus_address
from gpu_sentinel.host.pci import expected, listable, unclaimed
from gpu_sentinel.machine import Machine
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import CallStats, Device, Driver, DriverGoneError, GpuLostError, NvmlError
from gpu_sentinel.ownersdiagnosis import Host, owner_findings
from gpu_sentinel.sampling.xidtrust import NOTHING, Trust
from gpu_sentinel.settings import Settings
from gpu_sentinel.web.access import WebConfigError, load_access
from gpu_sentinel.web.neighbour import exporter_at
from gpu_sentinel.web.server import ListenError, probe_address

#: A call to the driver that takes longer counts as hanging.
PATIENCE_SECONDS = 5.0

_KERNEL_MODULE = Path("/proc/driver/nvidia/version")
_CONTROL_DEVICE = Path("/dev/nvidiactl")

T = TypeVar("T")


class _HangsError(Exception):
    """A call did not come back in time."""


def _patiently(call: Callable[[], T]) -> T:
    """The result of a call to the driver that may never come back.

    Raises:
        _HangsError: it took longer than `PATIENCE_SECONDS`.
        NvmlError: as the call.
    """
    results: list[T] = []
    errors: list[NvmlError] = []

    def run() -> None:
        try:
            results.append(call())
        except NvmlError as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="check", daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    if errors:
        raise errors[0]
    if not results:
        raise _HangsError
    return results[0]


def diagnose(settings: Settings, machine: Machine) -> Iterator[Finding]:
    """Look at everything that `serve` needs, in the order in which it needs it."""
    yield from _configuration(settings)
    running = False
    for address in settings.web_listen_address:
        finding, ours = _port(address, settings.web_telemetry_path)
        running |= ours
        yield finding
    if machine.kernel_log is not None:
        yield _kernel_log(machine.kernel_log)
    opened = yield from _driver(settings, machine, running=running)
    if opened and machine.people is None:
        yield from owner_findings(settings, Host())


def _configuration(settings: Settings) -> Iterator[Finding]:
    if settings.config_file:
        yield Finding("configuration", f"{settings.config_file} is valid")
    files = [path for path in (settings.web_config_file, settings.web_roles_file) if path]
    if files:
        try:
            load_access(settings.web_config_file, settings.web_roles_file)
        except WebConfigError as error:
            yield Finding("web configuration", str(error), "correct the file")
        else:
            for path in files:
                yield Finding("web configuration", f"{path} is valid")


def _port(address: str, path: str) -> tuple[Finding, bool]:
    """Whether it is free, and whether an exporter of this kind has it."""
    try:
        probe_address(address)
    except ListenError as error:
        found = exporter_at(address, path)
        if found is not None:
            return Finding("port", f"{address} is in use by {found}: it runs already"), True
        return Finding("port", str(error), "choose another with --web.listen-address"), False
    return Finding("port", f"{address} is free"), False


def _kernel_log(path: Path) -> Finding:
    """Nothing is wrong where it cannot be read: there is another source."""
    try:
        with contextlib.closing(KernelLog(path)) as kernel_log:
            if kernel_log.is_fifo:
                # What is read here, the exporter would miss.
                return Finding("XIDs", f"from {path}, a FIFO")
            until = time.monotonic() + PATIENCE_SECONDS
            while kernel_log.take()[1] and time.monotonic() < until:
                pass
    except OSError as error:
        return Finding("XIDs", f"from NVML, not all of them ({path}: {error.strerror})")
    seen = kernel_log.understood
    total = sum(seen.counts.values()) - seen.counts["lost"]
    lines = f"of {total} lines, {seen.kernel} of the kernel, {seen.counts['malformed']} malformed"
    doubt = Trust().doubt(seen)
    if not doubt:
        return Finding("XIDs", f"from {path} ({lines})")
    found = f"from {path}, and from NVML: {doubt} ({lines})"
    # A file without lines of the kernel was mostly rotated, or the kernel had nothing to say.
    right = doubt == NOTHING and seen.counts["malformed"] < max(total, 1)
    return Finding("XIDs", found, "" if right else "compare its lines with docs/kernel-log.md")


def _driver(
    settings: Settings, machine: Machine, *, running: bool
) -> Generator[Finding, None, bool]:
    """Returns whether there is a driver that answers."""
    driver = Driver(CallStats(), machine.loader, keys_needed(settings.selection.metrics()))
    try:
        info = _patiently(driver.open)
        count = _count(driver, machine)
    except _HangsError:
        yield Finding(
            "driver", "does not answer", "look at `dmesg` for Xid lines; a restart may be needed"
        )
        return False
    except NvmlError as error:
        yield Finding("driver", str(error), _remedy(running=running))
        return False
    source = f"simulated ({machine.scenario}), " if machine.scenario else ""
    yield Finding(
        "driver",
        f"{source}version {info.driver_version}, CUDA {info.cuda_version}, "
        f"NVML {info.nvml_version}",
    )
    hanging = False
    seen: list[str] = []
    for index in range(count):
        finding = _gpu(driver, index, seen)
        hanging |= finding.detail == _SILENT
        yield finding
    yield from _not_listed(machine, count, seen)
    yield _number(settings, machine, count)
    if not hanging:
        driver.close()
    return True


def _count(driver: Driver, machine: Machine) -> int:
    """GPUs that the driver lists; where it does not say, as the exporter, those on the PCI bus.

    Raises:
        NvmlError: it does not say, and nor does the PCI bus, or it is gone.
        _HangsError: it does not answer.
    """
    try:
        return _patiently(driver.count)
    except DriverGoneError:
        raise
    except NvmlError:
        bound = len(listable(machine.pci_gpus() or ()))
        if not bound:
            raise
        return bound


_SILENT = "does not answer"


def _gpu(driver: Driver, index: int, seen: list[str]) -> Finding:
    """One GPU that the driver lists; its PCI address is added to `seen`."""
    subject = f"GPU {index}"

    def look() -> tuple[Device, dict[str, str], int]:
        device = driver.device(index)
        seen.append(bus_address(device.address) or "")
        device.probe()
        return device, device.identity(), sum(len(device.keys(tier)) for tier in Tier)

    try:
        device, identity, readings = _patiently(look)
    except _HangsError:
        return Finding(subject, _SILENT, REASONS[HUNG])
    except NvmlError as error:
        return _failing(subject, error)
    if device.failure is not None:
        return _failing(subject, device.failure)
    return Finding(subject, f"{identity['name']}, {device.uuid or 'no UUID'}, {readings} readings")


def _failing(subject: str, error: NvmlError) -> Finding:
    reason = LOST if isinstance(error, GpuLostError) else error.name
    return Finding(subject, f"{state(reason)} ({reason})", advice(reason))


def _not_listed(machine: Machine, count: int, seen: list[str]) -> Iterator[Finding]:
    """GPUs that only the PCI bus knows; as the exporter shows them."""
    gpus = machine.pci_gpus() or ()
    if len(listable(gpus)) > count and all(seen) and len(seen) == count:
        for gpu in listable(gpus):
            if bus_address(gpu.address) not in seen:
                yield Finding(f"GPU {gpu.address}", state(NOT_LISTED), advice(NOT_LISTED))
    for gpu in unclaimed(gpus):
        yield Finding(f"GPU {gpu.address}", state(UNCLAIMED), advice(UNCLAIMED))


def _number(settings: Settings, machine: Machine, count: int) -> Finding:
    gpus = machine.pci_gpus()
    wanted, why = settings.inventory_expected_gpus, "inventory.expected-gpus"
    if wanted is None and gpus is not None:
        wanted, why = expected(gpus), "the PCI bus"
    if wanted is None or wanted == count:
        return Finding("GPUs", f"{count}, as expected" if wanted == count else str(count))
    return Finding(
        "GPUs",
        f"the driver lists {count}, {why} says {wanted}",
        "look at `dmesg` for a GPU that has fallen off the bus"
        if count < wanted
        else "correct inventory.expected-gpus",
    )


def _remedy(*, running: bool) -> str:
    """What to do about a driver that cannot be opened, by what else is there."""
    if not _KERNEL_MODULE.exists() and running:
        # Another would find the port taken.
        return (
            "install the NVIDIA driver; `gpu-sentinel status` shows the GPUs, which may be "
            "simulated, of the exporter that runs already"
        )
    if not _KERNEL_MODULE.exists():
        return "install the NVIDIA driver, or try without a GPU: gpu-sentinel serve --simulate"
    if not os.access(_CONTROL_DEVICE, os.R_OK | os.W_OK):
        return (
            f"the kernel module is loaded, but this user may not open {_CONTROL_DEVICE}: "
            "in a container, start it with GPUs (--gpus all); else see its permissions"
        )
    return (
        "the kernel module is loaded: install the libnvidia-ml.so.1 of the same version; in a "
        "container, set NVIDIA_DRIVER_CAPABILITIES=utility"
    )


__all__ = ["ConfigError", "Finding", "diagnose"]
