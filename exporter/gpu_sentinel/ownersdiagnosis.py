"""What `gpu-sentinel check` says of owners: which of their sources can be read from here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpu_sentinel.finding import Finding
from gpu_sentinel.host.jobs.mapping import MappingDirectory
from gpu_sentinel.host.jobs.slurmjobs import SlurmJobs
from gpu_sentinel.host.owners.procfs import Proc
from gpu_sentinel.host.podresources.source import KubeletSource
from gpu_sentinel.ownersources import CGROUPS, PROC, wants_owners
from gpu_sentinel.settings import Settings

#: Numbers of include/uapi/linux/capability.h.
_DAC_OVERRIDE, _DAC_READ_SEARCH, _SYS_PTRACE = 1, 2, 19
_PERMISSIONS = "docs/owners.md has a table of what needs which permission"


@dataclass(frozen=True, slots=True)
class Host:
    """Where to look."""

    proc: Path = PROC
    cgroups: Path = CGROUPS
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


def owner_findings(settings: Settings, host: Host) -> Iterator[Finding]:
    """One finding for each source of owners on this machine."""
    if not wants_owners(settings):
        yield Finding("owners", "not shown: the groups owners and processes are off")
        return
    proc = Proc(host.proc)
    yield _processes(proc)
    yield _environments(host.proc, proc)
    yield _kubelet(settings.owners_kubelet_socket, host.environment)
    yield _slurm(host)
    if settings.owners_mapping_directory is not None:
        yield _mapping(settings.owners_mapping_directory)


def _processes(proc: Proc) -> Finding:
    if proc.visible:
        return Finding("owners: processes", "the machine's processes are visible")
    return Finding(
        "owners: processes",
        "the machine's processes are not visible: the driver tells their numbers, which are other "
        'processes here, so that they are shown with owner_kind="none"',
        "let it see them: hostPID: true in Kubernetes, --pid=host with Docker and Podman",
    )


def _environments(root: Path, proc: Proc) -> Finding:
    """No fault where they cannot be read: control groups tell most of it."""
    subject = "owners: environments"
    missing = missing_capabilities(root)
    if not missing and proc.whole_uids:
        return Finding(subject, "those of all processes may be read")
    why = f"{' and '.join(missing)} missing" if missing else "this is a user namespace"
    return Finding(
        subject,
        f"only those of this user may be read ({why}): jobs whose control groups do not name them, "
        "and accounts of jobs, are not known",
    )


def missing_capabilities(root: Path) -> list[str]:
    """Those without which the environment of another user's process cannot be read.

    The first lets look into the process (ptrace_may_access), the second open its file, which only
    its owner may: ptrace(2), capabilities(7).
    """
    effective = 0
    try:
        for row in (root / "self" / "status").read_bytes().splitlines():
            if row.startswith(b"CapEff:"):
                effective = int(row.split()[1], 16)
    except (OSError, ValueError, IndexError):
        effective = 0
    found = []
    if not effective >> _SYS_PTRACE & 1:
        found.append("CAP_SYS_PTRACE")
    if not (effective >> _DAC_READ_SEARCH & 1 or effective >> _DAC_OVERRIDE & 1):
        found.append("CAP_DAC_READ_SEARCH")
    return found


def _kubelet(socket: Path | None, environment: Mapping[str, str]) -> Finding:
    subject = "owners: kubelet"
    if socket is None:
        return Finding(subject, "not asked: owners.kubelet-socket is off")
    try:
        os.stat(socket.parent)  # noqa: PTH116 - Path.exists hides why it is not there
    except PermissionError:
        return _not_permitted(socket)
    except OSError as error:
        return _no_kubelet(socket, error, pod="KUBERNETES_SERVICE_HOST" in environment)
    if not os.access(socket.parent, os.X_OK):
        return _not_permitted(socket)
    kubelet = KubeletSource(socket)
    held = kubelet.allocations(time.monotonic())
    if kubelet.up:
        pods = {allocation.owner.name for allocation in held}
        return Finding(subject, f"{socket} tells of {len(held)} GPUs of {len(pods)} pods")
    return Finding(subject, kubelet.error, "see whether the kubelet runs; owners.kubelet-socket")


def _no_kubelet(socket: Path, error: OSError, *, pod: bool) -> Finding:
    if pod:
        return Finding(
            "owners: kubelet",
            f"{socket.parent} is not there, though this is a pod",
            "mount this directory of the node (hostPath, read only), not the socket alone, which "
            "is made anew when the kubelet restarts",
        )
    return Finding("owners: kubelet", f"none on this machine ({socket.parent}: {error.strerror})")


def _not_permitted(socket: Path) -> Finding:
    return Finding(
        "owners: kubelet",
        f"{socket} may not be opened by uid {os.geteuid()}",
        "run as uid 0, which needs no capability for it (runAsUser: 0, drop: [ALL]); or switch it "
        "off: --owners.kubelet-socket off",
    )


def _slurm(host: Host) -> Finding:
    slurm = SlurmJobs(host.cgroups, host.proc, time.monotonic)
    held = slurm.allocations()
    if not slurm.up:
        return Finding("owners: Slurm", slurm.trouble, _PERMISSIONS)
    if not slurm.jobs:
        return Finding("owners: Slurm", "no jobs on this machine")
    return Finding("owners: Slurm", f"{len(slurm.jobs)} jobs, which hold {len(held)} GPUs")


def _mapping(directory: Path) -> Finding:
    mapping = MappingDirectory(directory, time.monotonic, time.time)
    held = mapping.allocations()
    if not mapping.up:
        return Finding(
            "owners: mapping directory",
            mapping.trouble,
            "make it, readable for this user, or correct owners.mapping-directory",
        )
    return Finding("owners: mapping directory", f"{directory} names {len(held)} jobs of GPUs")
