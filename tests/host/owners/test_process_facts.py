"""What /proc tells, from files and from real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faketree import BOOT, HOST_PIDS, KERNEL_THREAD, OTHER_CGROUPS, OTHER_PIDS, Tree, stat_line
from hypothesis import example, given
from hypothesis import strategies as st

from gpu_sentinel.host.owners import procfs
from gpu_sentinel.host.owners.procfs import NAME_CHARACTERS, Proc, Status, parse_stat, parse_status
from gpu_sentinel.printable import safe

TICKS = os.sysconf("SC_CLK_TCK")


@given(st.integers(1, 2**22), st.binary(max_size=64), st.integers(0, 2**63))
@example(1, b"a) S 1 1 (b", 7)
@example(1, b"", 0)
@example(1, b"\xff\n\"'\\", 3)
def test_a_name_may_hold_anything(pid: int, name: bytes, start: int):
    found = parse_stat(stat_line(pid, name, start))
    assert found is not None
    assert (found.pid, found.start, found.kernel, found.zombie) == (pid, start, False, False)
    assert all(map(safe, found.name))
    assert len(found.name) <= NAME_CHARACTERS


@given(st.binary(max_size=300))
@example(b"1 (a) S " + b"x " * 40)
@example(b"1 (a) S 1")
@example(b"-1 (a) S " + b"1 " * 40)
@example(b"(" * 100 + b")" * 100)
def test_any_bytes_are_a_stat_or_none(content: bytes):
    found = parse_stat(content)
    assert found is None or (found.pid > 0 and found.start >= 0)


def test_zombies_and_threads_of_the_kernel_are_told():
    assert parse_stat(stat_line(2, b"kthreadd", 1, flags=KERNEL_THREAD)).kernel
    assert parse_stat(stat_line(9, b"a", 1, state="Z")).zombie


@given(st.binary(max_size=300))
def test_any_bytes_are_a_status(content: bytes):
    assert isinstance(parse_status(content), Status)


def test_a_status_says_whose_process_it_is():
    content = (
        b"Name:\tUid:\t9\nTgid:\t7\nUid:\t1000\t0\t0\t0\nGroups:\t"
        + b"1 " * 999
        + b"\nNSpid:\t7\t1\n"
    )
    assert parse_status(content) == Status(7, 1000, (7, 1))
    assert parse_status(b"Uid:\t\nUid:\tx\nNSpid:\tx y\n") == Status(None, None, ())


def test_a_process_in_files(tmp_path: Path):
    tree = Tree(tmp_path)
    tree.add(50, 250, b"train", uid=1000, cgroup=b"0::/a\xff\n")
    proc = Proc(tree.proc)
    facts = proc.facts(proc.stat(50))
    assert facts.started == BOOT + 250 / TICKS
    assert (facts.uid, facts.cgroup, facts.pids) == (1000, "0::/a\ufffd\n", (50, 1))
    assert proc.stat(51) is None


def test_a_path_that_is_cut_is_left_out(tmp_path: Path):
    tree = Tree(tmp_path)
    tree.add(50, 250, cgroup="1:cpu:/a\n0::/" + "b" * procfs.FILE_BYTES)
    proc = Proc(tree.proc)
    assert proc.facts(proc.stat(50)).cgroup == "1:cpu:/a"


@pytest.fixture
def swapped(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], None]], None]:
    """Does something behind the first read of a file."""

    def arrange(name: str, then: Callable[[], None]) -> None:
        real, done = procfs.read, []

        def read(path: str, most: int) -> bytes:
            content = real(path, most)
            if path.endswith(name) and not done:
                done.append(1)
                then()
            return content

        monkeypatch.setattr(procfs, "read", read)

    return arrange


@pytest.mark.parametrize("name", ["50/status", "50/cgroup"])
def test_a_pid_that_is_given_anew_between_two_reads(tmp_path: Path, swapped, name: str):
    tree = Tree(tmp_path)
    tree.add(50, 250, uid=1000, cgroup="0::/a\n")
    proc = Proc(tree.proc)
    stat = proc.stat(50)
    swapped(name, lambda: tree.add(50, 251, uid=2000, cgroup="0::/b\n"))
    assert proc.facts(stat) is None


@pytest.mark.parametrize("name", ["50/stat", "50/status", "50/cgroup"])
def test_a_process_that_vanishes_between_two_reads(tmp_path: Path, swapped, name: str):
    tree = Tree(tmp_path)
    tree.add(50, 250)
    proc = Proc(tree.proc)
    swapped(name, lambda: tree.remove(50))
    stat = proc.stat(50)
    assert proc.facts(stat) is None
    assert proc.environ(stat, 100) is None


def test_a_thread_is_no_process(tmp_path: Path):
    tree = Tree(tmp_path)
    tree.add(51, 250, group=50)
    proc = Proc(tree.proc)
    assert proc.facts(proc.stat(51)) is None


def test_a_uid_of_another_namespace_is_not_told(tmp_path: Path):
    tree = Tree(tmp_path)
    tree.add(50, 250, uid=65534)
    assert (facts := Proc(tree.proc)).facts(facts.stat(50)).uid == 65534
    (tree.proc / "self" / "uid_map").write_text("0 100000 65536\n")
    assert (facts := Proc(tree.proc)).facts(facts.stat(50)).uid is None


def test_the_machines_start_is_read_again_after_a_while(tmp_path: Path):
    tree, now = Tree(tmp_path), [0.0]
    tree.add(50, 0)
    proc = Proc(tree.proc, lambda: now[0])
    assert proc.facts(proc.stat(50)).started == BOOT
    (tree.proc / "stat").write_text(f"btime {BOOT + 5}\n")
    assert proc.facts(proc.stat(50)).started == BOOT
    now[0] = 61.0
    assert proc.facts(proc.stat(50)).started == BOOT + 5
    (tree.proc / "stat").write_text("intr 0\n")
    now[0] = 130.0
    assert proc.facts(proc.stat(50)) is None


# --- Which namespace this is --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "kernel", "itself", "visible"),
    [
        (HOST_PIDS, True, True, True),
        (HOST_PIDS, False, True, True),  # threads of the kernel hidden: hidepid=
        (HOST_PIDS, False, False, False),  # the /proc of a container
        (OTHER_PIDS, False, True, False),  # in a container
        (OTHER_PIDS, True, True, True),  # in a container, with the machine's /proc
    ],
)
def test_pids_are_believed_where_they_are_the_machines(
    tmp_path: Path, own: str, kernel: bool, itself: bool, visible: bool
):
    tree = Tree(tmp_path, pids=own)
    tree.add(2, 1, b"kthreadd", flags=KERNEL_THREAD if kernel else 0)
    if not itself:
        (tree.proc / "self" / "stat").unlink()
    assert procfs.pid_visible(tree.proc) is visible


def test_without_proc_nothing_is_visible(tmp_path: Path):
    assert not procfs.pid_visible(tmp_path)
    assert not Proc(tmp_path).readable
    assert not Proc(tmp_path).same_files


def test_files_are_the_machines_where_the_root_is(tmp_path: Path):
    tree = Tree(tmp_path, cgroups=OTHER_CGROUPS)
    assert procfs.shares_root(tree.proc)
    assert not Proc(tree.proc).whole_paths
    (tree.proc / "self" / "mountinfo").write_text("9 8 0:50 / / rw - overlay overlay rw\n")
    assert not procfs.shares_root(tree.proc)


# --- Real processes -----------------------------------------------------------------------------


@contextmanager
def sleeper(*before: str, **more: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*before, "sleep", "600"], **more)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_this_machine_shows_a_process_as_it_is():
    proc, before = Proc(), time.time()
    with sleeper() as process:
        stat = proc.stat(process.pid)
        facts = proc.facts(stat)
        assert abs(facts.started - before) < 5
        assert facts.uid == os.getuid()
        assert facts.cgroup == Path(f"/proc/{process.pid}/cgroup").read_text()
        assert facts.pids[0] == process.pid or not proc.visible
        assert proc.seconds(stat.start) <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert proc.stat(process.pid) is None
    assert proc.facts(stat) is None


NAMES = {
    b"a) S 1 (b": "a) S 1 (b",
    b"q\"'": "q\"'",
    b"x\ny": "x\\ny",
    b"\xff\xfe": "\ufffd\ufffd",
    b"\x1b[31m": "\\x1b[31m",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_real_name_with_anything_in_it(name: bytes):
    # PR_SET_NAME is 15; the name of the first thread is the process'.
    code = (
        f"import ctypes,sys;ctypes.CDLL(None).prctl(15,{name!r});print(flush=True);sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert Proc().stat(process.pid).name == NAMES[name]
        process.stdin.close()


def test_a_real_thread_is_no_process():
    started, done, number = threading.Event(), threading.Event(), []

    def wait() -> None:
        number.append(threading.get_native_id())
        started.set()
        done.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        started.wait()
        proc = Proc()
        stat = proc.stat(number[0])
        assert stat is not None
        assert proc.facts(stat) is None
    finally:
        done.set()
        thread.join()


def test_a_real_zombie_is_told(eventually: Callable[..., float]):
    process = subprocess.Popen(["true"])
    proc = Proc()
    eventually(lambda: proc.stat(process.pid).zombie, 10, "it has ended")
    process.wait()


def test_a_real_pid_that_is_given_anew():
    """The kernel is told which pid is next (CAP_CHECKPOINT_RESTORE)."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    proc = Proc()
    with sleeper() as first:
        old = proc.stat(first.pid)
    for _ in range(100):
        try:
            last.write_text(str(first.pid - 1))
        except OSError as error:
            pytest.skip(f"{last}: {error}")
        with sleeper() as second:
            if second.pid == first.pid:
                new = proc.stat(second.pid)
                if new.start == old.start:
                    continue  # within the same tick
                assert proc.facts(old) is None
                assert proc.facts(new) is not None
                return
    pytest.skip("other processes take the pid")


def test_a_real_namespace_of_pids():
    """A process in another namespace does not believe its pids."""
    code = "from gpu_sentinel.host.owners import procfs; print(procfs.pid_visible())"
    mount = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    inside = subprocess.run(mount, capture_output=True, text=True, check=False)
    if inside.returncode:
        pytest.skip(f"unshare: {inside.stderr.strip()}")
    assert inside.stdout.strip() == "False"
    bare = subprocess.run(mount[:3] + mount[4:], capture_output=True, text=True, check=True)
    # The /proc of the machine, still mounted: the pids are the machine's again.
    assert bare.stdout.strip() == str(procfs.pid_visible())
