"""What the kernel tells about a process, so that nothing is mixed of two that had the same pid.

Fields as in proc(5). A pid is given anew as soon as its process is reaped; the ticks at which a
process started tell the two apart, so these are read first and last.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpu_sentinel.printable import line

PROC = Path("/proc")

#: Bytes of a file of /proc. `status` has one line with all groups in front of `NSpid`.
STAT_BYTES, FILE_BYTES = 4 * 1024, 64 * 1024
#: Of a name, for labels.
NAME_CHARACTERS = 128
#: `PF_KTHREAD` of include/linux/sched.h: a thread of the kernel.
_KERNEL_THREAD = 0x00200000
#: The machine's own namespaces, include/linux/proc_ns.h: PROC_PID_INIT_INO, PROC_CGROUP_INIT_INO.
_FIRST_PIDS, _FIRST_CGROUPS = "pid:[4026531836]", "cgroup:[4026531835]"
#: Mapped in no user namespace: fs.overflowuid.
_UNMAPPED_UID = 65534
#: How long the time of the machine's start is believed; it moves as the clock is set.
_BOOT_LIFETIME = 60.0


@dataclass(frozen=True, slots=True)
class Stat:
    """What `/proc/PID/stat` says.

    Attributes:
        start: ticks from the machine's start to the process'.
        name: as the process calls itself, safe to be shown.
        zombie: it has ended, and its parent has not asked for its exit code.
        kernel: a thread of the kernel.
    """

    pid: int
    start: int
    name: str
    zombie: bool = False
    kernel: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a process without its environment.

    Attributes:
        started: Unix time.
        uid: the real one; None where this process' user namespace has no number for it.
        cgroup: the text of `/proc/PID/cgroup`.
        pids: its pid in each namespace that it is in, the one of this `/proc` first.
    """

    stat: Stat
    started: float
    uid: int | None
    cgroup: str
    pids: tuple[int, ...]


def clean(name: bytes | str) -> str:
    """A name from outside: valid, on one line, not endless."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return line(text[:NAME_CHARACTERS])[:NAME_CHARACTERS]


def parse_stat(content: bytes) -> Stat | None:
    """The fields of a `stat`; None where it is none. The name may hold blanks and brackets."""
    head, bracket, tail = content.rpartition(b")")
    number, opening, name = head.partition(b"(")
    fields = tail.split(None, 20)
    if not bracket or not opening or len(fields) < 20:
        return None
    try:
        pid, flags, start = int(number), int(fields[6]), int(fields[19])
    except ValueError:
        return None
    if pid <= 0 or start < 0:
        return None
    return Stat(pid, start, clean(name), fields[0] in b"ZXx", bool(flags & _KERNEL_THREAD))


@dataclass(frozen=True, slots=True)
class Status:
    """What `/proc/PID/status` says; what it does not say is None or empty.

    Attributes:
        group: the pid of the process, of which this is a thread where it has another number.
        uid: the real one.
        pids: the pid in each namespace, the one of this `/proc` first.
    """

    group: int | None
    uid: int | None
    pids: tuple[int, ...]


def parse_status(content: bytes) -> Status:
    """The lines of a `status` that are of use."""
    found: dict[bytes, tuple[int, ...]] = {}
    for row in content.split(b"\n"):
        key, _, values = row.partition(b":")
        if key in (b"Tgid", b"Uid", b"NSpid") and key not in found:
            try:
                found[key] = tuple(map(int, values.split()[:64]))
            except ValueError:
                continue
    group, uid = found.get(b"Tgid", ()), found.get(b"Uid", ())
    return Status(
        group[0] if group else None,
        uid[0] if uid and uid[0] >= 0 else None,
        found.get(b"NSpid", ()),
    )


def read(path: str, most: int) -> bytes:
    """The first bytes of a file of /proc.

    Raises:
        OSError: the process is gone, or it may not be read.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        parts = []
        while most > 0 and (part := os.read(number, most)):
            parts.append(part)
            most -= len(part)
        return b"".join(parts)
    finally:
        os.close(number)


class Proc:
    """A `/proc`."""

    def __init__(self, root: Path = PROC, clock: Callable[[], float] = time.monotonic) -> None:
        """Look at what does not change.

        Args:
            root: where it is mounted.
            clock: monotonic seconds.
        """
        self._root = str(root)
        self._clock = clock
        self._booted: tuple[float, float] | None = None
        self._ticks = float(os.sysconf("SC_CLK_TCK"))
        #: The pids here are the machine's, which the driver tells.
        self.visible = pid_visible(root)
        #: The paths of cgroups begin at the machine's root, not at that of a container.
        self.whole_paths = _link(root, "cgroup") in ("", _FIRST_CGROUPS)
        #: Users have the same numbers and names here as on the machine.
        self.whole_uids = _all_uids(root)
        self.same_files = shares_root(root)

    @property
    def readable(self) -> bool:
        """Whether it is mounted."""
        return self._content("self/stat", STAT_BYTES) is not None

    def stat(self, pid: int) -> Stat | None:
        """One read; None where there is no such process."""
        content = self._content(f"{pid}/stat", STAT_BYTES)
        stat = parse_stat(content) if content is not None else None
        return stat if stat is not None and stat.pid == pid else None

    def facts(self, stat: Stat) -> Facts | None:
        """More about a process; None where it is gone meanwhile, or its pid is another's."""
        status = self._content(f"{stat.pid}/status", FILE_BYTES)
        cgroup = self._content(f"{stat.pid}/cgroup", FILE_BYTES)
        try:
            started = self._boot() + self.seconds(stat.start)
        except (OSError, ValueError):
            return None
        if status is None or not self.still(stat):
            return None
        told = parse_status(status)
        # Threads have numbers of the same kind, and a folder, too.
        if told.group not in (None, stat.pid):
            return None
        uid = None if told.uid == _UNMAPPED_UID and not self.whole_uids else told.uid
        text = b"" if cgroup is None else cgroup
        if len(text) >= FILE_BYTES:
            text = text.rpartition(b"\n")[0]  # a path that is cut may be another's
        return Facts(stat, started, uid, text.decode("utf-8", "replace"), told.pids)

    def still(self, stat: Stat) -> bool:
        """Whether the process is there and has been all the time."""
        now = self.stat(stat.pid)
        return now is not None and now.start == stat.start

    def seconds(self, start: int) -> float:
        """Seconds from the machine's start to that of a process, as of CLOCK_BOOTTIME."""
        return start / self._ticks

    def environ(self, stat: Stat, most: int) -> bytes | None:
        """The environment that a process was started with, as far as it may be read.

        Raises:
            PermissionError: it may not.
        """
        try:
            content = read(f"{self._root}/{stat.pid}/environ", most)
        except PermissionError:
            raise
        except OSError:
            return None
        return content if self.still(stat) else None

    def _content(self, name: str, most: int) -> bytes | None:
        try:
            return read(f"{self._root}/{name}", most)
        except OSError:
            return None

    def _boot(self) -> float:
        now = self._clock()
        if self._booted is None or now - self._booted[0] > _BOOT_LIFETIME:
            self._booted = now, boot_time(self._root)
        return self._booted[1]


def boot_time(root: str) -> float:
    """Unix time of the machine's start; whole seconds.

    Raises:
        OSError: no `/proc`.
        ValueError: it does not say.
    """
    # Behind a line with a number for each interrupt, which is long on large machines.
    with open(f"{root}/stat", "rb") as file:  # noqa: PTH123 - a path in pieces
        for row in file:
            if row.startswith(b"btime "):
                return float(int(row[6:]))
    raise ValueError("no btime")


def pid_visible(root: Path = PROC) -> bool:
    """Whether the pids of a `/proc` are those of the machine.

    The driver knows no namespaces and tells the machine's pids. In a container that has its own,
    the same number is another process.
    """
    try:
        if _link(root, "pid") == _FIRST_PIDS:
            # Another namespace's /proc has no `self` for who is not in it.
            return parse_stat(read(f"{root}/self/stat", STAT_BYTES)) is not None
        # The machine's /proc, mounted in a container: threads of the kernel are nowhere else.
        stat = parse_stat(read(f"{root}/2/stat", STAT_BYTES))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ESRCH, errno.ENOTDIR):
            raise
        return False
    return stat is not None and stat.kernel


def shares_root(root: Path = PROC) -> bool:
    """Whether the files here are those of the machine, so that its users have their names.

    Compares what pid 1 and this process have mounted at `/`: a service with a namespace of its
    own has the same file system there, a container another one.
    """
    try:
        first, own = (_root_mount(read(f"{root}/{pid}/mountinfo", 1 << 20)) for pid in (1, "self"))
    except OSError:
        return False
    return first is not None and first == own


def _root_mount(content: bytes) -> tuple[bytes, bytes] | None:
    """Device and folder of what is mounted at `/` last: fields 3 and 4 of proc_pid_mountinfo(5)."""
    found = None
    for row in content.split(b"\n"):
        fields = row.split(b" ", 5)
        if len(fields) == 6 and fields[4] == b"/":
            found = fields[2], fields[3]
    return found


def _all_uids(root: Path) -> bool:
    try:
        return read(f"{root}/self/uid_map", 4096).split() == [b"0", b"0", b"4294967295"]
    except OSError:
        return True  # a kernel without user namespaces


def _link(root: Path, namespace: str) -> str:
    try:
        return str((root / "self" / "ns" / namespace).readlink())
    except OSError:
        return ""
