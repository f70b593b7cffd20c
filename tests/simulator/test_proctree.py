"""The /proc of a simulation has what the kernel shows of real processes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest

from gpu_sentinel.host.owners import Resolver
from gpu_sentinel.simulator import Simulation, load_scenario, scenario_names
from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.proctree import TICKS, ProcTree

JOB = "/system.slice/slurmstepd.scope/job_7/step_0/user/task_0"


@pytest.fixture
def simulation(machine) -> Simulation:
    return machine("h100-sxm", "h100-sxm", load=Load())


def status(folder: Path) -> Mapping[str, list[str]]:
    lines = (folder / "status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def fields(folder: Path) -> list[str]:
    """Those of stat from the state on."""
    return (folder / "stat").read_bytes().rpartition(b")")[2].decode().split()


def test_files_have_the_shape_of_real_ones(simulation: Simulation, tmp_path: Path):
    simulation.start_process(0, pid=10)
    ProcTree(tmp_path / "proc", simulation)
    ours, real = tmp_path / "proc" / "10", Path("/proc/self")
    assert len(fields(ours)) == len(fields(real))
    assert status(ours).keys() <= status(real).keys()
    for name in ("comm", "cgroup", "environ", "stat", "status"):
        assert (real / name).exists()
        assert (ours / name).exists()


def test_a_process_and_its_owner(simulation: Simulation, tmp_path: Path, clock):
    clock.now = 12.5
    environ = {"SLURM_JOB_ID": "7", "ODD": "a=b"}
    simulation.start_process(
        0, pid=10, name="train", user="alice", uid=1001, cgroup=JOB, environ=environ
    )
    ProcTree(tmp_path / "proc", simulation)
    folder = tmp_path / "proc" / "10"
    assert (folder / "comm").read_text() == "train\n"
    assert (folder / "cgroup").read_text() == f"0::{JOB}\n"
    assert (folder / "environ").read_bytes() == b"SLURM_JOB_ID=7\0ODD=a=b\0"
    assert status(folder)["Uid"] == ["1001"] * 4
    assert status(folder)["NSpid"] == ["10"]
    (boot,) = [
        int(line.split()[1])
        for line in (tmp_path / "proc" / "stat").read_text().splitlines()
        if line.startswith("btime")
    ]
    assert boot + int(fields(folder)[19]) / TICKS == simulation.epoch + 12.5


def test_it_is_the_hosts_pid_namespace(simulation: Simulation, tmp_path: Path):
    ProcTree(tmp_path / "proc", simulation)
    link = (tmp_path / "proc" / "self" / "ns" / "pid").readlink()
    assert str(link) == f"pid:[{0xEFFFFFFC}]"


def test_all_lines_of_version_1(simulation: Simulation, tmp_path: Path):
    text = "6:freezer:/slurm_vm/uid_0/job_2/step_batch\n1:name=systemd:/\n0::/\n"
    simulation.start_process(0, pid=10, cgroup=text)
    ProcTree(tmp_path / "proc", simulation)
    assert (tmp_path / "proc" / "10" / "cgroup").read_text() == text


def test_birth_death_and_a_number_that_is_used_again(simulation: Simulation, tmp_path: Path, clock):
    root = tmp_path / "proc"
    simulation.start_process(0, pid=10, name="first")
    simulation.start_process(1, pid=11)
    tree = ProcTree(root, simulation)
    started = fields(root / "10")[19]
    clock.now = 5.0
    simulation.end_process(1, 11)
    simulation.start_process(0, pid=10, name="second")
    tree.update()
    assert not (root / "11").exists()
    assert (root / "10" / "comm").read_text() == "second\n"
    assert int(fields(root / "10")[19]) - int(started) == 5 * TICKS


def test_a_zombie_of_a_job_that_is_gone(simulation: Simulation, tmp_path: Path):
    root = tmp_path / "proc"
    simulation.start_process(0, pid=10, cgroup=JOB, environ={"SLURM_JOB_ID": "7"})
    simulation.start_process(0, pid=11, cgroup=f"4:devices:{JOB}\n0::/\n")
    tree = ProcTree(root, simulation)
    for pid in (10, 11):
        simulation.end_process(0, pid, zombie=True)
    tree.update()
    assert fields(root / "10")[0] == "Z"
    assert (root / "10" / "environ").read_bytes() == b""
    assert (root / "10" / "cgroup").read_text() == f"0::{JOB} (deleted)\n"
    assert (root / "11" / "cgroup").read_text() == "4:devices:/\n0::/ (deleted)\n"


@pytest.mark.parametrize(
    ("name", "comm", "shown"),
    [
        ("a) S 1 (b", b"a) S 1 (b", "a) S 1 (b"),
        ("two\nlines\\", b"two\nlines\\", "two\\nlines\\\\"),
        ("\udcff\udcfe", b"\xff\xfe", None),
        ("x" * 99, b"x" * 15, "x" * 15),
    ],
)
def test_names_are_cut_and_written_as_the_kernel_does(
    simulation: Simulation, tmp_path: Path, name: str, comm: bytes, shown: str | None
):
    simulation.start_process(0, pid=10, name=name)
    ProcTree(tmp_path / "proc", simulation)
    folder = tmp_path / "proc" / "10"
    assert (folder / "comm").read_bytes() == comm + b"\n"
    assert (folder / "stat").read_bytes().startswith(b"10 (" + comm + b") S ")
    if shown is not None:
        assert (folder / "status").read_text().splitlines()[0] == f"Name:\t{shown}"


@pytest.mark.parametrize("scenario", scenario_names())
def test_processes_of_pods_have_the_names_of_who_holds_the_gpu(scenario: str, tmp_path: Path):
    """As on a node, where the kubelet tells both."""
    simulation = Simulation(load_scenario(scenario))
    ProcTree(tmp_path / "proc", simulation, tmp_path / "log")
    clock = itertools.count(step=60.0)  # the links are not listed for each process
    resolver = Resolver(tmp_path / "proc", tmp_path / "log", clock=lambda: float(next(clock)))
    pods = {
        found.owner.name
        for pid in simulation.processes()
        if (found := resolver.resolve(pid)) is not None and found.owner.kind == "pod"
    }
    holders = {a.owner.name for a in simulation.gpu_allocations() if a.owner.kind == "pod"}
    assert pods == holders
