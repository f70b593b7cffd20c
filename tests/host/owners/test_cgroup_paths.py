"""Paths of cgroups as each runtime makes them, and as nobody should."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pathsamples import FORGED, ID, OTHER, POD, POD_, SAMPLES, STATIC, v2

from gpu_sentinel.host.owners.cgroups import NOWHERE, Place, beside, place


@pytest.mark.parametrize("name", SAMPLES)
def test_a_path_says_where_a_process_stands(name: str):
    assert place(SAMPLES[name].text) == SAMPLES[name].place


@pytest.mark.parametrize("name", FORGED)
def test_who_may_make_cgroups_passes_for_nobody_else(name: str):
    found = place(v2(FORGED[name]))
    assert found.pod_uid == ""
    assert found.batch_job == ""
    assert found.slurm_job in ("", "5")
    assert found.login in (None, 1000)
    assert found.unit in ("", "user@1000.service", "slurmstepd.scope")
    assert found.container != ID or found.login == 1000


@pytest.mark.parametrize(
    "text",
    [
        f"5:devices:/docker/{ID}\n4:memory:/docker/{OTHER}\n",
        "6:freezer:/slurm/uid_0/job_1\n5:devices:/slurm/uid_0/job_2\n",
        f"6:freezer:/kubepods/pod{POD}/{ID}\n5:devices:/kubepods/pod{STATIC}/{ID}\n",
        "2:name=systemd:/system.slice/a.service\n0::/system.slice/b.service\n",
        "3:cpu:/user.slice/user-0.slice\n0::/user.slice/user-1000.slice/session-1.scope\n",
    ],
)
def test_lines_that_contradict_each_other_say_nothing(text: str):
    assert place(text) == Place(mixed=True)


@pytest.mark.parametrize(
    "path",
    [
        f"/docker/{ID[:-1]}", f"/docker/{ID.upper()}", f"/docker/{ID}0", f"/foo-{ID}.scope/x",
        f"/kubepods/podium{POD}", f"/kubepods/pod{POD[:-1]}", "/slurm/job_x/step_0", "/slurm/uid_1",
        "/slurmstepd.scope/job_", "/slurmstepd.scope/job_-1", "/slurmstepd.scope/job_1e3",
        "/lxc/..", "/lxc/", "/lxc", "/pbs_jobs.service/jobid/none", "/lsf/c/job", "/lsf/c/job.x.1",
        "/lxc.payload.", "/lxc.payload.\x1b[31m", "/machine.slice/machine-.scope/x",
        "/user.slice/user-.slice/x", "/user.slice/user-99999999999.slice/x", "/nomad/x.y",
        "/slurmstepd.scope/job_" + "9" * 21,
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_nothing(path: str):
    found = place(f"4:memory:{path}\n")
    assert found in (NOWHERE, Place(slurm_node=found.slurm_node))


def test_relative_paths_are_told_from_own_ones():
    assert beside("0::/../../system.slice/a.service\n")
    assert not beside("0::/\n5:devices:/a\n")
    assert not beside("")


def test_a_path_of_4_kib_is_read_to_its_end():
    deep = "/a" * 2000 + f"/docker-{ID}.scope"
    assert place(v2(deep)).container == ID


SEGMENT = st.one_of(
    st.sampled_from(
        [
            "", "..", "docker", ID, f"docker-{ID}.scope", f"pod{POD}", f"x-pod{POD_}.slice", "lxc",
            "slurmstepd.scope", "slurm", "slurm_n", "uid_0", "job_1", "step_0", "user-7.slice",
            "user@7.service", "jobid", "jobs", "pbs_jobs.service", "pbspro", "pbspro.slice", "lsf",
            "job.1.2.3", "machine-x.scope", f"a.slice:b:{ID}", "system.slice", "a.service",
        ]
    ),
    st.text(alphabet=string.printable + "\x00é\udcff", max_size=20),
)  # fmt: skip
PATHS = st.lists(SEGMENT, max_size=12).map(lambda parts: "/" + "/".join(parts))
TEXTS = st.lists(st.tuples(st.sampled_from(["", "name=systemd", "freezer", "cpu,cpuacct"]), PATHS))


@given(TEXTS)
def test_any_path_gives_what_it_holds_or_nothing(rows: list[tuple[str, str]]):
    text = "".join(f"{number}:{name}:{path}\n" for number, (name, path) in enumerate(rows))
    found = place(text)
    if found.mixed:
        assert found == Place(mixed=True)
        return
    for value in (found.slurm_job, found.slurm_step, found.pod_uid.replace("-", "_")):
        assert value in text.replace("-", "_")
    if len(found.container) == 64:
        assert found.container in text
    everything = "".join(map(str, (found.container, found.unit, found.batch_job)))
    assert "/" not in everything
    assert "\n" not in everything
    assert found.runtime == "" or found.container


@given(st.text(max_size=400))
def test_any_text_is_read(text: str):
    assert isinstance(place(text), Place)


@given(st.binary(max_size=400))
def test_any_bytes_are_read(content: bytes):
    assert isinstance(place(content.decode("utf-8", "replace")), Place)


HEX = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64)


QOS = st.sampled_from(["", "burstable", "besteffort"])
LEAF, ABOVE = st.sampled_from(["", "/container"]), st.sampled_from(["", "/..", "/../.."])


@given(number=HEX, uid=st.uuids().map(str), qos=QOS, leaf=LEAF, above=ABOVE)
def test_every_pod_of_cgroupfs_is_found(*, number: str, uid: str, qos: str, leaf: str, above: str):
    found = place(v2(f"{above}/kubepods/{qos}/pod{uid}/{number}{leaf}".replace("//", "/")))
    assert (found.pod_uid, found.container) == (uid, number)


@pytest.mark.parametrize("prefix", ["cri-containerd", "crio", "docker"])
@given(number=HEX, uid=st.uuids().map(str), qos=QOS, leaf=LEAF, above=ABOVE)
def test_every_pod_of_systemd_is_found(
    *, prefix: str, number: str, uid: str, qos: str, leaf: str, above: str
):
    head = f"kubepods-{qos}-pod" if qos else "kubepods-pod"
    slice_ = f"{head}{uid.replace('-', '_')}.slice"
    found = place(v2(f"{above}/{slice_}/{prefix}-{number}.scope{leaf}"))
    assert (found.pod_uid, found.container) == (uid, number)


@given(PATHS)
def test_beneath_a_users_manager_there_are_no_pods_and_jobs(path: str):
    found = place(v2(f"/user.slice/user-1000.slice/user@1000.service{path}"))
    assert (found.pod_uid, found.slurm_job, found.batch_job, found.login) == ("", "", "", 1000)
