"""Whose a process is: the one door to the rest of this package."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gpu_sentinel.host.owners import environ
from gpu_sentinel.host.owners.cgroups import NOWHERE, Place, beside, place
from gpu_sentinel.host.owners.containers import LOGS, Containers
from gpu_sentinel.host.owners.engines import DOCKER, PODMAN, Engines
from gpu_sentinel.host.owners.memory import Known, Memory, Process
from gpu_sentinel.host.owners.procfs import PROC, Facts, Proc, Stat
from gpu_sentinel.host.owners.users import Users, no_name, system_name
from gpu_sentinel.model import NOBODY, Owner

#: Seconds after which everything about a process is read anew: it may have been moved.
AGAIN = 60.0
#: The same where something is missing that will come soon: the link of a new container, and the
#: cgroup of a process that was seen as it started.
SOON = 10.0
#: A process younger than this, in seconds, may not be yet where it belongs.
YOUNG = 5.0
#: Seconds by which Unix times of starts and of lines of a log may be wrong: the machine's start is
#: told in whole seconds, and moves as the clock is set.
SLACK = 2.0
#: Hex digits of a container that has no name.
_SHORT = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """An owner; `settled` where nothing is missing that may come soon."""

    owner: Owner
    settled: bool = True
    gpus: tuple[int, ...] = ()


class Resolver:
    """From a pid of the machine, as the driver tells it, to a process and its owner.

    For one thread, which files and the names of users may hold up. A process that is known costs
    one read of `/proc/PID/stat` a look, and all again once a minute.
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
        self._containers = Containers(logs, clock)
        self._engines = Engines(docker, podman, clock)
        lookup = system_name if self._proc.same_files and self._proc.whole_uids else no_name
        self._users = users if users is not None else Users(lookup, clock)
        self._memory = Memory()
        self._denied: float | None = None
        self._allowed = False

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
        stat = self._proc.stat(pid)
        known = self._memory.known(pid, stat.start if stat is not None else None)
        if stat is None or known is None:
            self._memory.bury(pid, self._wall(), now)
        if stat is None:
            return None
        if known is None or self._is_due(known, stat, now):
            known = self._looked(stat, known, now)
            if known is None:
                return None
        known.seen = now
        self._memory.keep(known)
        if listed is not None and self._proc.seconds(stat) > listed:
            return None
        return known.process

    def recent(self, pid: int, wall: float) -> Process | None:
        """The process that had a pid at a Unix time of the last minutes; None where in doubt.

        It may be gone meanwhile, and its pid another's.
        """
        now = self.resolve(pid)
        found = [now] if now is not None and now.started <= wall + SLACK else []
        for gone in self._memory.gone(pid, self._clock()):
            # Who has the pid now has started after the end of who had it.
            ended = gone.noticed if now is None else min(gone.noticed, now.started)
            if gone.process.started - SLACK <= wall <= ended + SLACK:
                found.append(gone.process)
        return found[0] if len(found) == 1 else None

    def sources(self) -> Mapping[str, bool]:
        """Whether what owners are found by can be read; without what nobody has needed so far."""
        up = {"proc": self.visible and self._proc.readable}
        if self._denied is not None:
            up["environ"] = False
        elif self._allowed:
            up["environ"] = True
        if self._containers.up is not None:
            up["container_links"] = self._containers.up
        return up

    def _is_due(self, known: Known, stat: Stat, now: float) -> bool:
        # A zombie has left its cgroup in version 1; nothing that is new will be known of it.
        if stat.zombie:
            return False
        # Another program has taken its place, or it has chosen another name.
        renamed = stat.name != known.process.name and now - known.seen > 0
        return renamed or now >= known.again

    def _looked(self, stat: Stat, before: Known | None, now: float) -> Known | None:
        facts = self._proc.facts(stat)
        finding = self._finding(facts) if facts is not None else None
        # All that was read belongs to one process only if it is there before and after.
        if facts is None or finding is None or not self._proc.still(stat):
            self._memory.bury(stat.pid, self._wall(), now)
            return None
        started = before.process.started if before is not None else facts.started
        young = self._boot() - self._proc.seconds(stat) < YOUNG
        process = Process(
            stat.pid, stat.start, started, stat.name, facts.uid, finding.owner, finding.gpus
        )
        again = now + (AGAIN if finding.settled and not young else SOON)
        return Known(process, now, again)

    def _finding(self, facts: Facts) -> Finding:
        if facts.stat.kernel:
            return Finding(NOBODY)
        here = place(facts.cgroup)
        if here.mixed or not facts.cgroup:
            return Finding(NOBODY)
        if here.login is None and (here.pod_uid or here.container):
            pod = self._pod(here)
            if pod is not None:
                return pod
        if here.slurm_job:
            return self._slurm(here, facts)
        if here.container:
            return self._container(here, facts)
        return self._job(here, facts) or self._unit_or_user(here, facts)

    def _pod(self, here: Place) -> Finding | None:
        named = self._containers.container(here.container) if _is_id(here.container) else None
        slurm = {"slurm_job": here.slurm_job, "slurm_step": here.slurm_step}
        if named is not None:
            namespace, pod, container = named
            name = f"{namespace}/{pod}"
            return Finding(Owner("pod", name, namespace, pod, container, **slurm))
        if not here.pod_uid:
            return None
        by_uid = self._containers.pod(here.pod_uid)
        if by_uid is not None:
            namespace, pod = by_uid
            # The link of its container may come; a sandbox has none.
            return Finding(Owner("pod", f"{namespace}/{pod}", namespace, pod, **slurm), False)
        return Finding(Owner("pod", here.pod_uid, **slurm), False)

    def _slurm(self, here: Place, facts: Facts) -> Finding:
        job = self._environ(facts)
        if job is None or job.system != "slurm" or job.id != here.slurm_job:
            job = environ.Job("slurm", here.slurm_job)
        return self._of_slurm(
            replace(
                job,
                step=here.slurm_step or job.step,
                uid=here.slurm_uid if here.slurm_uid is not None else job.uid,
            ),
            facts,
        )

    def _of_slurm(self, job: environ.Job, facts: Facts) -> Finding:
        uid = job.uid if job.uid is not None else facts.uid
        owner = Owner(
            "slurm_job",
            job.id,
            slurm_job=job.id,
            slurm_step=job.step,
            slurm_account=job.account,
            user=job.user or self._user(uid),
        )
        return Finding(owner, gpus=job.gpus)

    def _container(self, here: Place, facts: Facts) -> Finding:
        number = here.container
        if not _is_id(number):
            return Finding(Owner("container", number, user=self._user(here.login)))
        if here.login is not None:
            # What a user runs without root has its name in files of his.
            return Finding(Owner("container", number[:_SHORT], user=self._user(here.login)))
        name = self._engines.name(number, here.runtime)
        return Finding(Owner("container", name or number[:_SHORT]), settled=bool(name))

    def _job(self, here: Place, facts: Facts) -> Finding | None:
        """The job of a batch system, by its cgroup or by the environment."""
        if here.batch_job:
            user = self._user(facts.uid)
            return Finding(Owner(f"{here.batch}_job", here.batch_job, user=user))
        job = self._environ(facts)
        if job is None:
            return None
        # Variables stay when a process changes its user: then the job is another's, or none.
        if job.uid is not None and facts.uid is not None and job.uid != facts.uid:
            return None
        if job.system == "slurm":
            return self._of_slurm(job, facts)
        return Finding(Owner(f"{job.system}_job", job.id, user=self._user(facts.uid)))

    def _unit_or_user(self, here: Place, facts: Facts) -> Finding:
        if here.login is not None:
            user = self._user(here.login)
            return Finding(Owner("user", user, user=user))
        if here.unit:
            return Finding(Owner("unit", here.unit, user=self._user(facts.uid)))
        # The path says nothing of what runs in the container that this process is in, and version 1
        # nothing of a zombie.
        inside = not self._proc.whole_paths and not beside(facts.cgroup)
        if inside or facts.uid is None or (facts.stat.zombie and here == NOWHERE):
            return Finding(NOBODY)
        user = self._user(facts.uid)
        return Finding(Owner("user", user, user=user))

    def _environ(self, facts: Facts) -> environ.Job | None:
        try:
            content = self._proc.environ(facts.stat, environ.ENVIRON_BYTES)
        except PermissionError:
            self._denied = self._clock()
            return None
        if not content:
            return None
        self._allowed = True
        return environ.job(content)

    def _user(self, uid: int | None) -> str:
        return self._users.name(uid) if uid is not None else ""


def _is_id(container: str) -> bool:
    return len(container) == 64
