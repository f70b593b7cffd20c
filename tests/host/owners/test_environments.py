"""Jobs by the environment of their processes."""

from __future__ import annotations

import pytest
from faketree import environment
from hypothesis import example, given
from hypothesis import strategies as st

from gpu_sentinel.host.owners.environ import ENVIRON_BYTES, Job, indices, job

#: As a batch script and a step of Debian's Slurm 22.05 have them, and one with accounting.
BATCH = {
    "SLURM_JOB_ID": "2", "SLURM_JOBID": "2", "SLURM_JOB_USER": "root", "SLURM_JOB_UID": "0",
    "SLURM_JOB_PARTITION": "p", "SLURM_JOB_GPUS": "0,2-3",
}  # fmt: skip
STEP = {**BATCH, "SLURM_STEP_ID": "0", "SLURM_JOB_ACCOUNT": "physics", "SLURM_STEP_GPUS": "1"}


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        (BATCH, Job("slurm", "2", "", "root", 0, "", (0, 2, 3))),
        (STEP, Job("slurm", "2", "0", "root", 0, "physics", (0, 2, 3))),
        ({"SLURM_JOBID": "7", "SLURM_STEPID": "1"}, Job("slurm", "7", "1")),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "4294967290"}, Job("slurm", "7", "interactive")),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_GPUS": "5"}, Job("slurm", "7", gpus=(5,))),
        ({"PBS_JOBID": "12[3].pbs-1", "LSB_JOBID": "4"}, Job("pbs", "12[3].pbs-1")),
        ({"LSB_JOBID": "204", "LSB_JOBINDEX": "0"}, Job("lsf", "204")),
        ({"LSB_JOBID": "204", "LSB_JOBINDEX": "17"}, Job("lsf", "204[17]")),
        ({"SLURM_JOB_ID": "", "LSB_JOBID": "204"}, Job("lsf", "204")),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_USER": "a\x1b[31m", "SLURM_JOB_UID": "-1",
          "SLURM_JOB_ACCOUNT": "x y", "SLURM_STEP_ID": "../0", "SLURM_JOB_GPUS": "0,x"},
         Job("slurm", "7")),
        ({"SLURM_JOB_ID": "7; rm"}, None),
        ({"SLURM_JOB_ID": "1" * 21}, None),
        ({"PBS_JOBID": "x"}, None),
        ({"XSLURM_JOB_ID": "7", "PATH": "SLURM_JOB_ID=7"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_job_is_what_its_variables_say(variables: dict[str, str], found: Job | None):
    assert job(environment({"PATH": "/bin", **variables}.items())) == found


def test_the_first_of_a_name_counts():
    assert job(environment([("SLURM_JOB_ID", "1"), ("SLURM_JOB_ID", "2")])).id == "1"


def test_a_variable_that_is_cut_is_no_variable():
    whole = b"A=" + b"a" * (ENVIRON_BYTES - 20) + b"\0SLURM_JOB_ID=123456\0"
    assert job(whole[:ENVIRON_BYTES]) is None
    assert job(whole[:ENVIRON_BYTES], ENVIRON_BYTES + 1) == Job("slurm", "1234")
    assert job(b"SLURM_JOB_ID=12\0" + whole[: ENVIRON_BYTES - 16]) == Job("slurm", "12")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0", (0,)), ("3,1,3", (3, 1)), ("0-2", (0, 1, 2)), (" 1, 2", (1, 2)), ("", ()),
        ("2-1", ()), ("0-4096", ()), ("-1", ()), ("GPU-1", ()), ("0,,1", ()), ("1" * 999, ()),
    ],
)  # fmt: skip
def test_indices(text: str, found: tuple[int, ...]):
    assert indices(text) == found


@given(st.binary(max_size=300))
@example(b"SLURM_JOB_ID=\xff\0")
@example(b"SLURM_JOB_ID")
@example(b"\0\0=\0")
def test_any_bytes_are_an_environment(content: bytes):
    found = job(content)
    assert found is None or found.id


KEYS = st.sampled_from([*STEP, "PBS_JOBID", "LSB_JOBID", "LSB_JOBINDEX"])


@given(st.dictionaries(KEYS, st.text(max_size=30).filter(lambda text: "\0" not in text)))
def test_any_values_are_a_job_or_none(variables: dict[str, str]):
    found = job("".join(f"{k}={v}\0" for k, v in variables.items()).encode("utf-8", "replace"))
    if found is not None:
        assert found.id in {
            *variables.values(),
            f"{variables.get('LSB_JOBID')}[{variables.get('LSB_JOBINDEX')}]",
        }
        assert all(text.isprintable() for text in (found.id, found.step, found.user, found.account))
