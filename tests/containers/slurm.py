"""A Slurm of the test's own on this machine: a controller and a node, without munge."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

CONFIGURATION = """\
ClusterName=sentinel
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/node.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/node.log
PluginDir={plugins}
ProctrackType=proctrack/cgroup
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=1
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1
PartitionName=p Nodes={node} Default=YES State=UP OverSubscribe=FORCE:8
"""
CGROUPS = """\
CgroupMountpoint=/sys/fs/cgroup
CgroupPlugin=cgroup/{version}
"""


class SlurmRefusedError(Exception):
    """This machine lets no Slurm run; the last lines of what it said."""


def programs() -> dict[str, str] | None:
    """The daemons, by what Debian calls them; None where one is missing."""
    names = {"slurmctld": "slurmctld-wlm", "slurmd": "slurmd-wlm", "slurmstepd": "slurmstepd-wlm"}
    found = {}
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    for name, of_debian in names.items():
        program = shutil.which(of_debian, path=path) or shutil.which(name, path=path)
        if program is None:
            return None
        found[name] = str(Path(program).resolve())
    return found


class Slurm:
    """Both daemons, with their files in a folder."""

    def __init__(self, folder: Path, controller: int, port: int) -> None:
        found = programs()
        assert found is not None
        self.programs = found
        self.folder = folder
        self.node = f"sentinel{port}"
        for name in ("state", "spool"):
            (folder / name).mkdir()
        # Also where Debian's packages are only unpacked.
        usr = Path(self.programs["slurmd"]).parents[1]
        plugins = next(usr.glob("lib/*/slurm-wlm"))
        version = "v1" if Path("/sys/fs/cgroup/freezer").exists() else "v2"
        host = socket.gethostname().partition(".")[0]
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host, controller=controller, port=port, node=self.node, folder=folder,
                plugins=plugins,
            )
        )  # fmt: skip
        (folder / "cgroup.conf").write_text(CGROUPS.format(version=version))
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "LD_LIBRARY_PATH": f"{plugins}:{plugins.parent}",
            "PATH": f"{usr / 'bin'}:{os.environ['PATH']}",
        }
        self.daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Both daemons, and wait for a node that takes jobs."""
        self._spawn("slurmctld", "-D", "-i")
        self._spawn("slurmd", "-D", "-N", self.node, "-d", self.programs["slurmstepd"])
        deadline = time.monotonic() + 60
        while (said := self._state()) != "idle":
            if time.monotonic() > deadline or any(d.poll() is not None for d in self.daemons):
                raise SlurmRefusedError(f"{said}: {self.log()}")
            time.sleep(0.2)

    def _spawn(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.out").open("wb")
        with log:
            self.daemons.append(
                subprocess.Popen(
                    [self.programs[name], *arguments],
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                )
            )

    def _state(self) -> str:
        asked = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"],
            env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return asked.stdout.strip() or asked.stderr.strip()

    def run(self, *command: str) -> str:
        """What a program of Slurm prints."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    def log(self) -> str:
        """The end of what the daemons said."""
        ends = []
        for name in ("slurmctld.out", "slurmd.out"):
            file = self.folder / name
            ends += file.read_text(errors="replace").splitlines()[-3:] if file.exists() else []
        return "; ".join(ends)

    def stop(self) -> None:
        """End all jobs and both daemons, and remove the node's cgroups."""
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        # A job's own daemon outlives these, and keeps its cgroups until its processes are gone.
        deadline = time.monotonic() + 60
        while (left := self._cgroups()) and time.monotonic() < deadline:
            for folder in left:
                self._end(folder)
            time.sleep(0.1)
        assert not left, f"not removed: {left}"

    def _cgroups(self) -> list[Path]:
        """What is there of this node, from the leaves."""
        tops = Path("/sys/fs/cgroup").glob(f"*/slurm_{self.node}")
        folders = [folder for top in tops for folder in (top, *top.rglob("*")) if folder.is_dir()]
        return sorted(folders, key=lambda folder: -len(folder.parts))

    @staticmethod
    def _end(folder: Path) -> None:
        with contextlib.suppress(OSError):
            for pid in (folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            folder.rmdir()
