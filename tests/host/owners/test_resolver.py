"""What a look costs, and that nobody gets another one's owner through births and deaths."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from faketree import BOOT
from filesworld import JOB, KUBE, LOGIN, SLURM, TICKS, World
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gpu_sentinel.host.owners import memory, procfs
from gpu_sentinel.host.owners.memory import LIFETIME
from gpu_sentinel.host.owners.resolver import AGAIN, SLACK, SOON, Resolver


def test_a_known_process_costs_one_read_a_look(world: World, reads: list[str]):
    world.tree.add(50, 100, cgroup=LOGIN)
    first = world.resolver.resolve(50)
    reads.clear()
    for _ in range(int(AGAIN) - 1):
        world.now += 1.0
        assert world.resolver.resolve(50) is first
    assert reads == ["50/stat"] * (int(AGAIN) - 1)


def test_a_process_that_is_moved_is_seen_within_a_minute(world: World):
    world.tree.add(50, 100, cgroup=LOGIN)
    assert world.owner(50).kind == "user"
    world.tree.add(50, 100, cgroup="0::/system.slice/a.service\n")
    assert world.owner(50).kind == "user"
    world.now += AGAIN
    assert world.owner(50).kind == "unit"


def test_a_process_that_has_just_started_is_looked_at_again_soon(world: World):
    world.tree.add(50, int(world.now * TICKS), cgroup="0::/system.slice/slurmd.service\n")
    assert world.owner(50).kind == "unit"
    world.tree.add(50, int(world.now * TICKS), cgroup=SLURM)
    world.now += SOON
    assert world.owner(50).kind == "slurm_job"


def test_another_name_is_seen_at_once_and_costs_nothing_more(world: World, reads: list[str]):
    world.tree.add(50, 100, b"bash", cgroup=LOGIN)
    assert world.resolver.resolve(50).name == "bash"
    world.tree.add(50, 100, b"python", cgroup=LOGIN)
    reads.clear()
    assert world.resolver.resolve(50).name == "python"
    assert reads == ["50/stat"]


def test_the_start_does_not_move_with_the_clock(world: World):
    world.tree.add(50, 100, cgroup=LOGIN)
    started = world.resolver.resolve(50).started
    (world.tree.proc / "stat").write_text(f"btime {BOOT + 3}\n")
    world.now += 2 * AGAIN
    assert world.resolver.resolve(50).started == started == BOOT + 100 / TICKS


def test_of_thousands_of_processes_so_many_are_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory, "MOST", 20)
    for pid in range(100, 160):
        world.tree.add(pid, pid)
        assert world.resolver.resolve(pid)
    assert len(world.resolver._memory) == 20
    for pid in range(100, 160):
        world.tree.remove(pid)
        assert world.resolver.resolve(pid) is None
        assert len(world.resolver._memory) <= 40


def test_what_nobody_asks_for_is_forgotten(world: World):
    for pid in (50, 51):
        world.tree.add(pid, 100)
        world.resolver.resolve(pid)
    world.tree.remove(50)
    for _ in range(10):
        world.now += LIFETIME / 5
        world.resolver.resolve(51)
    assert len(world.resolver._memory) == 1


# --- Births and deaths --------------------------------------------------------------------------


def test_a_pid_that_is_given_anew_is_another_process(world: World):
    world.tree.add(50, 100, cgroup=LOGIN)
    assert world.owner(50).kind == "user"
    world.tree.add(50, 101, cgroup="0::/system.slice/a.service\n")
    assert world.owner(50).kind == "unit"


def test_a_process_that_started_after_the_driver_was_asked_is_another_one(world: World):
    world.tree.add(50, 100 * int(TICKS))
    assert world.resolver.resolve(50, listed=99.9) is None
    assert world.resolver.resolve(50, listed=100.0) is not None
    assert world.resolver.resolve(50, listed=99.9) is None


@pytest.mark.parametrize("at", ["50/stat", "50/status", "50/cgroup", "50/environ"])
@pytest.mark.parametrize("what", ["vanishes", "is another"])
def test_a_pid_that_changes_hands_within_one_look(
    world: World, monkeypatch: pytest.MonkeyPatch, at: str, what: str
):
    world.tree.add(50, 100, cgroup=SLURM, uid=1000, environ=JOB)
    real, done = procfs.read, []

    def read(path: str, most: int) -> bytes:
        content = real(path, most)
        if path.endswith(at) and not done:
            done.append(1)
            world.tree.remove(50)
            if what == "is another":
                world.tree.add(50, 101, cgroup=LOGIN)
        return content

    monkeypatch.setattr(procfs, "read", read)
    assert world.resolver.resolve(50) is None
    assert done
    assert (world.resolver.resolve(50) is not None) is (what == "is another")


@pytest.mark.parametrize("known", [True, False])
def test_a_process_that_ends_within_one_look(
    world: World, monkeypatch: pytest.MonkeyPatch, known: bool
):
    """In version 1 its cgroup is `/` from then on."""
    cgroup = "6:freezer:/slurm/uid_1000/job_7/step_0\n0::/\n"
    world.tree.add(50, 100, cgroup=cgroup, uid=1000)
    if known:
        assert world.owner(50).kind == "slurm_job"
        world.now += AGAIN
    real = procfs.read

    def read(path: str, most: int) -> bytes:
        if path.endswith("50/cgroup"):
            world.tree.add(50, 100, cgroup="6:freezer:/\n0::/\n", uid=1000, state="Z")
        return real(path, most)

    monkeypatch.setattr(procfs, "read", read)
    assert world.owner(50).kind == ("slurm_job" if known else "none")


def test_a_zombie_keeps_its_owner(world: World):
    world.tree.add(50, 100, cgroup="6:freezer:/slurm/uid_1000/job_7/step_0\n", uid=1000)
    owner = world.owner(50)
    world.tree.add(50, 100, cgroup="6:freezer:/\n", uid=1000, state="Z")
    world.now += 5 * AGAIN
    assert world.owner(50) == owner


# --- Who it was ---------------------------------------------------------------------------------


def test_a_process_that_is_gone_is_known_for_some_minutes(world: World):
    world.tree.add(50, 100, cgroup=LOGIN)
    process = world.resolver.resolve(50)
    world.tree.remove(50)
    end = BOOT + world.now
    assert world.resolver.resolve(50) is None
    world.now += LIFETIME
    assert world.resolver.recent(50, end) == process
    assert world.resolver.recent(50, process.started - SLACK - 1) is None
    assert world.resolver.recent(50, end + SLACK + 1) is None
    world.now += 1.0
    assert world.resolver.recent(50, end) is None


def test_a_line_about_who_had_a_pid_before(world: World):
    world.tree.add(50, 100, cgroup=LOGIN)
    old = world.resolver.resolve(50)
    seen = BOOT + world.now
    world.now += 60.0
    world.tree.add(50, int(world.now * TICKS), cgroup="0::/system.slice/a.service\n")
    world.now += 10.0
    assert world.resolver.recent(50, seen) == old
    assert world.resolver.recent(50, BOOT + world.now).owner.kind == "unit"
    # Between the two: the one had just ended, the other just started.
    assert world.resolver.recent(50, BOOT + world.now - 10.0) is None


def test_a_line_about_a_process_that_was_never_looked_at(world: World):
    world.tree.add(50, 100, cgroup=LOGIN)
    assert world.resolver.recent(50, BOOT + world.now).owner.kind == "user"
    assert world.resolver.recent(51, BOOT + world.now) is None
    # It is younger than the line: whom that is about, nobody knows.
    world.tree.add(52, int(world.now * TICKS), cgroup=LOGIN)
    assert world.resolver.recent(52, BOOT + world.now - 60.0) is None


def test_a_process_that_could_not_be_read_for_a_moment_is_one_process(world: World):
    world.tree.add(50, 100, cgroup=LOGIN)
    world.resolver.resolve(50)
    world.tree.remove(50)
    world.resolver.resolve(50)
    world.tree.add(50, 100, cgroup=LOGIN)
    assert world.resolver.recent(50, BOOT + world.now) is not None


# --- Anything -----------------------------------------------------------------------------------

CGROUPS = st.sampled_from([LOGIN, KUBE, SLURM, "0::/system.slice/a.service\n", "0::/\n"])
KIND = {LOGIN: "user", KUBE: "pod", SLURM: "slurm_job", "0::/\n": "user"}


class Births(RuleBasedStateMachine):
    """Processes come, go, and take each other's pids; nobody ever gets another one's owner."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name))
        self.alive: dict[int, str] = {}
        self.start = 100

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(pid=st.integers(50, 54), cgroup=CGROUPS)
    def born(self, pid: int, cgroup: str) -> None:
        self.start += 1
        self.world.tree.add(pid, self.start, cgroup=cgroup)
        self.alive[pid] = cgroup

    @rule(pid=st.integers(50, 54))
    def dies(self, pid: int) -> None:
        if self.alive.pop(pid, None) is not None:
            self.world.tree.remove(pid)

    @rule(seconds=st.sampled_from([0.1, 1.0, 30.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(pid=st.integers(50, 54))
    def looks(self, pid: int) -> None:
        found = self.world.resolver.resolve(pid)
        assert (found is not None) is (pid in self.alive)
        if found is not None:
            assert found.owner.kind == KIND.get(self.alive[pid], "unit")

    @invariant()
    def bounded(self) -> None:
        assert len(self.world.resolver._memory) <= 10


TestBirths = Births.TestCase
TestBirths.settings = settings(stateful_step_count=20)


# --- This machine -------------------------------------------------------------------------------


def test_this_process_is_found_on_this_machine():
    resolver = Resolver()
    if not resolver.visible:
        pytest.skip("a namespace of pids of its own")
    found = resolver.resolve(os.getpid(), time.clock_gettime(time.CLOCK_BOOTTIME))
    assert (found.pid, found.uid) == (os.getpid(), os.getuid())
    assert found.started <= time.time() + 1
    assert resolver.sources()["proc"]
    assert resolver.recent(os.getpid(), time.time()) == found
