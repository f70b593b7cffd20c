"""The threads that sample: as few as possible, because waking one up costs more than a reading.

One lane reads all GPUs, one after the other. Where a call does not come back, the keeper moves
the other GPUs to a new lane, so that a GPU that hangs blocks only itself; where a lane gets
slow, it is split. When all is well again the lanes are joined.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

#: Between two looks of the keeper, where nothing else is said.
KEEPER_SECONDS = 0.25
#: A GPU that takes so long no longer shares a lane with others.
STUCK_SECONDS = 0.2
#: A lane that needs more than this share of the time is split; two that need less are joined.
_BUSY, _CALM = 0.08, 0.04
#: At least between a lane's being split and its being joined again.
_SETTLE_SECONDS = 30.0
_LONGEST_WAIT = 1.0
#: A thread that sleeps so short needs not be woken up; sleeping costs less than waiting.
_NAP_SECONDS = 0.3
#: Between two looks whether the last reading before a pause has ended.
_PAUSE_LOOK_SECONDS = 0.01


class Sampler(Protocol):
    """What a lane reads: a GPU, or the MIG instances of one.

    Attributes:
        index: NVML's, of the GPU.
    """

    index: int

    @property
    def asked(self) -> str:
        """The query that runs, or ran last."""

    def step(self) -> float:
        """Do what is due, and return the monotonic seconds at which something is due again."""

    def stop(self) -> None:
        """From now on nothing is read."""

    def release(self) -> None:
        """Give back what the library holds; nobody may be inside of `step`."""


class Lane:
    """One thread, and the GPUs that it samples.

    Attributes:
        busy_since: monotonic seconds since which the present GPU is read, None between passes.
        current: the GPU that is read.
        load: share of the time that passes take, smoothed.
        cpu: processor seconds that the thread has used.
    """

    def __init__(
        self,
        name: str,
        samplers: Sequence[Sampler],
        stood_still: Callable[[float], float],
        paused: threading.Event,
    ) -> None:
        self._stood_still = stood_still
        self._paused = paused
        self.samplers = tuple(samplers)
        self.busy_since: float | None = None
        self.current: Sampler | None = None
        self.load = 0.0
        self.cpu = 0.0
        self.moving = threading.Lock()
        self._stopping = False
        # Held but for a moment when there is reason to hurry: the cheapest thing that a thread
        # can wait for with a timeout.
        self._asleep = threading.Lock()
        self._asleep.acquire()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Look at once whether something is due."""
        if self._asleep.locked():
            try:
                self._asleep.release()
            except RuntimeError:
                return  # woken up by itself meanwhile

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping = True
        self.wake()

    def join(self, timeout: float) -> bool:
        """Wait for the thread; False where it is still inside a call to the driver."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        woken = time.monotonic()
        while not self._stopping:
            started = time.monotonic()
            due = started + _LONGEST_WAIT
            for sampler in self.samplers:
                with self.moving:
                    if self._stopping or self._paused.is_set() or sampler not in self.samplers:
                        continue
                    self.current, self.busy_since = sampler, time.monotonic()
                due = min(due, sampler.step())
            self.current = self.busy_since = None
            ended = time.monotonic()
            self.cpu = time.thread_time()
            took = ended - started
            if took > STUCK_SECONDS:
                took = max(took - self._stood_still(started), 0.0)
            share = took / max(ended - woken, 1e-3)
            self.load += (min(share, 1.0) - self.load) * min((ended - woken) / 5.0, 1.0)
            woken = ended
            if due - ended > _NAP_SECONDS:
                self._asleep.acquire(timeout=due - ended)
            elif due > ended:
                time.sleep(due - ended)
        self.cpu = time.thread_time()


class Lanes:
    """All lanes of one driver, and the keeper that looks after them without calling it."""

    def __init__(
        self,
        samplers: Sequence[Sampler],
        on_look: Callable[[float], None] | None = None,
        stood_still: Callable[[float], float] = lambda _moment: 0.0,
        look_seconds: float = KEEPER_SECONDS,
    ) -> None:
        """Prepare the threads.

        Args:
            samplers: what is to be read.
            on_look: called by the keeper at each look with the processor seconds used.
            stood_still: seconds since a moment in which nothing at all ran.
            look_seconds: between two looks of the keeper.
        """
        self._stood_still = stood_still
        self._look_seconds = look_seconds
        self._samplers = tuple(samplers)
        self._on_look = on_look
        self._lanes: list[Lane] = []
        self._numbers = itertools.count(1)
        self._ended_cpu = 0.0
        self._settled = time.monotonic()
        self._stop = threading.Event()
        self._paused = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._add(self._samplers)

    def start(self) -> None:
        """Start to sample."""
        self._lanes[0].start()
        self._keeper.start()

    def close(self, timeout: float) -> bool:
        """End all threads within `timeout` seconds; False where one is stuck in a call."""
        deadline = time.monotonic() + timeout
        self._stop.set()
        for sampler in self._samplers:
            sampler.stop()
        if self._keeper.ident is not None:
            self._keeper.join(timeout)
        for lane in self._lanes:
            lane.stop()
        return all(lane.join(max(deadline - time.monotonic(), 0.0)) for lane in self._lanes)

    def pause(self, timeout: float) -> bool:
        """Begin no other reading; False, and all goes on, where one takes longer than that."""
        deadline = time.monotonic() + timeout
        self._paused.set()
        while self._inside():
            if time.monotonic() >= deadline:
                self.resume()
                return False
            time.sleep(_PAUSE_LOOK_SECONDS)
        return True

    def resume(self) -> None:
        """Go on after a pause."""
        self._paused.clear()
        self.wake()

    def _inside(self) -> bool:
        for lane in self._lanes.copy():
            with lane.moving:  # who has not begun yet sees the pause
                if lane.busy_since is not None:
                    return True
        return False

    def wake(self) -> None:
        """Let all lanes look at once whether something is due."""
        for lane in self._lanes.copy():
            lane.wake()

    def busy(self) -> dict[Sampler, float]:
        """The GPUs that are read at this moment, and monotonic seconds since when."""
        found = {}
        for lane in self._lanes.copy():
            sampler, since = lane.current, lane.busy_since
            if sampler is not None and since is not None:
                found[sampler] = since
        return found

    def __len__(self) -> int:
        return len(self._lanes)

    def _add(self, samplers: Sequence[Sampler]) -> Lane:
        name = f"lane-{next(self._numbers)}"
        lane = Lane(name, samplers, self._stood_still, self._paused)
        self._lanes.append(lane)
        return lane

    def _keep(self) -> None:
        while not self._stop.wait(self._look_seconds):
            now = time.monotonic()
            for lane in self._lanes.copy():
                if self._divide(lane, now):
                    self._settled = now
            if len(self._lanes) > 1 and now - self._settled > _SETTLE_SECONDS:
                self._settled = now
                self._join(now)
            if self._on_look is not None:
                self._on_look(self._ended_cpu + sum(lane.cpu for lane in self._lanes))

    def _divide(self, lane: Lane, now: float) -> bool:
        """Move GPUs away from one that does not answer, or half of them from a slow lane."""
        since = lane.busy_since
        stuck = since is not None and now - since > STUCK_SECONDS
        if stuck and since is not None:
            stuck = now - since - self._stood_still(since) > STUCK_SECONDS
        if len(lane.samplers) < 2 or not (stuck or lane.load > _BUSY):
            return False
        with lane.moving:
            # No other GPU can begin to be read now.
            if stuck and lane.busy_since != since:
                return False
            others = [s for s in lane.samplers if s is not lane.current]
            moved = others if stuck else others[: len(lane.samplers) // 2]
            lane.samplers = tuple(s for s in lane.samplers if s not in moved)
            lane.load /= 2
        self._add(moved).start()
        return True

    def _join(self, now: float) -> None:
        """Let the first calm lane take over what the other calm ones have."""
        calm = [
            lane
            for lane in self._lanes
            if lane.load < _CALM
            and (lane.busy_since is None or now - lane.busy_since < STUCK_SECONDS)
        ]
        if sum(lane.load for lane in calm) > _CALM:
            return
        for lane in calm[1:]:
            with lane.moving:
                if lane.current is not None:
                    continue  # in the middle of a pass: the next time, then
                taken, lane.samplers = lane.samplers, ()
            lane.stop()
            lane.join(1.0)
            self._ended_cpu += lane.cpu
            self._lanes.remove(lane)
            calm[0].samplers += taken
            calm[0].wake()
