"""Real or simulated: where the GPUs come from, decided in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_sentinel.config import ConfigError
from gpu_sentinel.host import PciGpu, list_gpus, module_loaded
from gpu_sentinel.host.owners.users import Users
from gpu_sentinel.model import Allocation
from gpu_sentinel.nvml import Loader
from gpu_sentinel.settings import KERNEL_LOG, Settings

if TYPE_CHECKING:
    from gpu_sentinel.simulator import Simulation


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the driver's library comes from, and what is on the PCI bus.

    Attributes:
        loader: for `nvml.Driver`; None for the libnvidia-ml that is installed.
        pci_gpus: NVIDIA display devices; None where the PCI bus cannot be seen.
        module_loaded: whether the driver's kernel module is there, without NVML; None where
            that cannot be known.
        scenario: the simulated scenario; None on real GPUs.
        kernel_log: where the kernel tells XIDs; None where NVML is to be asked.
        people: who uses and holds simulated GPUs; None for those of this machine.
    """

    loader: Loader | None
    pci_gpus: Callable[[], tuple[PciGpu, ...] | None]
    module_loaded: Callable[[], bool | None]
    scenario: str | None = None
    kernel_log: Path | None = None
    people: People | None = None


@dataclass(frozen=True, slots=True)
class People:
    """Who uses and holds the GPUs of a simulation.

    Attributes:
        proc: a folder of files as /proc has them.
        logs: one as /var/log, with the kubelet's links.
        update: lets processes come and go in it.
        allocations: who holds which GPU.
        users: their names.
        boot: seconds since the start of the simulated machine.
    """

    proc: Path
    logs: Path
    update: Callable[[], None]
    allocations: Callable[[], tuple[Allocation, ...]]
    users: Users
    boot: Callable[[], float]


def machine(settings: Settings) -> Machine:
    """The machine that the settings ask for.

    Raises:
        ConfigError: the scenario is not known, or not valid.
    """
    if settings.simulate is None:
        return Machine(None, list_gpus, module_loaded, kernel_log=settings.xid_kernel_log)
    from gpu_sentinel.simulator import (  # noqa: PLC0415 - costs nothing where GPUs are real
        ScenarioError,
        Simulation,
        load_scenario,
    )

    try:
        simulation = Simulation(load_scenario(settings.simulate))
    except ScenarioError as error:
        raise ConfigError(str(error)) from None

    # The host's own log tells of the host's own GPUs.
    kernel_log = None if settings.xid_kernel_log == KERNEL_LOG else settings.xid_kernel_log
    return Machine(
        simulation.library,
        simulation.pci_gpus,
        lambda: simulation.driver is not None,
        settings.simulate,
        kernel_log,
        _people(simulation),
    )


def _people(simulation: Simulation) -> People:
    from gpu_sentinel.simulator.proctree import UPTIME, ProcTree  # noqa: PLC0415 - as above
    from gpu_sentinel.simulator.workfolder import work_folder  # noqa: PLC0415 - as above

    folder = work_folder()
    proc, logs = folder / "proc", folder / "log"
    tree = ProcTree(proc, simulation, logs)
    users = Users(lambda uid: simulation.users()[uid])
    return People(
        proc,
        logs,
        tree.update,
        simulation.gpu_allocations,
        users,
        lambda: UPTIME + simulation.now(),
    )
