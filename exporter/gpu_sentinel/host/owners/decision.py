"""Which of the things that a process belongs to is its owner."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gpu_sentinel.host.owners import environ
from gpu_sentinel.host.owners.cgroups import Place, beside, place
from gpu_sentinel.host.owners.containers import Containers
from gpu_sentinel.host.owners.engines import Engines
from gpu_sentinel.host.owners.procfs import Facts, Proc
from gpu_sentinel.host.owners.users import Users
from gpu_sentinel.model import NOBODY, Owner

#: Seconds for which an environment that could not be read is told of.
DENIED = 300.0
#: Jobs of which is remembered whose they are, and seconds after a look at one of their processes.
_MOST_JOBS, _JOB_LIFETIME = 1000, 300.0
#: Hex digits of a container that has no name.
_SHORT = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """An owner; `settled` where nothing is missing that may come soon."""

    owner: Owner
    settled: bool = True
    gpus: tuple[int, ...] = ()


class Deciding:
    """A pod comes before a job, then a container, a unit, a user.

    The user of a pod or container is told only where it runs in the slice of one: in others the
    same number is another user, or none.
    """

    def __init__(
        self,
        proc: Proc,
        containers: Containers,
        engines: Engines,
        users: Users,
        clock: Callable[[], float],
    ) -> None:
        """Ask nothing yet.

        Args:
            proc: for the environment of those that are in no container.
            containers: names of pods.
            engines: names of other containers.
            users: names of users.
            clock: monotonic seconds.
        """
        self._proc = proc
        self._containers = containers
        self._engines = engines
        self._users = users
        self._clock = clock
        self._denied: float | None = None
        self._allowed = False
        #: System and job: the uid, and until when that is believed.
        self._whose: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def sources(self) -> Mapping[str, bool]:
        """Whether what was needed so far could be read."""
        up = {}
        denied = self._denied is not None and self._clock() - self._denied <= DENIED
        if denied or self._allowed:
            up["environ"] = not denied
        if self._containers.up is not None:
            up["container_links"] = self._containers.up
        return up

    def of(self, facts: Facts) -> Finding:
        """The owner of a process, as far as its facts tell one."""
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
            return self._container(here)
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
        uid = here.slurm_uid if here.slurm_uid is not None else facts.uid
        if uid:  # root is in jobs of others, too
            self._belongs("slurm", here.slurm_job, uid)
        return self._of_slurm(
            replace(
                job,
                step=here.slurm_step or job.step,
            ),
            facts if here.slurm_uid is None else replace(facts, uid=here.slurm_uid),
        )

    def _of_slurm(self, job: environ.Job, facts: Facts) -> Finding:
        # Anybody may write another user into his environment; root has what Slurm wrote there.
        uid, user = facts.uid, ""
        if facts.uid == 0 and job.uid is not None:
            uid, user = job.uid, job.user
        owner = Owner(
            "slurm_job",
            job.id,
            slurm_job=job.id,
            slurm_step=job.step,
            slurm_account=job.account,
            user=user or self._user(uid),
        )
        return Finding(owner, gpus=job.gpus)

    def _container(self, here: Place) -> Finding:
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
        if facts.uid is not None and not self._may_be(job, facts.uid):
            return None
        if job.system == "slurm":
            return self._of_slurm(job, facts)
        return Finding(Owner(f"{job.system}_job", job.id, user=self._user(facts.uid)))

    def _belongs(self, system: str, number: str, uid: int) -> None:
        """Remember whose a job is."""
        self._whose[system, number] = uid, self._clock() + _JOB_LIFETIME
        self._whose.move_to_end((system, number))
        while len(self._whose) > _MOST_JOBS:
            self._whose.popitem(last=False)

    def _may_be(self, job: environ.Job, uid: int) -> bool:
        """Whether a job that only the environment tells may be a user's: not if it is another's.

        Else he could have another's job pay for what he uses. Where no cgroup tells whose it is,
        the first who names it has it.
        """
        whose = self._whose.get((job.system, job.id))
        if whose is not None and whose[0] != uid and self._clock() < whose[1]:
            return False
        self._belongs(job.system, job.id, uid)
        return True

    def _unit_or_user(self, here: Place, facts: Facts) -> Finding:
        # Of a zombie nobody knows any more whether it was in a job. Of a process in the container
        # that this one is in the path says nothing.
        inside = not self._proc.whole_paths and not beside(facts.cgroup)
        if facts.stat.zombie or inside:
            return Finding(NOBODY)
        if here.login is None and here.unit:
            return Finding(Owner("unit", here.unit, user=self._user(facts.uid)))
        uid = here.login if here.login is not None else facts.uid
        if uid is None:
            return Finding(NOBODY)
        user = self._user(uid)
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
