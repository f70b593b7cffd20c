"""The script for Slurm's prolog and epilog, in the shells that may be /bin/sh."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gpu_sentinel.host.jobs.mapping import MappingDirectory

SCRIPT = Path(__file__).parents[3] / "packaging" / "slurm" / "gpu-sentinel-jobs.sh"
SHELLS = [
    shell for shell in (("dash",), ("bash", "--posix"), ("busybox", "sh")) if shutil.which(shell[0])
]
UUIDS = ("GPU-11111111-2222-3333-4444-555555555555", "MIG-66666666-7777-5888-9999-000000000000")


class Node:
    """A directory of mappings and a /proc of the driver, and the script with its settings."""

    def __init__(self, root: Path, shell: tuple[str, ...]) -> None:
        self.root = root
        self.shell = shell
        self.directory = root / "run" / "jobs"
        self.conf = root / "conf"
        self.driver = root / "proc" / "driver" / "nvidia"
        self.settings()

    def settings(self, **more: str) -> None:
        given = {"directory": self.directory, "proc": self.root / "proc", **more}
        self.conf.write_text("".join(f'{k}="{v}"\n' for k, v in given.items()))

    def gpus(self, *minors: int) -> None:
        for place, minor in enumerate(minors):
            folder = self.driver / "gpus" / f"0000:{place + 1:02x}:00.0"
            folder.mkdir(parents=True)
            (folder / "information").write_text(f"Model: \t\t NVIDIA\nDevice Minor: \t {minor}\n")

    def run(self, which: str, job: str, gpus: str = "", **more: str) -> str:
        """What it complains of."""
        environ = {"SLURM_JOB_ID": job, "GPU_SENTINEL_JOBS_CONF": str(self.conf), **more}
        if gpus:
            environ["SLURM_JOB_GPUS"] = gpus
        # No PATH, as of slurmd.
        shell = shutil.which(self.shell[0])
        assert shell
        done = subprocess.run(
            [shell, *self.shell[1:], str(SCRIPT), which],
            env=environ, capture_output=True, text=True, timeout=60, check=False, cwd="/",
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "")
        return done.stderr

    def files(self) -> dict[str, str]:
        found = {path.name: path.read_text() for path in self.directory.iterdir()}
        assert found.pop(".lock", "") == ""
        return found


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    return Node(tmp_path, request.param)


def test_job_comes_and_goes(node: Node):
    node.gpus(0, 1, 2)
    more = {"SLURM_JOB_USER": "alice", "SLURM_JOB_ACCOUNT": "physics"}
    assert node.run("prolog", "12", "0,2", **more) == ""
    line = "job=12 user=alice account=physics\n"
    assert node.files() == {"0": line, "2": line}
    assert (node.directory / "0").stat().st_mode & 0o777 == 0o644
    reader = MappingDirectory(node.directory, lambda: 0.0, lambda: 0.0)
    assert [(a.device, a.owner.name, a.owner.user) for a in reader.allocations()] == [
        ("0", "12", "alice"),
        ("2", "12", "alice"),
    ]
    # The epilog may be told nothing of the GPUs.
    assert node.run("epilog", "12") == ""
    assert node.files() == {}


def test_jobs_that_share_a_gpu(node: Node):
    node.gpus(0, 1)
    for job in ("1", "12", "2"):
        node.run("prolog", job, "0")
    node.run("prolog", "12", "0")  # again: its first step came before its allocation was told
    assert node.files() == {"0": "job=1\njob=2\njob=12\n"}
    node.run("epilog", "1", "0")
    assert node.files() == {"0": "job=2\njob=12\n"}
    node.run("epilog", "3", "0")
    assert node.files() == {"0": "job=2\njob=12\n"}


def test_lines_for_dcgm_exporter(node: Node):
    node.gpus(0)
    node.settings(lines="plain")
    node.run("prolog", "12", "0", SLURM_JOB_USER="alice")
    node.run("prolog", "1e1", "0")
    node.run("prolog", "10", "0")
    assert node.files() == {"0": "12\n1e1\n10\n"}  # text, and no numbers
    node.run("epilog", "10", "0")
    assert node.files() == {"0": "12\n1e1\n"}


def test_uuids_say_it_best(node: Node):
    node.run("prolog", "12", "0,1", CUDA_VISIBLE_DEVICES=",".join(UUIDS))
    assert node.files() == dict.fromkeys(UUIDS, "job=12\n")
    node.run("epilog", "12")
    assert node.files() == {}


def test_mig_devices_of_old_drivers_are_not_taken_for_gpus(node: Node):
    node.gpus(0)
    old = f"MIG-{UUIDS[0]}/1/0"
    assert f"not a GPU: {old}" in node.run("prolog", "12", "0", CUDA_VISIBLE_DEVICES=old)
    assert node.files() == {}


@pytest.mark.parametrize("minors", [(), (1, 0), (0, 2), (3, 5, 7)])
def test_numbers_of_an_order_that_is_not_certain(node: Node, minors: tuple[int, ...]):
    node.gpus(*minors)
    assert "set gpus=" in node.run("prolog", "12", "0,1", CUDA_VISIBLE_DEVICES="0,1")
    assert node.files() == {}


def test_numbers_of_a_node_with_mig(node: Node):
    node.gpus(0, 1)
    (node.driver / "capabilities" / "gpu1" / "mig" / "gi3").mkdir(parents=True)
    assert "set gpus=" in node.run("prolog", "12", "0")
    assert node.files() == {}


def test_order_that_is_given(node: Node):
    node.settings(gpus=f"3 5.2 {UUIDS[0]}")
    assert node.run("prolog", "12", "0,1,2", CUDA_VISIBLE_DEVICES=UUIDS[1]) == ""
    assert node.files() == dict.fromkeys(("3", "5.2", UUIDS[0]), "job=12\n")
    said = node.run("prolog", "13", "3,0,x,-1")
    assert all(f"GPU {n} is not in gpus=" in said for n in ("3", "x", "-1"))
    assert node.files()["3"] == "job=12\njob=13\n"
    node.run("epilog", "12")
    assert node.files() == {"3": "job=13\n"}


def test_job_without_gpus(node: Node):
    assert node.run("prolog", "12") == ""
    assert node.run("epilog", "12") == ""
    assert node.files() == {}


@pytest.mark.parametrize(
    "gpus", ["../0", "*", "0 1/2", "0,", "NoDevFiles", "$(touch x)", "-n", "1.2.3"]
)
def test_numbers_that_are_no_gpu(node: Node, gpus: str):
    node.gpus(0)
    node.run("prolog", "12", gpus)
    assert set(node.files()) <= {"0"}
    assert not (node.directory.parent / "0").exists()


@pytest.mark.parametrize("job", ["", "1 2", "a\nb", "x" * 129, "1;2", '"'])
def test_id_that_is_no_job(node: Node, job: str):
    node.gpus(0)
    assert "is no job" in node.run("prolog", job, "0")
    assert not node.directory.exists()


def test_user_that_is_no_word_is_left_out(node: Node):
    node.gpus(0)
    node.run("prolog", "12", "0", SLURM_JOB_USER="a b", SLURM_JOB_ACCOUNT="x\njob=13")
    assert node.files() == {"0": "job=12\n"}


def test_what_strangers_left_in_the_directory(node: Node, tmp_path: Path):
    node.gpus(0, 1, 2)
    node.directory.mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.write_text("12\n13\n")
    (node.directory / "0").symlink_to(secret)
    (node.directory / "1").mkdir()
    (node.directory / "README").write_text("job=12\n")
    assert "1 is a directory" in node.run("prolog", "12", "0,1,2")
    assert secret.read_text() == "12\n13\n"
    assert (node.directory / "0").read_text() == (node.directory / "2").read_text() == "job=12\n"
    node.run("epilog", "12")
    assert sorted(p.name for p in node.directory.iterdir() if p.name != ".lock") == ["1", "README"]
    assert list((node.directory / "1").iterdir()) == []


def test_directory_that_is_a_file(node: Node, tmp_path: Path):
    (tmp_path / "file").write_text("")
    node.settings(directory=str(tmp_path / "file" / "jobs"))
    assert "cannot use" in node.run("prolog", "12", "0")


def test_unknown_name(node: Node):
    assert "gpu-sentinel-prolog or gpu-sentinel-epilog" in node.run("start", "12", "0")


def test_jobs_that_start_and_end_at_once(node: Node):
    """Nobody's line is lost, and a reader never sees half of a file."""
    node.gpus(0)
    jobs = [str(1000 + n) for n in range(12)]
    node.run("prolog", "1", "0")
    clock = iter(range(10**9))
    with ThreadPoolExecutor(4) as pool:
        started = [pool.submit(node.run, "prolog", job, "0") for job in jobs]
        reader = MappingDirectory(node.directory, lambda: 10.0 * next(clock), lambda: 0.0)
        while not all(future.done() for future in started):
            names = [found.owner.name for found in reader.allocations()]
            assert names[0] == "1"
            assert set(names) <= {"1", *jobs}
        assert [future.result() for future in started] == [""] * len(jobs)
        assert sorted(node.files()["0"].split()) == sorted(f"job={job}" for job in ("1", *jobs))
        list(pool.map(lambda job: node.run("epilog", job), jobs))
    assert node.files() == {"0": "job=1\n"}


def test_named_by_a_link(node: Node, tmp_path: Path):
    """As slurm.conf names it: without an argument."""
    node.gpus(0)
    link = tmp_path / "gpu-sentinel-prolog"
    link.symlink_to(SCRIPT)
    environ = {"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "0"}
    environ["GPU_SENTINEL_JOBS_CONF"] = str(node.conf)
    subprocess.run([link], env=environ, check=True, timeout=60)
    assert node.files() == {"0": "job=12\n"}


def test_shellcheck(tool: Callable[..., str]):
    command = [tool("shellcheck"), "--shell=sh", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""
