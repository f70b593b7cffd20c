"""Where a process stands, by the text of `/proc/PID/cgroup`: pure.

Version 2 has one line, `0::PATH`; version 1 one for each controller, and each runtime uses its
own: with Slurm the job may stand in the freezer's line alone. So all lines are read. A path is
read from its root, and the outermost container is the one: what runs in a container may make
further cgroups with any name. For the same reason nothing is believed of pods and jobs beneath the
manager of a user (`user@1000.service`), to whom systemd leaves his cgroups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from gpu_sentinel.host.owners.units import login_of, nspawn_name, unescaped, unit_of

#: Of `<prefix>-<id>.scope` and `<prefix>-<id>`, and what is called so. Others with such an id are
#: monitors (`crio-conmon-`, `libpod-conmon-`).
RUNTIMES = {
    "docker": "docker", "cri-containerd": "containerd", "crio": "cri-o", "nerdctl": "containerd",
    "libpod": "podman",
    "libpod-payload": "podman",  # beneath a service, as `--cgroups=split` and quadlets have it
}  # fmt: skip
_ID = re.compile(r"[0-9a-f]{64}")
#: Static pods have a hash in place of an UUID.
_POD = re.compile(r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:+-]{0,127}")
_NUMBER = re.compile(r"[0-9]{1,20}")
_STEP = re.compile(r"[A-Za-z0-9_+]{1,32}")
#: `123.server`, of an array `123[4].server`; see qsub(1B) and bsub(1).
PBS_JOB = re.compile(r"[0-9]{1,20}(?:\[[0-9]{0,20}\])?(?:\.[A-Za-z0-9_.-]{1,128})?")
LSF_JOB = re.compile(r"[0-9]{1,20}(?:\[[0-9]{1,20}\])?")


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
        # The other hierarchies of version 1 have units only in part.
        of_systemd = controllers in ("", "name=systemd")
        here = _of_path(path, of_systemd)
        for field in _TELLING:
            before, now = getattr(found, field), getattr(here, field)
            if before not in ("", None, now) and now not in ("", None):
                return _MIXED
        found = _joined(found, here)
    return found


def beside(text: str) -> bool:
    """Whether a path leads out of the reader's own cgroup namespace."""
    return any(path.startswith("/..") for _, path in lines(text))


def lines(text: str) -> Iterator[tuple[str, str]]:
    """Controllers and path of each line; cgroups' names have no ends of lines."""
    for row in text.split("\n"):
        number, _, rest = row.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and number.isdecimal() and path.startswith("/"):
            # Behind the path of a cgroup that is gone, in version 2.
            yield controllers, path.removesuffix(" (deleted)")


def _joined(before: Place, now: Place) -> Place:
    if now == NOWHERE:
        return before
    if before == NOWHERE:
        return now
    changes = {
        name: value
        for name in Place.__dataclass_fields__
        if getattr(before, name) in ("", None, False)
        and (value := getattr(now, name)) not in ("", None, False)
    }
    return replace(before, **changes)


def _of_path(path: str, of_systemd: bool) -> Place:
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    walk = _Walk()
    for position, part in enumerate(parts):
        before = parts[position - 1] if position else ""
        earlier = parts[position - 2] if position > 1 else ""
        walk.step(part, before, earlier)
    found = walk.place()
    return replace(found, unit=unit_of(parts)) if of_systemd and parts else found


class _Walk:
    """One path, from its root to its leaf."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}
        self._login: int | None = None
        self._slurm = False
        self._slurm_uid: int | None = None
        self._readers: tuple[Callable[[str, str, str], bool], ...] = (
            self._pod_and_container,
            self._named_container,
            self._batch,
        )

    def place(self) -> Place:
        return Place(**self._found, slurm_uid=self._slurm_uid, login=self._login)  # type: ignore[arg-type]

    def step(self, part: str, before: str, earlier: str) -> None:
        if "container" in self._found and "pod_uid" not in self._found:
            return
        if self._login is None:
            # In a pod, too: Slurm runs in Kubernetes with a slurmd in each pod.
            self._slurm_part(part)
        if "container" in self._found or "slurm_job" in self._found:
            return
        if (login := login_of(part)) is not None and "pod_uid" not in self._found:
            self._login = login if self._login is None else self._login
            return
        for reader in self._readers:
            if reader(part, before, earlier):
                return

    def _pod_and_container(self, part: str, before: str, _: str) -> bool:
        # `<slice>:<prefix>:<id>`: a runtime was given a name for systemd, and took it for a path.
        pieces = part.split(":")
        if len(pieces) == 3:
            slice_, prefix, number = pieces
            known = self._pod(slice_)
            return self._container(f"{prefix}-{number}", before) or known
        return self._pod(part) or self._container(part.removesuffix(".scope"), before)

    def _pod(self, part: str) -> bool:
        # `pod<uid>`, `kubepods-burstable-pod<uid>.slice`
        head, word, uid = part.removesuffix(".slice").rpartition("pod")
        if not word or (head and not head.endswith("-")) or _POD.fullmatch(uid) is None:
            return False
        if self._login is None:
            self._found.setdefault("pod_uid", uid.replace("_", "-"))
        return True

    def _container(self, part: str, before: str) -> bool:
        prefix, _, number = part.rpartition("-")
        if _ID.fullmatch(number) is None or (prefix and prefix not in RUNTIMES):
            return False
        self._found["container"] = number
        self._found["runtime"] = RUNTIMES[prefix] if prefix else RUNTIMES.get(before, "")
        return True

    def _named_container(self, part: str, before: str, _: str) -> bool:
        runtime, name = "", ""
        if before in ("lxc", "lxc.payload"):
            runtime, name = "lxc", part
        elif part.startswith(("lxc.payload.", "lxc.payload-")):
            runtime, name = "lxc", part[len("lxc.payload.") :]
        elif part.endswith((".libvirt-qemu", ".libvirt-lxc")):
            runtime, name = "machine", part.rpartition(".")[0]
        elif nspawn := nspawn_name(part):
            runtime, name = "machine", nspawn
        else:
            # `<allocation>.<task>.scope`; Nomad's Docker containers are called `<task>-<allocation>`.
            allocation, _, task = part.removesuffix(".scope").partition(".")
            if task and _UUID.fullmatch(allocation) and _NAME.fullmatch(task):
                runtime, name = "nomad", f"{task}-{allocation}"
        if not name or _NAME.fullmatch(name) is None:
            return False
        self._found["container"], self._found["runtime"] = name, runtime
        return True

    def _batch(self, part: str, before: str, earlier: str) -> bool:
        if self._login is not None:
            return False
        batch, job = "", ""
        if before in ("jobid", "jobs") and earlier.partition(".")[0] in ("pbs_jobs", "pbspro"):
            batch, job = "pbs", part
        elif before in ("pbspro", "pbs_jobs"):
            batch, job = "pbs", part
        elif before == "pbspro.slice":
            batch, job = "pbs", unescaped(part.removeprefix("pbspro-").removesuffix(".slice"))
        elif earlier == "lsf" and part.startswith("job."):
            batch, job = "lsf", part.split(".")[1]
        pattern = LSF_JOB if batch == "lsf" else PBS_JOB
        if not batch or pattern.fullmatch(job) is None or "batch" in self._found:
            return False
        self._found["batch"], self._found["batch_job"] = batch, job
        return True

    def _slurm_part(self, part: str) -> None:
        # `slurmstepd.scope/job_1/step_0`, `slurm/uid_1000/job_1/step_0`
        if "slurm_step" in self._found:
            return
        if "slurm_job" in self._found:
            kind, _, step = part.partition("_")
            if kind == "step" and _STEP.fullmatch(step):
                self._found["slurm_step"] = step
            return
        if not self._slurm:
            self._slurm = part in ("slurmstepd.scope", "slurm")
            node = ""
            if part.endswith("_slurmstepd.scope"):
                node = part.removesuffix("_slurmstepd.scope")
            elif part.startswith("slurm_"):
                node = part.removeprefix("slurm_")
            if _NAME.fullmatch(node):
                self._slurm, self._found["slurm_node"] = True, node
            return
        kind, _, number = part.partition("_")
        if _NUMBER.fullmatch(number) is None:
            self._slurm = False
            self._found.pop("slurm_node", None)
        elif kind == "uid" and self._slurm_uid is None:
            self._slurm_uid = int(number)
        elif kind == "job":
            self._found["slurm_job"] = number
