"""How the energy and the busy time of one GPU are shared among those who use and hold it.

Pure: times are monotonic seconds that are given. What is added to the owners in a step is what the
GPU's counter of energy has grown by, no more and no less: so the owners sum to the counter.

The rule:

- What a GPU draws at rest is for those who hold it (`allocations`), in equal parts of each GPU
  instance's share; where nobody holds it, for the processes on it, by their memory; else it is
  nobody's.
- What it draws above that is for the processes, by the time that their kernels ran (SM time); where
  no kernel ran or nobody tells, for the processes, by their memory, because it is their contexts
  that keep the clocks up; then for the holders; else it is nobody's.

What it cannot know: kernels of two processes that share one time slice, and how much of an SM a
kernel needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import TypeVar

from gpu_sentinel.model import NOBODY, Owner

#: An owner without a process and without an allocation is shown for so long.
KEEP_SECONDS = 3600.0
#: SM time is told up to a second late: what was drawn waits for it so long.
LATE_SECONDS = 4.0
#: A holder of whom no kernel ran for so long holds a GPU that is idle.
IDLE_SECONDS = 2.0
#: Owners of whom is remembered what any source knows, beside those that have an account.
_MOST_KNOWN = 1024
#: Whom there is no place for any more.
OTHERS = Owner("other", "other")


@dataclass(frozen=True, slots=True)
class User:
    """A process in one step.

    Attributes:
        memory: bytes; None where the driver does not know.
        busy: seconds of SM time since the step before.
        part: of the GPU, on which it runs; less than 1 in a MIG instance.
        alive: it is there still.
    """

    owner: Owner
    memory: float | None = None
    busy: float = 0.0
    part: float = 1.0
    alive: bool = True


@dataclass(frozen=True, slots=True)
class Holder:
    """An owner who has a part of the GPU for himself; `part`: which share of it, 1 is all."""

    owner: Owner
    part: float = 1.0


_One = TypeVar("_One", User, Holder)


@dataclass(slots=True)
class Account:
    """What is one owner's; counters in joules and seconds since the exporter started.

    Attributes:
        memory, processes: as of the last step.
        held: whether he holds the GPU now.
        seen: when he was there last.
        used: when a kernel of his ran last.
    """

    idle_joules: float = 0.0
    active_joules: float = 0.0
    busy: float = 0.0
    allocated: float = 0.0
    idle_allocated: float = 0.0
    memory: float | None = None
    processes: int = 0
    held: bool = False
    seen: float = 0.0
    used: float = field(default=float("-inf"))


class Ledger:
    """The accounts of one GPU."""

    def __init__(self, most_owners: int = 10) -> None:
        """At most so many owners have an account; the others share one."""
        self.accounts: dict[Owner, Account] = {}
        self._most = most_owners
        #: By kind and name: some sources know more of an owner than others.
        self._known: dict[tuple[str, str], Owner] = {}
        self._waiting = 0.0
        self._told = float("-inf")

    def step(
        self,
        now: float,
        elapsed: float,
        joules: float,
        idle_joules: float,
        *,
        users: Sequence[User],
        holders: Sequence[Holder],
        uncertain: bool = False,
    ) -> None:
        """Take in what happened since the step before.

        Args:
            now: monotonic seconds.
            elapsed: seconds since the step before; 0 for the first one.
            joules: by how much the counter of energy has grown.
            idle_joules: what the GPU would have drawn at rest in the time in which it grew.
            users: its processes; also those that have ended meanwhile, with their `busy`.
            holders: who has it allocated.
            uncertain: nobody tells whose kernels ran, so no holder is said to have been idle.
        """
        for owner in (*(u.owner for u in users), *(h.owner for h in holders)):
            self._same(owner)  # all that is known of each, before anybody is named
        users = [_of(user, self._same(user.owner)) for user in users]
        holders = [_of(holder, self._same(holder.owner)) for holder in holders]
        self._forget(now, {*(u.owner for u in users), *(h.owner for h in holders)})
        self._present(now, users, holders)
        for user in users:
            account = self._account(user.owner, now)
            account.busy += user.busy
            if user.busy:
                account.used = now
        for owner in {holder.owner for holder in holders}:
            account = self._account(owner, now)
            account.allocated += elapsed
            if not uncertain and now - account.used > IDLE_SECONDS:
                account.idle_allocated += elapsed
        self._share(now, min(joules, idle_joules), joules, users, holders)

    def _same(self, owner: Owner) -> Owner:
        """The owner whose account it is, with all that any source knows of him."""
        owner = whole(owner)
        key = owner.kind, owner.name
        before = self._known.get(key)
        if before is None:
            self._known[key] = owner
            return owner
        if before is owner or before == owner:
            return before
        merged = Owner(*(b or n for b, n in zip(astuple(before), astuple(owner), strict=True)))
        if merged != before:
            self._known[key] = merged
            if before in self.accounts:
                self.accounts[merged] = self.accounts.pop(before)
        return merged

    def _share(
        self,
        now: float,
        idle: float,
        joules: float,
        users: Sequence[User],
        holders: Sequence[Holder],
    ) -> None:
        held = _weights((h.owner, h.part) for h in holders)
        memory = _weights((u.owner, u.memory or 0.0) for u in users) or _weights(
            (u.owner, 1.0) for u in users
        )
        for owner, part in (held or memory or {NOBODY: 1.0}).items():
            self._account(owner, now).idle_joules += idle * part
        self._waiting += joules - idle
        kernels = _weights((u.owner, u.busy * u.part) for u in users)
        if kernels:
            self._told = now
        elif now - self._told < LATE_SECONDS:
            return
        for owner, part in (kernels or memory or held or {NOBODY: 1.0}).items():
            self._account(owner, now).active_joules += self._waiting * part
        self._waiting = 0.0

    def _present(self, now: float, users: Sequence[User], holders: Sequence[Holder]) -> None:
        for account in self.accounts.values():
            account.memory, account.processes, account.held = None, 0, False
        for user in users:
            account = self._account(user.owner, now)
            account.processes += user.alive
            if user.memory is not None:
                account.memory = (account.memory or 0.0) + user.memory
        for holder in holders:
            self._account(holder.owner, now).held = True

    def _account(self, owner: Owner, now: float) -> Account:
        account = self.accounts.get(owner)
        if account is None:
            if owner not in (NOBODY, OTHERS) and self._full():
                return self._account(OTHERS, now)
            account = self.accounts[owner] = Account()
        account.seen = now
        return account

    def _full(self) -> bool:
        return len(self.accounts.keys() - {NOBODY, OTHERS}) >= self._most

    def _forget(self, now: float, present: set[Owner]) -> None:
        """Owners that are gone for long go; sooner where new ones need their place."""
        gone = {o: a for o, a in self.accounts.items() if o not in present and o != NOBODY}
        for owner, account in gone.items():
            if now - account.seen > KEEP_SECONDS:
                self._close(owner)
        new = present - self.accounts.keys() - {NOBODY}
        for owner in sorted(gone.keys() & self.accounts.keys(), key=lambda o: gone[o].seen):
            free = self._most - len(self.accounts.keys() - {NOBODY, OTHERS})
            if len(new) <= free or owner == OTHERS:
                continue
            self._close(owner)
        if len(self._known) > _MOST_KNOWN:
            self._known = {key: o for key, o in self._known.items() if o in self.accounts}

    def _close(self, owner: Owner) -> None:
        del self.accounts[owner]
        self._known.pop((owner.kind, owner.name), None)


def whole(owner: Owner) -> Owner:
    """Whose account it is: that of the pod, not of a container; of the job, not of a step."""
    if not owner.k8s_container and not owner.slurm_step:
        return owner
    return replace(owner, k8s_container="", slurm_step="")


def _of(one: _One, owner: Owner) -> _One:
    return one if one.owner is owner or one.owner == owner else replace(one, owner=owner)


def _weights(parts: Iterable[tuple[Owner, float]]) -> Mapping[Owner, float]:
    """Shares that sum to 1, by owner; empty where there is nothing to go by."""
    found: dict[Owner, float] = {}
    for owner, part in parts:
        if part > 0.0:
            found[owner] = found.get(owner, 0.0) + part
    total = sum(found.values())
    return {owner: part / total for owner, part in found.items()} if total else {}
