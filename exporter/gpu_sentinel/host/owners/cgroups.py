"""Where a process stands, by the text of `/proc/PID/cgroup`: pure.

Version 2 has one line, `0::PATH`; version 1 one for each controller, and each runtime uses its
own: with Slurm the job may stand in the freezer's line alone. So all lines are read.

Only root makes cgroups near the root. Further down names are anybody's: who runs in a container, in
a job or under the manager of a user (`user@1000.service`) may be allowed to make cgroups, and call
them as he likes. So the first container or job from the root is the one, and nothing is believed of
pods and jobs in the slice of a user.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gpu_sentinel.host.owners.jobs import batch_of, slurm_of
from gpu_sentinel.host.owners.units import login_of, machine_of, unit_of

#: Of `<prefix>-<id>.scope` and `<prefix>-<id>`, and what is called so. Others with such an id are
#: monitors (`crio-conmon-`, `libpod-conmon-`).
RUNTIMES = {
    "docker": "docker", "cri-containerd": "containerd", "crio": "cri-o", "nerdctl": "containerd",
    "libpod": "podman",
    "libpod-payload": "podman",  # beneath a service, as `--cgroups=split` and quadlets have it
}  # fmt: skip
_ID = re.compile(r"[0-9a-f]{64}")
#: Static pods have a hash in place of a UUID.
_POD = re.compile(r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:+-]{0,127}")


@dataclass(frozen=True, slots=True)
class Place:
    """What a cgroup tells; what it does not tell is empty.

    Attributes:
        pod_uid: with dashes, as Kubernetes writes it.
        container: 64 hex digits, or the name where the runtime has names in paths.
        runtime: `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `machine` (systemd's, also of
            libvirt), `nomad`; empty where the path does not tell.
        slurm_node: where several slurmd run on one host, or as Debian builds Slurm.
        slurm_uid: version 1 has the user in the path.
        batch: `pbs` or `lsf`, with `batch_job`.
        unit: a service or scope of the system's systemd.
        login: the uid whose slice it is.
        mixed: lines contradict each other, so none of them is to be believed.
    """

    pod_uid: str = ""
    container: str = ""
    runtime: str = ""
    slurm_job: str = ""
    slurm_step: str = ""
    slurm_node: str = ""
    slurm_uid: int | None = None
    batch: str = ""
    batch_job: str = ""
    unit: str = ""
    login: int | None = None
    mixed: bool = False


NOWHERE = Place()
_MIXED = Place(mixed=True)
#: In which two lines must not differ.
_TELLING = ("pod_uid", "container", "slurm_job", "slurm_step", "batch_job", "unit", "login")


def place(text: str) -> Place:
    """Where the process with this `/proc/PID/cgroup` stands."""
    found = NOWHERE
    for controllers, path in lines(text):
        if path == "/":
            continue
        here = _of_path(path, of_systemd=controllers in ("", "name=systemd"))
        if here == NOWHERE:
            continue
        for name in _TELLING:
            before, now = getattr(found, name), getattr(here, name)
            if _told(before) and _told(now) and before != now:
                return _MIXED
        found = _joined(found, here)
    return found


def beside(text: str) -> bool:
    """Whether a path leads out of the reader's own cgroup namespace."""
    return any(path.startswith("/..") for _, path in lines(text))


def lines(text: str) -> Iterator[tuple[str, str]]:
    """Controllers and path of each line; names of cgroups have no ends of lines."""
    for row in text.split("\n"):
        number, _, rest = row.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and number.isdecimal() and path.startswith("/"):
            # Version 2 says so of a zombie's cgroup that was removed.
            yield controllers, path.removesuffix(" (deleted)")


def _joined(before: Place, now: Place) -> Place:
    changes = {
        name: getattr(now, name)
        for name in Place.__dataclass_fields__
        if _told(getattr(now, name)) and not _told(getattr(before, name))
    }
    return replace(before, **changes) if changes else before


def _told(value: object) -> bool:
    return value is not None and value != ""


def _of_path(path: str, *, of_systemd: bool) -> Place:
    parts = list(_parts(path))
    # The hierarchies of version 1 that are not systemd's have units only in part.
    unit = unit_of(parts) if of_systemd else ""
    at, container, runtime = _container_of(parts)
    outside = parts[:at]
    login = next((uid for part in outside if (uid := login_of(part)) is not None), None)
    if login is not None:
        return Place(container=container, runtime=runtime, unit=unit, login=login)
    pod = _first_pod(outside)
    # Slurm also runs in Kubernetes, with a slurmd in each pod; in other containers it is their own.
    slurm = slurm_of(parts if pod else outside)
    if slurm is not None and slurm.end <= at:
        container = runtime = ""
        pod = _first_pod(parts[: slurm.end])
    batch, job = batch_of(outside)
    found = Place(pod_uid=pod, container=container, runtime=runtime, unit=unit)
    if slurm is not None:
        return replace(
            found,
            slurm_job=slurm.job,
            slurm_step=slurm.step,
            slurm_node=slurm.node,
            slurm_uid=slurm.uid,
        )
    return replace(found, batch=batch, batch_job=job)


def _parts(path: str) -> Iterator[str]:
    for part in path.split("/"):
        # `<slice>:<prefix>:<id>`: a runtime was given a name for systemd, and took it for a path.
        pieces = part.split(":")
        if len(pieces) == 3 and pieces[0].endswith(".slice"):
            yield pieces[0]
            yield f"{pieces[1]}-{pieces[2]}"
        elif part not in ("", ".", ".."):
            yield part


def _container_of(parts: Sequence[str]) -> tuple[int, str, str]:
    """Position, id or name, and runtime of the first container; the end where there is none."""
    before = ""
    for position, part in enumerate(parts):
        prefix, _, number = part.removesuffix(".scope").rpartition("-")
        if _ID.fullmatch(number) and (not prefix or prefix in RUNTIMES):
            return position, number, RUNTIMES[prefix] if prefix else RUNTIMES.get(before, "")
        runtime, name = _named(part, before)
        if name and _NAME.fullmatch(name):
            return position, name, runtime
        before = part
    return len(parts), "", ""


def _named(part: str, before: str) -> tuple[str, str]:
    """Runtime and name of a container that the path calls by its name; mostly two empty texts."""
    if before in ("lxc", "lxc.payload"):
        return "lxc", part
    if part.startswith(("lxc.payload.", "lxc.payload-")):
        return "lxc", part[len("lxc.payload.") :]
    if name := machine_of(part):
        return "machine", name
    # `<allocation>.<task>.scope`: Nomad calls the containers of Docker `<task>-<allocation>`.
    allocation, _, task = part.removesuffix(".scope").partition(".")
    return ("nomad", f"{task}-{allocation}") if task and _UUID.fullmatch(allocation) else ("", "")


def _first_pod(parts: Sequence[str]) -> str:
    return next((uid for part in parts if (uid := _pod_uid(part))), "")


def _pod_uid(part: str) -> str:
    """The pod of `pod<uid>` or `kubepods-burstable-pod<uid>.slice`."""
    head, word, uid = part.removesuffix(".slice").rpartition("pod")
    if not word or (head and not head.endswith("-")) or _POD.fullmatch(uid) is None:
        return ""
    return uid.replace("_", "-")
