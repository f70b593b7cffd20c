"""The order of owners, what is believed of whom, and what is nobody's."""

from __future__ import annotations

from pathlib import Path

import pytest
from faketree import BOOT, KERNEL_THREAD, OTHER_CGROUPS, OTHER_PIDS, environment
from filesworld import ID, JOB, KUBE, LOGIN, POD, SLURM, VARIABLES, World
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.host.owners import procfs
from gpu_sentinel.host.owners.memory import LIFETIME
from gpu_sentinel.host.owners.resolver import AGAIN, SOON, Resolver
from gpu_sentinel.model import NOBODY, Owner


def test_a_pod_by_the_link_of_its_container(world: World):
    world.tree.add(50, 100, cgroup=KUBE, uid=1000, environ=JOB)
    world.tree.link("train-0", "research", "main", ID)
    # Neither what its environment says, nor who has its uid outside of it, concerns a pod.
    assert world.owner(50) == Owner("pod", "research/train-0", "research", "train-0", "main")


def test_a_pod_by_its_uid_until_the_link_is_there(world: World):
    world.tree.add(50, 100, cgroup=KUBE)
    assert world.owner(50) == Owner("pod", POD)
    world.tree.pod("research", "train-0", POD)
    world.now += SOON
    assert world.owner(50) == Owner("pod", "research/train-0", "research", "train-0")
    world.tree.link("train-0", "research", "main", ID)
    world.now += SOON
    assert world.owner(50).k8s_container == "main"


def test_a_container_that_is_seen_from_a_pod_is_a_pods(tmp_path: Path):
    world = World(tmp_path, cgroups=OTHER_CGROUPS)
    world.tree.add(50, 100, cgroup=f"0::/../cri-containerd-{ID}.scope\n")
    world.tree.link("train-0", "research", "main", ID)
    assert world.owner(50).name == "research/train-0"


def test_a_job_in_a_pod_belongs_to_the_pod(world: World):
    world.tree.add(50, 100, cgroup=KUBE.rstrip() + "/system.slice/slurmstepd.scope/job_7/step_0\n")
    world.tree.link("slurmd-0", "slurm", "slurmd", ID)
    owner = world.owner(50)
    assert (owner.kind, owner.slurm_job, owner.slurm_step) == ("pod", "7", "0")


def test_a_job_by_its_cgroup_with_more_from_the_environment(world: World):
    world.tree.add(50, 100, cgroup=SLURM, uid=1000, environ=JOB)
    owner = Owner("slurm_job", "7", slurm_job="7", slurm_step="0", slurm_account="physics",
                  user="alice")  # fmt: skip
    found = world.resolver.resolve(50)
    assert (found.owner, found.gpus, found.uid) == (owner, (0, 1), 1000)


def test_an_environment_of_another_job_is_not_believed(world: World):
    world.tree.add(50, 100, cgroup=SLURM.replace("job_7", "job_8"), uid=1001, environ=JOB)
    found = world.resolver.resolve(50)
    assert found.owner == Owner("slurm_job", "8", slurm_job="8", slurm_step="0", user="bob")
    assert found.gpus == ()


@pytest.mark.parametrize("cgroup", ["0::/\n", "0::/system.slice/slurmd.service\n", LOGIN])
def test_a_job_by_the_environment_alone(world: World, cgroup: str):
    world.tree.add(50, 100, cgroup=cgroup, uid=1000, environ=JOB)
    assert (world.owner(50).kind, world.owner(50).name) == ("slurm_job", "7")


def test_variables_that_another_user_has_left_are_no_job(world: World):
    world.tree.add(50, 100, cgroup=LOGIN, uid=0, environ=JOB)
    assert world.owner(50) == Owner("user", "alice", user="alice")


def test_a_user_cannot_name_another_as_the_user_of_his_job(world: World):
    mine = environment({**VARIABLES, "SLURM_JOB_UID": "1001", "SLURM_JOB_USER": "alice"}.items())
    nobodys = environment({"SLURM_JOB_ID": "8", "SLURM_JOB_USER": "alice"}.items())
    world.tree.add(50, 100, cgroup=SLURM, uid=1001, environ=mine)
    world.tree.add(51, 100, cgroup="0::/\n", uid=1001, environ=nobodys)
    assert (world.owner(50).name, world.owner(50).user) == ("7", "bob")
    assert (world.owner(51).name, world.owner(51).user) == ("8", "bob")


def test_root_in_a_job_has_the_user_that_slurm_told(world: World):
    world.tree.add(50, 100, cgroup=SLURM, uid=0, environ=JOB)
    assert world.owner(50).user == "alice"


@pytest.mark.parametrize("real", [SLURM, "0::/\n"], ids=["cgroup", "environment"])
def test_a_job_of_another_user_does_not_pay(world: World, real: str):
    """Bob writes the number of alice's job into the environment of his own process."""
    claim = environment([("SLURM_JOB_ID", "7")])
    world.tree.add(50, 100, cgroup=real, uid=1000, environ=JOB)
    world.tree.add(51, 100, cgroup="0::/system.slice/cron.service\n", uid=1001, environ=claim)
    assert world.owner(50).name == "7"
    assert world.owner(51) == Owner("unit", "cron.service", user="bob")
    world.now += AGAIN
    assert (world.owner(51).kind, world.owner(50).kind) == ("unit", "slurm_job")


def test_a_claim_ends_when_the_job_is_seen_in_its_cgroup(world: World):
    claim = environment([("SLURM_JOB_ID", "7")])
    world.tree.add(51, 100, cgroup="0::/\n", uid=1001, environ=claim)
    assert world.owner(51).name == "7"
    world.tree.add(50, 100, cgroup=SLURM, uid=1000, environ=JOB)
    assert (world.owner(50).name, world.owner(50).user) == ("7", "alice")
    world.now += AGAIN
    assert (world.owner(50).name, world.owner(51).kind) == ("7", "user")


def test_jobs_of_other_systems(world: World):
    world.tree.add(50, 100, cgroup="0::/pbs_jobs.service/jobs/12.pbs\n", uid=1000)
    world.tree.add(51, 100, uid=1000, environ=environment([("LSB_JOBID", "204")]))
    assert world.owner(50) == Owner("pbs_job", "12.pbs", user="alice")
    assert world.owner(51) == Owner("lsf_job", "204", user="alice")


def test_containers_have_names_or_a_part_of_their_id(world: World):
    world.tree.add(50, 100, cgroup=f"0::/docker/{ID}\n", uid=1000)
    world.tree.add(51, 100, cgroup="0::/lxc.payload.train\n")
    rootless = "0::/user.slice/user-1000.slice/user@1000.service/user.slice"
    world.tree.add(52, 100, cgroup=f"{rootless}/libpod-{ID}.scope\n", uid=100999)
    assert world.owner(50) == Owner("container", ID[:12])
    assert world.owner(51) == Owner("container", "train")
    assert world.owner(52) == Owner("container", ID[:12], user="alice")
    folder = world.root / "docker" / "containers" / ID
    folder.mkdir(parents=True)
    (folder / "config.v2.json").write_text('{"Name": "/train"}')
    world.now += SOON
    assert world.owner(50) == Owner("container", "train")


def test_a_users_container_is_no_pod_whatever_it_is_called(world: World):
    world.tree.link("train-0", "research", "main", ID)
    rootless = "0::/user.slice/user-1000.slice/user@1000.service/kubepods"
    world.tree.add(50, 100, cgroup=f"{rootless}/pod{POD}/{ID}\n", uid=1000)
    assert world.owner(50) == Owner("container", ID[:12], user="alice")


def test_services_and_users(world: World):
    world.tree.add(50, 100, cgroup="0::/system.slice/ollama.service\n", uid=1001)
    world.tree.add(51, 100, cgroup=LOGIN, uid=0)  # with sudo
    world.tree.add(
        52, 100, cgroup=LOGIN.replace("session-3.scope", "user@1000.service/app.slice/a")
    )
    world.tree.add(53, 100, uid=4242)
    assert world.owner(50) == Owner("unit", "ollama.service", user="bob")
    assert world.owner(51) == Owner("user", "alice", user="alice")
    assert world.owner(52) == Owner("user", "alice", user="alice")
    assert world.owner(53) == Owner("user", "4242", user="4242")


@pytest.mark.parametrize(
    "case",
    [
        {"flags": KERNEL_THREAD, "cgroup": LOGIN},
        {"cgroup": f"5:devices:/docker/{ID}\n4:memory:/docker/{'b' * 64}\n"},
        {"cgroup": ""},
        {"state": "Z", "cgroup": "5:devices:/\n0::/\n", "uid": 1000},
        {"state": "Z", "cgroup": LOGIN, "uid": 1000},
    ],
)
def test_in_doubt_it_is_nobodys(world: World, case: dict[str, object]):
    world.tree.add(50, 100, **case)
    assert world.owner(50) == NOBODY


def test_a_neighbour_in_the_same_container_is_nobodys(tmp_path: Path):
    world = World(tmp_path, cgroups=OTHER_CGROUPS)
    world.tree.add(50, 100, cgroup="0::/\n", uid=1000)
    world.tree.add(51, 100, cgroup="0::/../..\n", uid=1000)
    assert world.owner(50) == NOBODY
    assert world.owner(51) == Owner("user", "alice", user="alice")


def test_in_another_namespace_a_pid_is_nothing(tmp_path: Path):
    world = World(tmp_path, pids=OTHER_PIDS)
    world.tree.add(50, 100)
    assert not world.resolver.visible
    assert world.resolver.resolve(50) is None
    assert world.resolver.recent(50, BOOT + 10) is None
    assert world.resolver.sources() == {"proc": False}


def test_pid_0_is_nobody(world: World):
    assert world.resolver.resolve(0) is None
    assert world.resolver.resolve(-1) is None


# --- Sources ------------------------------------------------------------------------------------


def test_sources_are_told_once_they_were_needed(world: World, monkeypatch: pytest.MonkeyPatch):
    assert world.resolver.sources() == {"proc": True}
    world.tree.add(50, 100, cgroup=LOGIN, environ=b"A=1\0")
    world.resolver.resolve(50)
    assert world.resolver.sources() == {"proc": True, "environ": True}
    world.tree.add(51, 100, cgroup=KUBE)
    world.resolver.resolve(51)
    assert world.resolver.sources() == {"proc": True, "environ": True, "container_links": False}
    world.tree.link("a", "b", "c", ID)
    world.now += SOON
    world.resolver.resolve(51)
    assert world.resolver.sources()["container_links"]
    real = procfs.read

    def read(path: str, most: int) -> bytes:
        if path.endswith("environ"):
            raise PermissionError(path)
        return real(path, most)

    monkeypatch.setattr(procfs, "read", read)
    world.now += AGAIN
    assert world.owner(50).kind == "user"
    assert not world.resolver.sources()["environ"]
    monkeypatch.undo()
    world.now += LIFETIME + 1
    world.resolver.resolve(50)
    assert world.resolver.sources()["environ"]


def test_names_are_numbers_where_the_users_are_not_the_machines(tmp_path: Path):
    world = World(tmp_path)
    (world.tree.proc / "self" / "mountinfo").write_text("9 8 0:50 / / rw - overlay overlay rw\n")
    world.tree.add(50, 100, uid=0)
    resolver = Resolver(world.tree.proc, world.tree.logs)
    assert resolver.resolve(50).owner == Owner("user", "0", user="0")


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=40))
def test_any_content_of_any_file_gives_an_owner(
    tmp_path_factory: pytest.TempPathFactory, cgroup: bytes, environ: bytes, name: bytes
):
    world = World(tmp_path_factory.mktemp("w"))
    world.tree.add(50, 100, name, cgroup=cgroup, environ=environ)
    owner = world.owner(50)
    assert owner.kind in {"pod", "slurm_job", "pbs_job", "lsf_job", "container", "unit", "user",
                          "none"}  # fmt: skip
    assert owner.name
    assert owner.name.isprintable()
