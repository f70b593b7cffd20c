"""A folder of files as /proc has them of the processes of a simulation."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gpu_sentinel.simulator.simulation import Simulation
from gpu_sentinel.simulator.workers import Process

#: The machine has been up for so long when the simulation starts.
UPTIME = 86_400.0
#: Clock ticks a second, which are no setting of any machine (proc_pid_stat(5), USER_HZ).
TICKS = 100
#: The inode of the PID namespace of the host (include/linux/proc_ns.h, PROC_PID_INIT_INO).
_HOST_PIDS = "pid:[4026531836]"
_LONGEST_NAME = 15
_CONTAINER_ID = re.compile("[0-9a-f]{64}")
#: Fields of /proc/PID/stat between its state and its start time, and after that.
_BEFORE, _AFTER = 18, 30


@dataclass(frozen=True, slots=True)
class _Entry:
    process: Process
    started: float
    zombie: bool


class ProcTree:
    """Keeps `root` as /proc would be; whoever reads it meanwhile sees what /proc could show, too.

    A process appears whole, and vanishes while it is read.
    """

    def __init__(self, root: Path, simulation: Simulation, logs: Path | None = None) -> None:
        """Make the folder, which must not exist or be empty; `logs` is to be as /var/log."""
        self._root = root
        self._links = logs / "containers" if logs else None
        self._simulation = simulation
        self._written: dict[int, _Entry] = {}
        (root / "self" / "ns").mkdir(parents=True)
        (root / "self" / "ns" / "pid").symlink_to(_HOST_PIDS)
        (root / "self" / "status").write_text("Name:\tgpu-sentinel\nPid:\t1\nNSpid:\t1\n")
        (root / "self" / "stat").write_text(
            "1 (gpu-sentinel) S " + "0 " * (_BEFORE + _AFTER) + "0\n"
        )
        boot = simulation.epoch - UPTIME
        (root / "stat").write_text(f"cpu  0 0 0 0 0 0 0 0 0 0\nbtime {int(boot)}\n")
        (root / "uptime").write_text(f"{UPTIME:.2f} 0.00\n")
        self.update()

    def update(self) -> None:
        """Let processes come and go as they have in the simulation."""
        now = {
            pid: _Entry(worker.process, started, worker.zombie)
            for pid, (worker, started) in self._simulation.processes().items()
        }
        for pid, entry in list(self._written.items()):
            if now.get(pid) != entry:
                shutil.rmtree(self._root / str(pid))
                if link := self._link(self._written.pop(pid)):
                    link.unlink(missing_ok=True)
        for pid, entry in now.items():
            if pid not in self._written:
                self._write(entry)
                self._written[pid] = entry

    def _write(self, entry: _Entry) -> None:
        new = self._root / f".{entry.process.pid}"
        new.mkdir()
        for name, content in _files(entry).items():
            (new / name).write_bytes(content)
        new.rename(self._root / str(entry.process.pid))
        link = self._link(entry)
        if link and not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(self._root)

    def _link(self, entry: _Entry) -> Path | None:
        """What the kubelet makes for its container: only the name of it says anything."""
        found = _CONTAINER_ID.search(entry.process.cgroup)
        if self._links is None or found is None or not entry.process.container:
            return None
        return self._links / f"{entry.process.container}-{found[0]}.log"


def _files(entry: _Entry) -> Mapping[str, bytes]:
    process, state = entry.process, "Z" if entry.zombie else "S"
    name = process.name.encode(errors="surrogateescape")[:_LONGEST_NAME]
    ticks = round((UPTIME + entry.started) * TICKS)
    stat = b"%d (%b) %s " % (process.pid, name, state.encode())
    stat += b"0 " * _BEFORE + b"%d " % ticks + b"0 " * _AFTER
    readable = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    status = b"Name:\t%b\nState:\t%s\n" % (readable, state.encode())
    status += b"Tgid:\t%d\nPid:\t%d\nPPid:\t1\n" % (process.pid, process.pid)
    status += b"".join(
        b"%s:\t%b\n" % (k, b"\t".join([b"%d" % process.uid] * 4)) for k in (b"Uid", b"Gid")
    )
    status += b"NSpid:\t%d\n" % process.pid
    environ = (
        b""
        if entry.zombie
        else b"".join(
            f"{name}={value}\0".encode(errors="surrogateescape")
            for name, value in process.environ.items()
        )
    )
    return {
        "stat": stat.rstrip() + b"\n",
        "status": status,
        "comm": name + b"\n",
        "environ": environ,
        "cgroup": _cgroup(process.cgroup, zombie=entry.zombie).encode(errors="surrogateescape"),
    }


def _cgroup(text: str, *, zombie: bool) -> str:
    """As the kernel shows it of a zombie, whose job is gone (kernel/cgroup, proc_cgroup_show)."""
    lines = text.splitlines() if text[0] != "/" else [f"0::{text}"]
    shown = []
    for line in lines:
        if zombie and line.startswith("0::"):
            shown.append(f"{line} (deleted)")
        elif zombie:
            shown.append(f"{line.rpartition(':')[0]}:/")
        else:
            shown.append(line)
    return "\n".join(shown) + "\n"
