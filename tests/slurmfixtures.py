"""A Slurm of the test's own: one slurmctld, and slurmd for two nodes, all on this host.

It needs neither munge nor a database, listens on loopback alone, and has its files in a temporary
folder. The GPUs are device nodes with the numbers that NVIDIA's have; there is no driver behind.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CGROUPS = Path("/sys/fs/cgroup")
SCRIPT = Path(__file__).parents[1] / "packaging" / "slurm" / "gpu-sentinel-jobs.sh"
#: Minor numbers of each node's GPUs, in the order of gres.conf: none is where its number says.
NODES = {"alpha": (3, 5, 7), "beta": (1, 0)}

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
PluginDir={plugins}
MailProg=/bin/true
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_min_interval=100000
KillWait=1
PrologFlags=Alloc
Prolog={root}/prolog
Epilog={root}/epilog
"""


@dataclass
class Slurm:
    """Its programs, files and processes.

    Attributes:
        mapping: the directory that prolog and epilog write, by node.
    """

    root: Path
    programs: Path
    plugins: Path
    eventually: Callable[..., float]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        # Unpacked and not installed, the programs do not find their own library.
        libraries = f"{self.plugins}:{self.plugins.parent}"
        return os.environ | {
            "SLURM_CONF": str(self.root / "slurm.conf"),
            "LD_LIBRARY_PATH": libraries,
        }

    def mapping(self, node: str) -> Path:
        return self.root / f"jobs.{node}"

    def configure(self, ports: list[int]) -> None:
        host = socket.gethostname().partition(".")[0]
        conf = CONF.format(host=host, port=ports[0], root=self.root, plugins=self.plugins)
        gres = ""
        for (node, minors), port in zip(NODES.items(), ports[1:], strict=True):
            conf += (
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
                f"CPUs={os.cpu_count()} RealMemory=500 Gres=gpu:{len(minors)}\n"
            )
            for minor in minors:
                os.mknod(self.root / f"nvidia{minor}", 0o600 | 0o020000, os.makedev(195, minor))
                gres += f"NodeName={node} Name=gpu File={self.root}/nvidia{minor}\n"
            (self.root / f"{node}.conf").write_text(
                f'directory={self.mapping(node)}\ngpus="{" ".join(map(str, minors))}"\n'
            )
        conf += "PartitionName=all Nodes=ALL Default=YES State=UP OverSubscribe=YES\n"
        (self.root / "slurm.conf").write_text(conf)
        (self.root / "gres.conf").write_text(gres)
        cgroup = "ConstrainDevices=yes\n"
        if (CGROUPS / "cgroup.controllers").exists():
            cgroup += "IgnoreSystemd=yes\n"
        (self.root / "cgroup.conf").write_text(cgroup)
        for name in ("prolog", "epilog"):
            path = self.root / name
            path.write_text(
                "#!/bin/sh\n"
                f'export GPU_SENTINEL_JOBS_CONF="{self.root}/$SLURMD_NODENAME.conf"\n'
                f'exec /bin/sh "{SCRIPT}" {name} 2>>"{self.root}/script.log"\n'
            )
            path.chmod(0o755)
        (self.root / "state").mkdir()

    def start(self) -> None:
        # Both ask their own name whether they are a daemon: as `slurmd-wlm`, which Debian calls
        # it, there are no GPUs.
        self._daemon("slurmctld", "-D", "-c")
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node, "-d", str(self.programs / "slurmstepd"))
        self.eventually(lambda: self.run("sinfo", "-h", "-o", "%T %D") == "idle 2", 30, "two nodes")

    def _daemon(self, name: str, *options: str) -> None:
        with (self.root / f"{name}{len(self.processes)}.out").open("wb") as out:
            self.processes.append(
                subprocess.Popen(
                    [self.programs / name, *options],
                    stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                    env=self.environment, cwd=self.root,
                )
            )  # fmt: skip

    def said(self) -> str:
        """What the daemons logged last."""
        logs = sorted([*self.root.glob("*.log"), *self.root.glob("*.out")])
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-600:]}" for log in logs)

    def run(self, program: str, *arguments: str) -> str:
        """What a program of Slurm's says."""
        path = self.programs / program
        if not path.exists():
            path = self.programs.parent / "bin" / program
        ended = [process.args for process in self.processes if process.poll() is not None]
        assert not ended, f"{ended} ended: {self.said()}"
        done = subprocess.run(
            [path, *arguments],
            env=self.environment, capture_output=True, text=True, timeout=60, check=False, cwd="/",
        )  # fmt: skip
        return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr.strip()}"

    def submit(self, script: str, *options: str) -> str:
        """The id of a job that runs a script of sh."""
        path = self.root / "job"
        path.write_text(f"#!/bin/sh\n{script}\n")
        fixed = ("--parsable", "--output=/dev/null", "--chdir=/", "--mem=0")
        job = self.run("sbatch", *fixed, *options, str(path))
        assert job.isdecimal(), job
        return job

    def state(self, job: str) -> str:
        return self.run("squeue", "-h", "-j", job, "-t", "all", "-o", "%T")

    def runs(self, job: str) -> None:
        self.eventually(lambda: self.state(job) == "RUNNING", 30, f"job {job} runs")

    def cancel(self, job: str) -> None:
        """Returns when it has left its nodes; of an array, all its tasks."""
        self.run("scancel", job)
        self.eventually(
            lambda: set(self.state(job).split()) <= {"CANCELLED", "COMPLETED"},
            60, f"job {job} is gone",
        )  # fmt: skip

    def cancel_all(self) -> None:
        for user in ("root", "nobody"):
            self.run("scancel", f"--user={user}", "--full")
            self.run("scancel", f"--user={user}", "--state=PENDING")
        self.eventually(lambda: self.run("squeue", "-h") == "", 60, "no jobs")

    def stop(self) -> None:
        """Ends the jobs before the daemons, whom they would outlive; removes what they leave."""
        if len(self.processes) > 1 and all(p.poll() is None for p in self.processes):
            with suppress(AssertionError):
                self.cancel_all()
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
        names = {f"slurm_{node}" for node in NODES} | {f"{n}_slurmstepd.scope" for n in NODES}
        for name in names:
            for left in [*CGROUPS.glob(f"*/{name}"), *CGROUPS.glob(f"*/*/{name}")]:
                for path in sorted(left.rglob("*"), key=lambda p: -len(p.parts)):
                    if path.is_dir():
                        with suppress(OSError):
                            path.rmdir()
                with suppress(OSError):
                    left.rmdir()


@pytest.fixture(scope="module")
def slurm(
    tool: Callable[..., str],
    free_port: Callable[[], int],
    eventually: Callable[..., float],
) -> Iterator[Slurm]:
    programs = Path(tool("slurmd")).parent
    tool("slurmctld")
    tool("sbatch")
    if os.geteuid() != 0:
        pytest.skip("jobs of several users are started by root alone")
    if not os.access(CGROUPS / "freezer", os.W_OK) and not os.access(
        CGROUPS / "cgroup.subtree_control", os.W_OK
    ):
        pytest.skip("this machine's control groups cannot be written")
    places = [programs.parent / "lib", Path("/usr/lib"), Path("/usr/lib64")]
    plugins = next((p for place in places for p in place.glob("**/select_cons_tres.so")), None)
    assert plugins is not None, "slurmd is there, its plugins are not"
    # Jobs of other users read their script here, so no folder above may be closed to them.
    root = Path(tempfile.mkdtemp(prefix="slurm-"))
    root.chmod(0o755)
    found = Slurm(root, programs, plugins.parent, eventually)
    try:
        found.configure([free_port() for _ in range(len(NODES) + 1)])
        found.start()
        yield found
    finally:
        found.stop()
        shutil.rmtree(root, ignore_errors=True)
