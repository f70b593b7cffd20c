"""Real processes: what a look at one that is known costs, and that its end is seen at once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from gpu_sentinel.host.owners import resolver as resolving
from gpu_sentinel.host.owners.resolver import AGAIN, Resolver
from gpu_sentinel.host.owners.watch import watch


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait(timeout=10)


@pytest.fixture
def resolver() -> Resolver:
    found = Resolver()
    if not found.visible:
        pytest.skip("this container has pids of its own, which no driver tells")
    return found


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - its own descriptor would be one more


def test_a_watch_tells_the_end_and_leaves_no_descriptor(sleeper: subprocess.Popen[bytes]):
    before = descriptors()
    watched = watch(sleeper.pid)
    assert watched is not None
    assert not watched.ended
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert watched.ended, "a zombie has ended"
    sleeper.wait(timeout=10)
    assert watched.ended
    assert watch(sleeper.pid) is None, "there is no such process"
    del watched
    assert descriptors() == before


def test_a_known_process_is_not_read_again(
    sleeper: subprocess.Popen[bytes], resolver: Resolver, reads: list[str]
):
    first = resolver.resolve(sleeper.pid)
    assert first is not None
    assert resolver.resolve(sleeper.pid, listed=first.start / os.sysconf("SC_CLK_TCK")) is first
    reads.clear()
    assert resolver.resolve(sleeper.pid) is first
    assert resolver.resolve(sleeper.pid, listed=0.0) is None, "it is younger than that"
    assert not reads
    sleeper.kill()
    sleeper.wait(timeout=10)
    assert resolver.resolve(sleeper.pid) is None
    assert resolver.recent(sleeper.pid) is first


def test_all_is_read_again_once_a_minute(sleeper: subprocess.Popen[bytes], reads: list[str]):
    now = 1000.0
    resolver = Resolver(clock=lambda: now)
    if not resolver.visible:
        pytest.skip("this container has pids of its own, which no driver tells")
    before = descriptors()
    assert resolver.resolve(sleeper.pid)
    for _ in range(3):
        now += AGAIN
        reads.clear()
        assert resolver.resolve(sleeper.pid)
        assert f"{sleeper.pid}/cgroup" in reads
    assert descriptors() == before + 1


def test_of_many_processes_so_many_are_watched(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch, reads: list[str]
):
    monkeypatch.setattr(resolving, "MOST_WATCHED", 2)
    processes = [subprocess.Popen(["sleep", "600"]) for _ in range(5)]
    try:
        before = descriptors()
        for _ in range(2):
            reads.clear()
            assert all(resolver.resolve(process.pid) for process in processes)
        assert descriptors() == before + 2
        assert len([name for name in reads if name.endswith("/stat")]) == 3
    finally:
        for process in processes:
            process.kill()
            process.wait(timeout=10)
