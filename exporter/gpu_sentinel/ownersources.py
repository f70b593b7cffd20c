"""Where owners of GPUs are found on this machine, put together from the settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gpu_sentinel.host.jobs.docker import Docker
from gpu_sentinel.host.jobs.mapping import MappingDirectory
from gpu_sentinel.host.jobs.slurmjobs import SlurmJobs
from gpu_sentinel.host.owners.resolver import Resolver
from gpu_sentinel.host.owners.users import system_name
from gpu_sentinel.host.podresources.source import KubeletSource
from gpu_sentinel.machine import People
from gpu_sentinel.model import Allocation, Snapshot
from gpu_sentinel.sampling.owners.holders import Holders, Source
from gpu_sentinel.sampling.owners.shared import Owners, since_boot
from gpu_sentinel.settings import Settings

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class OwnerSources:
    """All that finds owners.

    Attributes:
        owners: for the samplers of processes.
        holders: the threads that ask who holds what.
        resolver: from a pid to its owner.
    """

    owners: Owners
    holders: Holders
    resolver: Resolver

    def up(self) -> Mapping[str, bool]:
        """Whether each source answers."""
        return {**self.resolver.sources(), **self.holders.up}


def wants_owners(settings: Settings) -> bool:
    """Whether a metric tells of owners, ours or one by DCGM's name."""
    if settings.compat == "dcgm" and settings.compat_dcgm_owners == "auto":
        return True
    return any(m.group in ("owners", "processes") for m in settings.selection.metrics())


def owner_sources(
    settings: Callable[[], Settings],
    snapshot: Callable[[], Snapshot],
    people: People | None = None,
) -> OwnerSources:
    """What the settings ask for; nothing is asked yet.

    Args:
        settings: as they are now.
        snapshot: which GPUs there are.
        people: who uses and holds simulated GPUs.
    """
    now = settings()
    resolver = Resolver(people.proc, people.logs, users=people.users) if people else Resolver(PROC)
    sources = tuple(_sources(now)) if people is None else (_simulated(people),)
    holders = Holders(sources, snapshot)

    def unknown() -> None:
        for source in sources:
            source.unknown()

    owners = Owners(
        resolver.resolve,
        holders.of,
        unknown=unknown,
        boot=people.boot if people else since_boot,
        recent=resolver.recent,
        interval=lambda: settings().owners_interval,
        most_processes=now.owners_processes,
        most_owners=now.owners_owners,
    )
    return OwnerSources(owners, holders, resolver)


def _simulated(people: People) -> Source:
    def allocations(_now: float) -> tuple[Allocation, ...]:
        people.update()
        return people.allocations()

    return Source("simulation", allocations, lambda: True, str)


def _sources(settings: Settings) -> Iterator[Source]:
    socket = settings.owners_kubelet_socket
    # The folder is there on every node of a cluster, also while the kubelet is restarted.
    if socket is not None and _may_be_there(socket.parent):
        kubelet = KubeletSource(socket)
        yield Source(
            "kubelet",
            kubelet.allocations,
            lambda: kubelet.up,
            lambda: kubelet.error,
            kubelet.unknown_container,
        )
    slurm = SlurmJobs(CGROUPS, PROC, time.monotonic, system_name)
    yield Source("slurm", lambda _now: slurm.allocations(), lambda: slurm.up, lambda: slurm.trouble)
    if settings.owners_docker_socket is not None:
        docker = Docker(settings.owners_docker_socket, time.monotonic)
        yield Source(
            "docker", lambda _now: docker.allocations(), lambda: docker.up, lambda: docker.trouble
        )
    if settings.owners_mapping_directory is not None:
        mapping = MappingDirectory(settings.owners_mapping_directory, time.monotonic, time.time)
        yield Source(
            "mapping",
            lambda _now: mapping.allocations(),
            lambda: mapping.up,
            lambda: mapping.trouble,
        )


def _may_be_there(folder: Path) -> bool:
    """Whether a folder is there; also where that may not be known, which the source then tells."""
    try:
        return folder.is_dir()
    except OSError:
        return True
