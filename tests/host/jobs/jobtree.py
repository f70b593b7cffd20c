"""Trees of files like /sys/fs/cgroup and /proc, with Slurm's jobs in them."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path


class Tree:
    """Both trees. A process is of the job in whose group it is; its environment says so too."""

    def __init__(self, root: Path) -> None:
        self.cgroups = root / "cgroup"
        self.proc = root / "proc"
        for folder in (self.cgroups, self.proc):
            folder.mkdir()
        self._pids = count(1000)

    def group(self, path: str) -> Path:
        folder = self.cgroups / path
        for part in (folder, *folder.parents):
            if part == self.cgroups:
                break
            part.mkdir(parents=True, exist_ok=True)
            if not (part / "cgroup.procs").exists():
                (part / "cgroup.procs").write_text("")
        return folder

    def process(self, path: str, environ: dict[str, str] | bytes | None, line: str = "") -> int:
        """A process in a group; `line` is its cgroup, as /proc has it, where that is another."""
        pid = next(self._pids)
        with (self.group(path) / "cgroup.procs").open("a") as file:
            file.write(f"{pid}\n")
        folder = self.proc / str(pid)
        folder.mkdir()
        (folder / "cgroup").write_text(line or f"0::/{path}\n")
        if environ is not None:
            content = environ if isinstance(environ, bytes) else as_bytes(environ)
            (folder / "environ").write_bytes(content)
        return pid

    def end(self, pid: int) -> None:
        shutil.rmtree(self.proc / str(pid))
        for file in self.cgroups.rglob("cgroup.procs"):
            lines = [line for line in file.read_text().splitlines() if line != str(pid)]
            file.write_text("".join(f"{line}\n" for line in lines))

    def remove(self, path: str) -> None:
        shutil.rmtree(self.cgroups / path)


def as_bytes(environ: dict[str, str]) -> bytes:
    return b"".join(f"{k}={v}".encode() + b"\0" for k, v in environ.items())


def told(job: int, gpus: str = "", **more: str) -> dict[str, str]:
    """What Slurm tells the processes of a job that has one node."""
    environ = {"PATH": "/bin", "SLURM_JOB_ID": str(job), "SLURM_JOB_NUM_NODES": "1", **more}
    return environ | ({"SLURM_JOB_GPUS": gpus} if gpus else {})
