"""Owners, processes and allocations read back from a page, and what owners draw between two."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.exposition.ownersreader import OwnerStatus
from gpu_sentinel.exposition.reader import Status, parse_status
from gpu_sentinel.exposition.usagerates import Rates, fill

NOW = 1_800_000_000.0
GPU = 'gpu="0",uuid="GPU-0"'
ALICE = (
    'owner_kind="slurm_job",owner="17",k8s_namespace="",k8s_pod="",slurm_job="17",'
    'slurm_account="physics",user="alice"'
)
POD = (
    'owner_kind="pod",owner="lab/nb",k8s_namespace="lab",k8s_pod="nb",slurm_job="",'
    'slurm_account="",user=""'
)
PROCESS = (
    f'{GPU},gpu_instance="",pid="71",process="python3",{ALICE},k8s_container="",slurm_step="0"'
)


def page(*more: str, power: str = "300") -> str:
    lines = [
        'gpu_sentinel_build_info{version="1"} 1',
        "gpu_sentinel_nvml_up 1",
        f"gpu_lost{{{GPU}}} 0",
        f"gpu_power_watts{{{GPU}}} {power}",
        *more,
    ]
    return "\n".join(lines) + "\n"


def read(*more: str, power: str = "300") -> Status:
    return parse_status(page(*more, power=power), NOW)


def energy(owner: str, idle: float, active: float) -> list[str]:
    name = "gpu_owner_energy_joules_total"
    return [
        f'{name}{{{GPU},{owner},part="idle"}} {idle}',
        f'{name}{{{GPU},{owner},part="active"}} {active}',
    ]


def held(owner: str, instance: str = "") -> str:
    more = 'k8s_container="",slurm_step="",resource="slurm",source="slurm"'
    return f'gpu_allocation_info{{{GPU},gpu_instance="{instance}",{owner},{more}}} 1'


def only(owners: list[OwnerStatus], name: str) -> OwnerStatus:
    (found,) = (owner for owner in owners if owner.owner == name)
    return found


def test_all_that_a_page_says_of_an_owner():
    found = read(
        f"gpu_owner_memory_used_bytes{{{GPU},{ALICE}}} 5e9",
        f"gpu_owner_busy_seconds_total{{{GPU},{ALICE}}} 12.5",
        f"gpu_owner_allocated_seconds_total{{{GPU},{ALICE}}} 20",
        f"gpu_owner_idle_allocated_seconds_total{{{GPU},{ALICE}}} 7",
        f"gpu_owner_processes{{{GPU},{ALICE}}} 2",
        *energy(ALICE, 100.0, 900.0),
        held(ALICE),
    )
    (owner,) = found.owners
    assert owner == OwnerStatus(
        gpu=0,
        uuid="GPU-0",
        owner_kind="slurm_job",
        owner="17",
        slurm_job="17",
        slurm_account="physics",
        user="alice",
        holds=True,
        processes=2,
        memory_used_bytes=5e9,
        busy_seconds=12.5,
        idle_joules=100.0,
        active_joules=900.0,
        allocated_seconds=20.0,
        idle_allocated_seconds=7.0,
    )
    assert owner.joules == 1000.0
    (allocation,) = found.allocations
    assert (allocation.owner, allocation.source, allocation.gpu_instance) == ("17", "slurm", None)


def test_all_that_a_page_says_of_a_process():
    found = read(
        f"gpu_process_memory_used_bytes{{{PROCESS}}} 4e9",
        f"gpu_process_busy_seconds_total{{{PROCESS}}} 61",
        f'gpu_process_utilization_ratio{{{PROCESS},engine="memory"}} 0.2',
        f'gpu_process_utilization_ratio{{{PROCESS},engine="sm"}} 0.5',
        f"gpu_process_start_timestamp_seconds{{{PROCESS}}} 1.7e9",
    )
    (process,) = found.processes
    assert (process.pid, process.process, process.slurm_step) == (71, "python3", "0")
    assert (process.memory_used_bytes, process.busy_seconds) == (4e9, 61.0)
    assert (process.sm_ratio, process.start_timestamp_seconds) == (0.5, 1.7e9)


def test_the_rest_that_is_summed_up_has_no_number():
    labels = PROCESS.replace('pid="71"', 'pid=""').replace("python3", "other")
    (process,) = read(f"gpu_process_memory_used_bytes{{{labels}}} 1").processes
    assert process.pid is None
    assert process.process == "other"


def test_who_only_holds_a_gpu_is_an_owner_too():
    (owner,) = read(held(POD)).owners
    assert (owner.owner, owner.holds, owner.processes) == ("lab/nb", True, None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"gpu_owner_processes{{{GPU}}} 1", "a series without the label 'owner_kind'"),
        (f"gpu_owner_processes{{{ALICE}}} 1", "a series without the label 'uuid'"),
        (held(ALICE, "x" * 1000), "is no whole number"),
        (
            f"gpu_process_memory_used_bytes{{{PROCESS.replace('71', '-1')}}} 1",
            "pid='-1' is no whole number",
        ),
    ],
)
def test_a_page_of_somebody_else(line: str, said: str):
    with pytest.raises(ValueError, match=re.escape(said)):
        read(line)


_LINES = st.sampled_from(
    [
        held(ALICE),
        held(POD, "3"),
        *energy(ALICE, 1.0, 2.0),
        f"gpu_owner_processes{{{GPU},{POD}}} NaN",
        f"gpu_owner_processes{{{GPU},{POD}}} 1e300",
        f"gpu_process_busy_seconds_total{{{PROCESS}}} +Inf",
        f"gpu_process_busy_seconds_total{{{PROCESS}}} -5",
    ]
)


@given(st.lists(_LINES), st.text(max_size=60), st.integers(0, 400))
def test_a_page_that_is_cut_or_wrong_anywhere(lines: list[str], wrong: str, at: int):
    text = page(*lines)
    try:
        found = parse_status(text[:at] + wrong + text[at:], NOW)
    except ValueError:
        return
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["owners"] is not None


def test_owners_draw_what_their_gpu_draws():
    before = read(*energy(ALICE, 100.0, 900.0), *energy(POD, 0.0, 50.0)).owners
    after = read(*energy(ALICE, 200.0, 1600.0), *energy(POD, 0.0, 250.0), power="500")
    fill(after, before, 2.0)
    assert only(after.owners, "17").power_watts == pytest.approx(400.0)
    assert only(after.owners, "lab/nb").power_watts == pytest.approx(100.0)


def test_a_gpu_that_tells_no_power_has_its_counters():
    before = read(*energy(ALICE, 0.0, 100.0)).owners
    after = read(*energy(ALICE, 0.0, 700.0), power="NaN")
    fill(after, before, 2.0)
    assert only(after.owners, "17").power_watts == pytest.approx(300.0)


def test_a_new_owner_draws_from_the_beginning():
    before = read(*energy(ALICE, 0.0, 100.0)).owners
    after = read(*energy(ALICE, 0.0, 200.0), *energy(POD, 0.0, 200.0))
    fill(after, before, 1.0)
    assert only(after.owners, "lab/nb").power_watts == pytest.approx(200.0)


def test_after_a_restart_of_the_exporter_nobody_knows_for_a_moment():
    before = read(*energy(ALICE, 500.0, 1000.0)).owners
    after = read(*energy(ALICE, 5.0, 10.0))
    fill(after, before, 1.0)
    assert only(after.owners, "17").power_watts is None


def test_nothing_grew_between_two_readings():
    before = read(*energy(ALICE, 0.0, 100.0)).owners
    after = read(*energy(ALICE, 0.0, 100.0))
    fill(after, before, 0.2)
    assert only(after.owners, "17").power_watts is None


def test_sm_time_is_that_of_the_processes():
    processes = f"gpu_owner_processes{{{GPU},{ALICE}}} 1"
    used = f'gpu_process_utilization_ratio{{{PROCESS},engine="sm"}} 0.75'
    found = read(processes, used)
    fill(found, [], 1.0)
    assert only(found.owners, "17").sm_ratio == 0.75


def test_sm_time_where_processes_are_not_shown():
    def of(busy: float, *more: str) -> Status:
        return read(f"gpu_owner_busy_seconds_total{{{GPU},{ALICE}}} {busy}", *more)

    after = of(13.0)
    fill(after, of(10.0).owners, 4.0)
    assert only(after.owners, "17").sm_ratio == pytest.approx(0.75)


def test_a_holder_knows_how_long_it_was():
    def of(busy: float, allocated: float) -> Status:
        return read(
            f"gpu_owner_busy_seconds_total{{{GPU},{ALICE}}} {busy}",
            f"gpu_owner_allocated_seconds_total{{{GPU},{ALICE}}} {allocated}",
            held(ALICE),
        )

    after = of(12.0, 104.0)
    fill(after, of(10.0, 100.0).owners, 4.9)
    assert only(after.owners, "17").sm_ratio == pytest.approx(0.5)


def test_readings_of_the_last_seconds_are_remembered():
    rates = Rates(window=5.0)
    shown = []
    for second in range(20):
        # One owner draws until the tenth second, the other one after it.
        first = min(second, 10) * 100.0
        found = read(*energy(ALICE, 0.0, first), *energy(POD, 0.0, second * 100.0 - first))
        rates.add(found, float(second))
        shown.append(only(found.owners, "17").power_watts)
    assert shown[0] is None
    assert shown[5] == pytest.approx(300.0)
    assert 0.0 < shown[12] < 300.0
    assert shown[19] == 0.0
