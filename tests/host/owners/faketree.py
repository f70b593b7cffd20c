"""A `/proc` and a `/var/log` made of files: for version 2 of cgroups, pods and bad luck."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

HOST_PIDS, OTHER_PIDS = "pid:[4026531836]", "pid:[4026532201]"
HOST_CGROUPS, OTHER_CGROUPS = "cgroup:[4026531835]", "cgroup:[4026532203]"
BOOT = 1_700_000_000
KERNEL_THREAD = 0x00200000


def stat_line(
    pid: int, name: bytes, start: int, *, state: str = "S", flags: int = 0x400000
) -> bytes:
    """As fs/proc/array.c writes it; fields that nobody reads are 0."""
    before = f" {state} 1 {pid} {pid} 0 -1 {flags} " + "0 " * 8 + "20 0 1 0 "
    return (
        f"{pid} (".encode() + name + b")" + f"{before}{start} 0 0 ".encode() + b"0 " * 28 + b"0\n"
    )


class Tree:
    """Processes that come and go; this process is `self`."""

    def __init__(self, root: Path, pids: str = HOST_PIDS, cgroups: str = HOST_CGROUPS) -> None:
        self.proc = root / "proc"
        self.logs = root / "log"
        own = self.proc / "self"
        (own / "ns").mkdir(parents=True)
        (own / "ns" / "pid").symlink_to(pids)
        (own / "ns" / "cgroup").symlink_to(cgroups)
        (own / "stat").write_bytes(stat_line(999, b"exporter", 5))
        (own / "uid_map").write_text("         0          0 4294967295\n")
        (own / "mountinfo").write_text(ROOT_MOUNT)
        (self.proc / "stat").write_text(f"cpu 1 2 3\nintr 1 2\nctxt 1\nbtime {BOOT}\n")
        self.add(1, 1, b"systemd", cgroup="0::/init.scope\n")
        (self.proc / "1" / "mountinfo").write_text(ROOT_MOUNT)

    def add(
        self,
        pid: int,
        start: int,
        name: bytes = b"python",
        *,
        uid: int = 0,
        cgroup: str | bytes = "0::/\n",
        environ: bytes = b"",
        state: str = "S",
        flags: int = 0x400000,
        group: int | None = None,
    ) -> None:
        folder = self.proc / str(pid)
        folder.mkdir(exist_ok=True)
        (folder / "stat").write_bytes(stat_line(pid, name, start, state=state, flags=flags))
        (folder / "status").write_text(
            f"Name:\tx\nTgid:\t{group or pid}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nNSpid:\t{pid}\t1\n"
        )
        text = cgroup.encode() if isinstance(cgroup, str) else cgroup
        (folder / "cgroup").write_bytes(text)
        (folder / "environ").write_bytes(environ)

    def remove(self, pid: int) -> None:
        shutil.rmtree(self.proc / str(pid))

    def link(self, pod: str, namespace: str, container: str, number: str) -> None:
        folder = self.logs / "containers"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{pod}_{namespace}_{container}-{number}.log").symlink_to("/var/log/pods/x/0.log")

    def pod(self, namespace: str, pod: str, uid: str) -> None:
        (self.logs / "pods" / f"{namespace}_{pod}_{uid}").mkdir(parents=True)


ROOT_MOUNT = "1 1 0:2 / / rw - rootfs rootfs rw\n25 1 259:1 / / rw,relatime - ext4 /dev/sda1 rw\n"


def environment(variables: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(f"{name}={value}\0".encode() for name, value in variables)
