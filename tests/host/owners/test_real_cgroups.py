"""Real processes in real cgroups, made where runtimes make them (as root)."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filesworld import POD

from gpu_sentinel.host.owners import Resolver
from gpu_sentinel.host.owners.users import Users

JOB = "1" + "".join(str(secrets.randbelow(10)) for _ in range(8))
ID = secrets.token_hex(32)
POD_ = POD.replace("-", "_")
USER = "user.slice/user-4242.slice"


class Hierarchy:
    """Cgroups of a mounted hierarchy, removed when the test is over."""

    def __init__(self, mount: Path, eventually: Callable[..., float]) -> None:
        self.mount = mount
        self.made: list[Path] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.eventually = eventually

    def run(self, path: str) -> int:
        """The pid of a process that sleeps in a cgroup."""
        process = subprocess.Popen(["sleep", "600"])
        self.processes.append(process)
        self.eventually(lambda: self._put(process.pid, path), 10, f"{path} is there")
        return process.pid

    def _put(self, pid: int, path: str) -> bool:
        """Whether it is in its cgroup; a test beside this one may remove what both of them use."""
        folder = self.mount
        try:
            for part in path.split("/"):
                folder = folder / part
                if not folder.exists():
                    folder.mkdir()
                    self.made.append(folder)
            (folder / "cgroup.procs").write_text(f"{pid}\n")
        except (FileNotFoundError, FileExistsError):
            return False
        return True

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for folder in reversed(self.made):
            self.eventually(lambda folder=folder: removed(folder), 10, f"{folder} is removed")


def removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True


def mounted() -> dict[str, Path]:
    """Where hierarchies are mounted: `freezer` and `systemd` of version 1, `v2`."""
    found = {}
    for row in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = row.split(" ")
        if kind == "cgroup2":
            found["v2"] = Path(mount)
        elif kind == "cgroup":
            for name in ("freezer", "name=systemd"):
                if name in options.split(","):
                    found[name.removeprefix("name=")] = Path(mount)
    return found


@pytest.fixture(params=["freezer", "systemd", "v2"])
def hierarchy(request: pytest.FixtureRequest, eventually) -> Iterator[Hierarchy]:
    mount = mounted().get(request.param)
    if mount is None:
        pytest.skip(f"no hierarchy {request.param} is mounted")
    if Path("/run/systemd/system").exists() and request.param != "freezer":
        pytest.skip("these cgroups are systemd's")
    found = Hierarchy(mount, eventually)
    try:
        found.run(f"sentinel-{ID[:8]}")
    except OSError as error:
        found.close()
        pytest.skip(f"{mount}: {error.strerror}")
    yield found
    found.close()


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    names = {4242: "alice"}
    links = tmp_path / "containers"
    links.mkdir()
    (links / f"train-0_research_main-{ID}.log").touch()
    users = Users(lambda uid: names[uid])
    found = Resolver(logs=tmp_path, docker=tmp_path, podman=tmp_path, users=users)
    if not found.visible:
        pytest.skip("a namespace of pids of its own")
    return found


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        (f"kubepods/burstable/pod{POD}/{ID}", "pod", "research/train-0"),
        (f"kubepods.slice/kubepods-pod{POD_}.slice/cri-containerd-{ID}.scope", "pod",
         "research/train-0"),
        (f"kubepods/pod{POD}/{ID[::-1]}", "pod", POD),
        (f"docker/{ID[::-1]}", "container", ID[::-1][:12]),
        (f"slurm_node/uid_4242/job_{JOB}/step_batch/task_0", "slurm_job", JOB),
        (f"system.slice/slurmstepd.scope/job_{JOB}/step_0/user/task_0", "slurm_job", JOB),
        (f"lxc.payload.train-{JOB}", "container", f"train-{JOB}"),
        (f"{USER}/user@4242.service/user.slice/libpod-{ID}.scope", "container", ID[:12]),
        (f"{USER}/user@4242.service/kubepods/pod{POD}/{ID}", "container", ID[:12]),
        (f"pbs_jobs.service/jobs/{JOB}.pbs", "pbs_job", f"{JOB}.pbs"),
    ],
    ids=map(str, range(10)),  # the same in every worker
)  # fmt: skip
def test_a_process_in_a_cgroup_has_an_owner(
    hierarchy: Hierarchy, resolver: Resolver, path: str, kind: str, name: str
):
    owner = resolver.resolve(hierarchy.run(path)).owner
    assert (owner.kind, owner.name) == (kind, name)


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        (f"system.slice/sentinel-{JOB}.service", "unit", f"sentinel-{JOB}.service"),
        (f"{USER}/session-{JOB}.scope", "user", "alice"),
        (f"{USER}/user@4242.service/app.slice/x.service", "user", "alice"),
    ],
    ids=map(str, range(3)),
)
def test_a_unit_is_told_by_systemds_hierarchy(
    hierarchy: Hierarchy, resolver: Resolver, path: str, kind: str, name: str
):
    owner = resolver.resolve(hierarchy.run(path)).owner
    if "freezer" in hierarchy.mount.name and kind == "unit":
        assert owner.kind == "user"
    else:
        assert (owner.kind, owner.name) == (kind, name)


def test_who_is_gone_and_his_cgroup_with_him_is_remembered(
    hierarchy: Hierarchy, resolver: Resolver
):
    pid = hierarchy.run(f"slurm_node/uid_4242/job_{JOB}/step_0")
    process = resolver.resolve(pid)
    hierarchy.close()
    assert resolver.resolve(pid) is None
    assert resolver.recent(pid, process.started) == process


def test_a_zombie_keeps_the_owner_that_it_had(
    hierarchy: Hierarchy, resolver: Resolver, eventually: Callable[..., float]
):
    pid = hierarchy.run(f"slurm_node/uid_4242/job_{JOB}/step_0")
    owner = resolver.resolve(pid).owner
    hierarchy.processes[-1].kill()
    state = Path(f"/proc/{pid}/stat")
    eventually(lambda: b") Z " in state.read_bytes(), 10, "it is a zombie")
    assert resolver.resolve(pid).owner == owner
    # A zombie that was never seen before: its cgroup in version 2 still says it, or nobody knows.
    fresh = Resolver().resolve(pid).owner
    assert fresh.kind in ("slurm_job", "none")
