"""Lanes: one thread for all, more when a GPU or the machine is slow, and never two for one GPU."""

from __future__ import annotations

import math
import threading
import time

import pytest

from gpu_sentinel.sampling import lanes
from gpu_sentinel.sampling.lanes import Lanes

PERIOD = 0.05


class Stub:
    """Counts its steps; notices two threads at a time."""

    def __init__(self) -> None:
        self.steps = 0
        self.threads: set[str] = set()
        self.together = False
        self.cost = 0.0
        self.blocked = threading.Event()
        self.blocked.set()
        self._inside = threading.Lock()
        self._due = 0.0

    def stop(self) -> None:
        self.blocked.set()

    def step(self) -> float:
        if not self._inside.acquire(blocking=False):
            self.together = True
            return time.monotonic() + PERIOD
        try:
            if time.monotonic() < self._due:
                return self._due
            self.blocked.wait()
            if self.cost:
                time.sleep(self.cost)
            self.steps += 1
            self.threads.add(threading.current_thread().name)
            self._due = time.monotonic() + PERIOD
            return self._due
        finally:
            self._inside.release()


@pytest.fixture
def run(request: pytest.FixtureRequest):
    def start(*stubs: Stub) -> Lanes:
        found = Lanes(stubs)  # type: ignore[arg-type]  # stands in for DeviceSampler
        found.start()
        request.addfinalizer(lambda: found.close(30.0))
        return found

    return start


@pytest.fixture
def never_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane that waits for a busy machine's processor is not taken for one with slow GPUs."""
    monkeypatch.setattr(lanes, "_BUSY", math.inf)
    monkeypatch.setattr(lanes, "_CALM", math.inf)


@pytest.mark.usefixtures("never_slow")
def test_one_thread_for_all(run, eventually, monkeypatch):
    monkeypatch.setattr(lanes, "STUCK_SECONDS", 60.0)
    stubs = [Stub() for _ in range(8)]
    found = run(*stubs)
    eventually(lambda: all(s.steps >= 8 for s in stubs), 2, "all are read")
    assert len(found) == 1
    assert len(set().union(*(s.threads for s in stubs))) == 1


@pytest.mark.usefixtures("never_slow")
def test_the_others_leave_one_that_blocks(run, eventually):
    stubs = [Stub() for _ in range(4)]
    found = run(*stubs)
    time.sleep(0.2)
    stubs[1].blocked.clear()
    eventually(lambda: len(found) == 2, 2, "the others are moved")
    before = [s.steps for s in stubs]
    eventually(lambda: all(stubs[i].steps - before[i] >= 5 for i in (0, 2, 3)), 2, "they go on")
    assert stubs[1].steps == before[1]
    eventually(lambda: list(found.busy()) == [stubs[1]], 2, "it alone is waited for")
    stubs[1].blocked.set()
    eventually(lambda: stubs[1].steps > before[1], 2, "it goes on")
    assert not any(s.together for s in stubs)


def test_all_that_block_have_their_own_lane(run, eventually):
    stubs = [Stub() for _ in range(4)]
    found = run(*stubs)
    for stub in stubs:
        stub.blocked.clear()
    eventually(lambda: len(found) == 4, 4, "each has its own")
    for stub in stubs:
        stub.blocked.set()
    eventually(lambda: all(s.steps for s in stubs), 2, "all go on")
    assert not any(s.together for s in stubs)


def test_slow_lane_is_split(run, eventually):
    stubs = [Stub() for _ in range(4)]
    for stub in stubs:
        stub.cost = 0.03
    found = run(*stubs)
    eventually(lambda: len(found) >= 2, 10, "it is split")
    assert not any(s.together for s in stubs)


@pytest.mark.usefixtures("never_slow")
def test_calm_lanes_are_joined(run, eventually, monkeypatch):
    monkeypatch.setattr(lanes, "_SETTLE_SECONDS", 0.5)
    stubs = [Stub() for _ in range(4)]
    found = run(*stubs)
    stubs[2].blocked.clear()
    eventually(lambda: len(found) == 2, 2, "the others are moved")
    stubs[2].blocked.set()
    eventually(lambda: len(found) == 1, 10, "joined again")
    before = [s.steps for s in stubs]

    def go_on() -> bool:
        return all(s.steps - b >= 5 for s, b in zip(stubs, before, strict=True))

    eventually(go_on, 2, "all go on")
    assert not any(s.together for s in stubs)


def test_close_does_not_wait_for_one_that_blocks():
    class Stubborn(Stub):
        def stop(self) -> None:
            """A call to the driver cannot be ended."""

    stub = Stubborn()
    stub.blocked.clear()
    found = Lanes([stub])  # type: ignore[list-item]
    found.start()
    time.sleep(0.1)
    start = time.monotonic()
    assert not found.close(0.5)
    assert time.monotonic() - start < 20.0, "it blocks for ever"
    stub.blocked.set()
    assert found.close(30.0)
