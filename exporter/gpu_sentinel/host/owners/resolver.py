"""Whose a process is: what the rest of this package is used through."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from gpu_sentinel.host.owners.containers import LOGS, Containers
from gpu_sentinel.host.owners.decision import Deciding
from gpu_sentinel.host.owners.engines import DOCKER, PODMAN, Engines
from gpu_sentinel.host.owners.memory import Known, Memory, Process
from gpu_sentinel.host.owners.procfs import PROC, Proc, Stat
from gpu_sentinel.host.owners.users import Users, no_name
from gpu_sentinel.host.owners.watch import watch
from gpu_sentinel.model import Owner

#: Seconds after which everything about a process is read anew: it may have been moved.
AGAIN = 60.0
#: The same where something is missing that will come soon: the link of a new container, and the
#: cgroup of a process that was seen as it started.
SOON = 10.0
#: A process younger than this, in seconds, may not be yet where it belongs.
YOUNG = 5.0
#: Processes that are watched, for each of which a descriptor is open.
MOST_WATCHED = 256
#: Seconds by which Unix times of starts and of lines of a log may be wrong: the machine's start is
#: told in whole seconds, and moves as the clock is set.
SLACK = 2.0


class Resolver:
    """From a pid of the machine, as the driver tells it, to a process and its owner.

    For one thread, which files and the names of users may hold up. A process that is known costs
    a question whether it has ended, or where that cannot be asked, one read of `/proc/PID/stat`;
    and all again once a minute, its name as well.
    """

    def __init__(
        self,
        proc: Path = PROC,
        logs: Path = LOGS,
        docker: Path = DOCKER,
        podman: Path = PODMAN,
        *,
        users: Users | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        """Know nobody yet.

        Args:
            proc: where the machine's `/proc` is.
            logs: where the kubelet and the runtime of containers have their logs.
            docker: Docker's folder, for names.
            podman: the storage of Podman run by root, for names.
            users: names of users; by default those of the system, unless this is a container.
            clock: monotonic seconds.
            wall: Unix time.
            boot: seconds since the machine's start, time in suspend included.
        """
        self._clock, self._wall, self._boot = clock, wall, boot
        self._proc = Proc(proc, clock)
        lookup = None if self._proc.same_files and self._proc.whole_uids else no_name
        self._deciding = Deciding(
            self._proc,
            Containers(logs, clock),
            Engines(docker, podman, clock),
            users if users is not None else Users(lookup, clock),
            clock,
        )
        self._memory = Memory()
        #: Only here are pids those that this process sees.
        self._watch = watch if proc == PROC else lambda _pid: None

    @property
    def visible(self) -> bool:
        """Whether the machine's pids are seen. Where they are not, a pid is matched to nothing."""
        return self._proc.visible

    def resolve(self, pid: int, listed: float | None = None) -> Process | None:
        """The process with a pid; None where there is none now.

        Args:
            pid: of the machine.
            listed: seconds since the machine's start, as of CLOCK_BOOTTIME, before the driver was
                asked: a process that started later is another one.
        """
        if not self.visible or pid <= 0:
            return None
        now = self._clock()
        self._memory.sweep(now)
        known = self._memory.known(pid)
        watched = known.watch if known is not None else None
        if watched is not None and watched.ended:
            watched = None
        if known is not None and watched is not None and now < known.again:
            return self._seen(known, now, listed)
        if watched is None and len(self._memory) < MOST_WATCHED:
            # Before anything is read: as long as it does not end, that was of this process.
            watched = self._watch(pid)
        stat = self._proc.stat(pid)
        known = self._memory.known(pid, stat.start if stat is not None else None)
        if stat is None or known is None:
            self._memory.ended(pid, self._wall(), now)
        if stat is None:
            return None
        # A zombie has no environment, and no cgroup in version 1: what is known is all.
        if known is None or (now >= known.again and not stat.zombie):
            known = self._looked(stat, known, now)
            if known is None:
                return None
        elif stat.name != known.process.name:
            known.process = replace(known.process, name=stat.name)
        known.watch = watched
        return self._seen(known, now, listed)

    def _seen(self, known: Known, now: float, listed: float | None) -> Process | None:
        """What is known of a process that is there, unless it is younger than what was listed."""
        known.seen = now
        self._memory.keep(known)
        if listed is not None and self._proc.seconds(known.process.start) > listed:
            return None
        return known.process

    def recent(self, pid: int, wall: float | None = None) -> Process | None:
        """The process that had a pid at a Unix time of the last minutes; None where in doubt.

        It may be gone meanwhile, and its pid another's. Without a time, the time is now.
        """
        wall = self._wall() if wall is None else wall
        now = self.resolve(pid)
        found = [now] if now is not None and now.started <= wall + SLACK else []
        for gone in self._memory.gone(pid, self._clock()):
            if now is not None and now.start == gone.process.start:
                continue  # it only could not be read for a moment
            # Who has the pid now has started after the end of who had it.
            ended = gone.noticed if now is None else min(gone.noticed, now.started)
            if gone.process.started - SLACK <= wall <= ended + SLACK:
                found.append(gone.process)
        return found[0] if len(found) == 1 else None

    def sources(self) -> Mapping[str, bool]:
        """Whether what owners are found by can be read; without what nobody has needed so far."""
        return {"proc": self.visible and self._proc.readable, **self._deciding.sources()}

    def _looked(self, stat: Stat, before: Known | None, now: float) -> Known | None:
        facts = self._proc.facts(stat)
        finding = self._deciding.of(facts) if facts is not None else None
        # All that was read belongs to one process only if it is there before and after.
        after = self._proc.stat(stat.pid)
        if facts is None or finding is None or after is None or after.start != stat.start:
            self._memory.ended(stat.pid, self._wall(), now)
            return None
        if after.zombie and not stat.zombie:
            # It has ended meanwhile, so what was read last may be a zombie's.
            return before if before is not None else self._looked(after, None, now)
        started = before.process.started if before is not None else facts.started
        young = self._boot() - self._proc.seconds(stat.start) < YOUNG
        owner = _same(finding.owner)
        process = Process(stat.pid, stat.start, started, stat.name, facts.uid, owner, finding.gpus)
        again = now + (AGAIN if finding.settled and not young else SOON)
        return Known(process, now, again)


@lru_cache(maxsize=1024)
def _same(owner: Owner) -> Owner:
    """One object for all processes of an owner, which are compared each second."""
    return owner
