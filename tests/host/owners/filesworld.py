"""A machine of files, its clocks set by hand, with a resolver that looks at it."""

from __future__ import annotations

import os
from pathlib import Path

from faketree import BOOT, Tree, environment

from gpu_sentinel.host.owners.resolver import Resolver
from gpu_sentinel.host.owners.users import Users
from gpu_sentinel.model import Owner

TICKS = os.sysconf("SC_CLK_TCK")
ID, POD = "a" * 64, "72f7f152-440c-66ac-9084-e0fc1d8a910c"
KUBE = f"0::/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{ID}.scope\n"
LOGIN = "0::/user.slice/user-1000.slice/session-3.scope\n"
SLURM = "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n"
VARIABLES = {"SLURM_JOB_ID": "7", "SLURM_JOB_USER": "alice", "SLURM_JOB_ACCOUNT": "physics",
             "SLURM_JOB_UID": "1000", "SLURM_JOB_GPUS": "0,1", "SLURM_STEP_ID": "0"}  # fmt: skip
JOB = environment(VARIABLES.items())


class World:
    """A machine of files, with clocks that are set by hand."""

    def __init__(self, root: Path, pids: str | None = None, cgroups: str | None = None) -> None:
        self.tree = Tree(root, **{k: v for k, v in (("pids", pids), ("cgroups", cgroups)) if v})
        self.root = root
        self.now = 5000.0
        self.users = Users(lambda uid: {0: "root", 1000: "alice", 1001: "bob"}[uid], self.clock)
        self.resolver = self.new()

    def clock(self) -> float:
        return self.now

    def new(self) -> Resolver:
        return Resolver(
            self.tree.proc,
            self.tree.logs,
            self.root / "docker",
            self.root / "podman",
            users=self.users,
            clock=self.clock,
            wall=lambda: BOOT + self.now,
            boot=self.clock,
        )

    def owner(self, pid: int) -> Owner:
        found = self.resolver.resolve(pid)
        assert found is not None
        return found.owner
