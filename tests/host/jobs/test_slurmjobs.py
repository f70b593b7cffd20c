"""Slurm's jobs from control groups and environments: trees of files for both versions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobtree import Tree, as_bytes, told

from gpu_sentinel.host.jobs import slurmcgroups, slurmjobs
from gpu_sentinel.host.jobs.slurmdevices import allowed
from gpu_sentinel.host.jobs.slurmjobs import SlurmJobs
from gpu_sentinel.host.jobs.words import number
from gpu_sentinel.model import Allocation, Owner

V2 = "system.slice/slurmstepd.scope"


class Reader:
    """Looks anew whenever it is asked."""

    def __init__(self, tree: Tree) -> None:
        self.now = 0.0
        self.users = {1000: "alice", 1001: "bob"}
        self.jobs = SlurmJobs(tree.cgroups, tree.proc, lambda: self.now, self.name)

    def name(self, uid: int) -> str:
        return self.users.get(uid, str(uid))

    def allocations(self) -> tuple[Allocation, ...]:
        self.now += slurmjobs.PERIOD
        return self.jobs.allocations()

    def held(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for allocation in self.allocations():
            found.setdefault(allocation.owner.name, []).append(allocation.device)
        return found


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def reader(tree: Tree) -> Reader:
    return Reader(tree)


@pytest.mark.parametrize(
    ("group", "node", "user"),
    [
        ("system.slice/slurmstepd.scope/job_7/step_batch/user/task_0", "", None),
        ("system.slice/n1_slurmstepd.scope/job_7/step_batch/user/task_special", "n1", None),
        ("slurmstepd.scope/job_7/step_batch/user/task_0", "", None),
        ("unified/system.slice/slurmstepd.scope/job_7/step_batch/user/task_0", "", None),
        ("freezer/slurm/uid_1000/job_7/step_batch", "", "alice"),
        ("freezer/slurm_n_1/uid_1000/job_7/step_batch/task_0", "n_1", "alice"),
        ("memory/slurm/uid_1001/job_7/step_batch/task_0", "", "bob"),
    ],
)
def test_where_jobs_are(tree: Tree, reader: Reader, group: str, node: str, user: str | None):
    environ = told(7, "0,1", SLURM_JOB_ACCOUNT="physics", SLURM_JOB_USER="mallory")
    tree.process(group, environ)
    user = user or reader.name(os.geteuid())
    if user == "0":
        user = ""  # the kernel shows processes that hide themselves as root's
    owner = Owner("slurm_job", "7", slurm_job="7", slurm_account="physics", user=user)
    assert reader.allocations() == tuple(
        Allocation(owner, device, "slurm", "slurm") for device in ("slurm:0", "slurm:1")
    )
    assert [(job.node, job.owner.name) for job in reader.jobs.jobs] == [(node, "7")]
    assert (reader.jobs.up, reader.jobs.trouble) == (True, "")


def test_job_of_several_controllers_is_one(tree: Tree, reader: Reader):
    line = "6:freezer:/slurm/uid_0/job_7/step_batch\n5:devices:/slurm/uid_0/job_7/step_batch\n"
    for controller in ("freezer", "devices", "memory"):
        tree.process(f"{controller}/slurm/uid_0/job_7/step_batch", told(7, "2"), line)
    assert reader.held() == {"7": ["slurm:2"]}
    assert len(reader.jobs.jobs) == 1


@pytest.mark.parametrize(
    ("step", "environ", "expected"),
    [
        ("batch", told(7, "0", SLURM_STEP_GPUS="1"), ["slurm:0"]),
        ("0", told(7, "0", SLURM_STEP_GPUS="1"), ["slurm:0"]),
        ("0", told(7, SLURM_STEP_GPUS="1"), ["slurm:1"]),
        # srun hands the batch script's variables on to other nodes.
        ("0", told(7, "0", SLURM_JOB_NUM_NODES="2", SLURM_STEP_GPUS="1"), ["slurm:1"]),
        ("batch", told(7, "0", SLURM_JOB_NUM_NODES="2"), ["slurm:0"]),
        ("batch", told(7, "0,1", CUDA_VISIBLE_DEVICES="0,1"), ["slurm:0", "slurm:1"]),
        ("batch", told(7, "2", CUDA_VISIBLE_DEVICES="MIG-41b36d4e"), ["MIG-41b36d4e"]),
        # The job looks at one of its two GPUs alone, and holds both.
        ("batch", told(7, "2,3", CUDA_VISIBLE_DEVICES="GPU-41b36d4e"), ["slurm:2", "slurm:3"]),
        ("batch", told(7, "2", CUDA_VISIBLE_DEVICES="GPU-\x1b[2J0000"), ["slurm:2"]),
        ("batch", told(7, "1,1"), ["slurm:1"]),
        ("batch", told(7, ",".join(map(str, range(64)))), [f"slurm:{n}" for n in range(64)]),
    ],
)
def test_which_variable(
    tree: Tree, reader: Reader, step: str, environ: dict[str, str], expected: list[str]
):
    tree.process(f"{V2}/job_7/step_{step}/user/task_0", environ)
    assert reader.held() == {"7": expected}


@pytest.mark.parametrize(
    "environ",
    [
        told(7),
        told(7, "NoDevFiles"),
        told(7, "0,"),
        told(7, "0-3"),
        told(7, "-1"),
        told(7, "0,99999"),
        told(7, "00"),
        told(7, CUDA_VISIBLE_DEVICES="GPU-41b36d4e"),
        told(8, "0"),
        {"SLURM_JOB_GPUS": "0"},
        told(7, "0", SLURM_JOB_ID="7 "),
        b"",
        b"\xff" * 1000,
        b"SLURM_JOB_ID=7\0SLURM_JOB_GPUS=1",  # cut off: it may have been 12
        None,
    ],
)
def test_what_is_not_certain_is_nobodys(
    tree: Tree, reader: Reader, environ: dict[str, str] | bytes | None
):
    tree.process(f"{V2}/job_7/step_batch/user/task_0", environ)
    assert reader.held() == {}
    assert [job.owner.name for job in reader.jobs.jobs] == ["7"]


def test_steps_of_a_job_on_several_nodes_add_up(tree: Tree, reader: Reader):
    many = {"SLURM_JOB_NUM_NODES": "2"}
    first = tree.process(f"{V2}/job_7/step_0/user/task_0", told(7, SLURM_STEP_GPUS="1", **many))
    assert reader.held() == {"7": ["slurm:1"]}
    tree.process(f"{V2}/job_7/step_1/user/task_0", told(7, SLURM_STEP_GPUS="0", **many))
    tree.end(first)
    assert reader.held() == {"7": ["slurm:1", "slurm:0"]}  # held until the job ends


def test_pid_that_was_given_away(tree: Tree, reader: Reader):
    """The group names a process that has ended; its number is now a process of another job."""
    group = f"{V2}/job_7/step_batch/user/task_0"
    tree.process(group, told(7, "0"), "0::/system.slice/ssh.service\n")
    tree.process(group, told(7, "0"), f"0::/{V2}/job_77/step_batch/user/task_0\n")
    tree.process(group, told(8, "0"))
    shutil.rmtree(tree.proc / str(tree.process(group, told(7, "0"))))
    assert reader.held() == {}
    tree.process(group, told(7, "3"))
    assert reader.held() == {"7": ["slurm:3"]}


def test_job_whose_processes_are_gone_holds_on(tree: Tree, reader: Reader):
    """While slurmstepd is there, the job is."""
    stepd = tree.process(f"{V2}/job_7/step_extern/slurm", {"PATH": "/bin"})
    work = tree.process(f"{V2}/job_7/step_batch/user/task_0", told(7, "0"))
    assert reader.held() == {"7": ["slurm:0"]}
    tree.end(work)
    assert reader.held() == {"7": ["slurm:0"]}
    tree.end(stepd)
    assert reader.held() == {}  # a group that Slurm failed to remove
    assert reader.jobs.jobs == ()


def test_job_that_ends_and_starts_with_the_same_id(tree: Tree, reader: Reader):
    group = f"{V2}/job_7/step_batch/user/task_0"
    tree.process(group, told(7, "0"))
    assert reader.held() == {"7": ["slurm:0"]}
    (tree.cgroups / V2 / "job_7").rename(tree.cgroups / "kept")  # so its inode is not given away
    tree.process(group, told(7, "1"))
    assert reader.held() == {"7": ["slurm:1"]}


def test_two_slurmd_on_a_host(tree: Tree, reader: Reader):
    for node, gpu in (("n1", "0"), ("n2", "1")):
        tree.process(
            f"system.slice/{node}_slurmstepd.scope/job_7/step_batch/user/task_0", told(7, gpu)
        )
    assert reader.held() == {"7": ["slurm:0", "slurm:1"]}
    assert [job.node for job in reader.jobs.jobs] == ["n1", "n2"]


def test_looks_at_most_once_a_period(tree: Tree, reader: Reader):
    assert reader.held() == {}
    tree.process(f"{V2}/job_7/step_batch/user/task_0", told(7, "0"))
    assert reader.jobs.allocations() == ()
    assert reader.held() == {"7": ["slurm:0"]}


def test_names_that_are_no_job(tree: Tree, reader: Reader):
    for name in ("job_", "job_x", "job_07", "job_-1", "job_" + "1" * 11, "jobs_1", "job_1\n"):
        tree.process(f"{V2}/{name}/step_batch/user/task_0", told(1, "0"))
    for name in ("freezer/slurm/uid_x/job_1", "freezer/slurmx/uid_0/job_1", "cpu/slurm/1/job_1"):
        tree.process(f"{name}/step_batch", told(1, "0"))
    (tree.cgroups / V2 / "job_2").write_text("")
    (tree.cgroups / V2 / "job_3").symlink_to("/")
    assert reader.held() == {}
    assert reader.jobs.jobs == ()


def test_no_control_groups(tree: Tree, reader: Reader):
    tree.cgroups.rmdir()
    assert reader.held() == {}
    assert not reader.jobs.up
    assert "No such file" in reader.jobs.trouble


def test_processes_of_a_pid_namespace_that_is_not_seen(tree: Tree, reader: Reader):
    (tree.group(f"{V2}/job_7/step_batch/user/task_0") / "cgroup.procs").write_text("0\n0\n")
    assert reader.held() == {}
    assert (reader.jobs.up, reader.jobs.trouble) == (False, slurmjobs._HIDDEN)


def test_processes_that_proc_hides(tree: Tree, reader: Reader):
    """As with hidepid=2, and ProtectProc=invisible of systemd."""
    pid = tree.process(f"{V2}/job_7/step_batch/user/task_0", told(7, "0"))
    shutil.rmtree(tree.proc / str(pid))
    assert reader.held() == {}
    assert (reader.jobs.up, reader.jobs.trouble) == (False, slurmjobs._HIDDEN)


def test_environment_that_may_not_be_read(
    tree: Tree, reader: Reader, monkeypatch: pytest.MonkeyPatch
):
    tree.process(f"{V2}/job_7/step_batch/user/task_0", told(7, "0"))
    real = slurmjobs._read

    def denied(folder: int, name: str) -> bytes:
        if name == "environ":
            raise PermissionError
        return real(folder, name)

    monkeypatch.setattr(slurmjobs, "_read", denied)
    assert reader.held() == {}
    assert (reader.jobs.up, reader.jobs.trouble) == (False, slurmjobs._DENIED)
    monkeypatch.undo()
    assert reader.held() == {"7": ["slurm:0"]}
    assert reader.jobs.up


def test_every_job_gets_its_turn(tree: Tree, reader: Reader, monkeypatch: pytest.MonkeyPatch):
    """More than can be read in one look: processes that never answer keep nobody from his."""
    monkeypatch.setattr(slurmjobs, "READS", 10)
    monkeypatch.setattr(slurmjobs, "READS_OF_A_JOB", 6)
    for job in range(1, 31):
        for _ in range(4):
            tree.process(f"{V2}/job_{job}/step_0/user/task_0", told(99))
        if job == 30:
            tree.process(f"{V2}/job_30/step_1/user/task_0", told(30, "5"))
    for _ in range(30):
        if reader.held():
            break
    assert reader.held() == {"30": ["slurm:5"]}


def test_thousands_of_groups(tree: Tree, reader: Reader, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slurmcgroups, "JOBS", 20)
    monkeypatch.setattr(slurmcgroups, "GROUPS", 30)
    listed: list[Path] = []
    real = slurmcgroups._names
    monkeypatch.setattr(slurmcgroups, "_names", lambda f: listed.append(f) or real(f))
    for job in range(100, 140):
        tree.process(f"{V2}/job_{job}/step_batch/user/task_0", told(job, "0"))
    for step in range(200):
        tree.group(f"{V2}/job_100/step_{step}")
    reader.held()
    assert len(reader.jobs.jobs) == 20
    assert sum("job_100" in path.parts for path in listed) <= 30


def test_long_path_and_huge_environment(tree: Tree, reader: Reader):
    group = f"{V2}/job_7/step_batch/user/task_0"
    huge = as_bytes({"X": "y" * (2 << 20), **told(7, "0")})
    tree.process(group, huge)
    tree.process(group, told(7, "1"), "1:name=x:/" + "a/" * 2048 + "\n" + f"0::/{group}\n")
    assert reader.held() == {"7": ["slurm:1"]}


@given(st.binary(max_size=300))
def test_any_environment(content: bytes):
    for name, value in slurmjobs._variables(content):
        assert name.startswith("SLURM_") or name == "CUDA_VISIBLE_DEVICES"
        value.encode()


@given(
    st.dictionaries(
        st.sampled_from(["SLURM_NNODES", *(name.decode() for name in slurmjobs._LISTS)]),
        st.one_of(st.text(max_size=20), st.lists(st.integers(-1, 9), max_size=9).map(
            lambda ns: ",".join(map(str, ns)))),
    ),
    st.sampled_from(["batch", "0", ""]),
)  # fmt: skip
def test_any_lists(environ: dict[str, str], step: str):
    devices, _ = slurmjobs._gpus(step, environ)
    assert len(set(devices)) == len(devices) <= slurmjobs.GPUS + 2
    for device in devices:
        assert device.startswith("slurm:")
        assert number(device.removeprefix("slurm:"), 4) is not None


@pytest.fixture
def real() -> Iterator[Path]:
    """A node's folder in the kernel's own control groups of version 1."""
    controller = Path("/sys/fs/cgroup/devices")
    name = f"slurm_test{os.getpid()}"
    folder = controller / name / "uid_1000" / "job_7"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"no devices controller of version 1 that may be written: {error}")
    try:
        yield folder
    finally:
        for path in (folder, folder.parent, folder.parent.parent):
            path.rmdir()


def test_rules_of_the_kernel(tree: Tree, real: Path):
    """As the kernel writes them, and not as a test believes."""
    assert allowed(real, tree.proc) is None
    (real / "devices.deny").write_text("c 195:1 rwm")
    assert allowed(real, tree.proc) is None  # what is taken away is not listed
    (real / "devices.deny").write_text("a")
    assert allowed(real, tree.proc) == ()
    for rule in ("c 195:3 rwm", "c 195:255 rw", "c 1:3 rwm", "b 195:4 r", "c 195:6 m", "c 195:7 r"):
        (real / "devices.allow").write_text(rule)
    assert allowed(real, tree.proc) == ("minor:3", "minor:7")
    (real / "devices.allow").write_text("c 195:* rw")
    assert allowed(real, tree.proc) is None


RULES = "c 1:3 rwm\nc 195:0 rw\nc 195:1 rwm\nc 195:255 rw\nc 235:30 r\n"


def test_rules_beat_the_environment(tree: Tree, reader: Reader):
    group = "devices/slurm/uid_1000/job_7"
    tree.process(f"{group}/step_batch/task_0", told(7, "5"), f"5:devices:/{group}/step_batch\n")
    (tree.cgroups / group / "devices.list").write_text(RULES)
    assert reader.held() == {"7": ["minor:0", "minor:1"]}


def test_rules_of_mig(tree: Tree, reader: Reader):
    group = "devices/slurm/uid_1000/job_7"
    tree.process(f"{group}/step_batch/task_0", told(7, "5"), f"5:devices:/{group}/step_batch\n")
    (tree.cgroups / group / "devices.list").write_text(RULES)
    (tree.proc / "devices").write_text("Character devices:\n195 nvidia\n235 nvidia-caps\n")
    for instance, minor in (("gi3", 30), ("gi4", 39), ("gi5", 300)):
        folder = tree.proc / "driver/nvidia/capabilities/gpu0/mig" / instance
        folder.mkdir(parents=True)
        (folder / "access").write_text(f"DeviceFileMinor: {minor}\nDeviceFileMode: 292\n")
    assert reader.held() == {"7": ["minor:0.3", "minor:1"]}


@given(st.text(alphabet="abc195:3* rwm\n\xe9", max_size=60))
def test_any_rules(tmp_path_factory: pytest.TempPathFactory, content: str):
    folder = tmp_path_factory.getbasetemp() / "rules"
    folder.mkdir(exist_ok=True)
    (folder / "devices.list").write_text(content)
    devices = allowed(folder, folder)
    assert devices is None or all(d.startswith("minor:") for d in devices)
