"""What the alerts about owners know, what they leave unsaid, and what they say it costs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ownerscenarios import (
    ALLOCATED,
    BOBS,
    BUSY,
    HELD,
    IDLE,
    JOB,
    MEMORY,
    OBSERVED,
    OF_BOB,
    POD,
    PROCESS_MEMORY,
    PROCESS_RAN,
    RAN,
)

from gpu_sentinel.rules.files import write
from gpu_sentinel.rules.limits import Limits, Override
from gpu_sentinel.rules.thresholds import DEFAULTS

GPU = 'job="gpu-sentinel",instance="a:9836",host="node-7",gpu="0",uuid="GPU-0"'
HOURS = "75m"
TOTAL = {"gpu_memory_total_bytes": "80x75"}
SOURCE = "gpu_sentinel_owner_source_up"
STRANGER = 'owner_kind="none",owner="unattributed",k8s_namespace="",k8s_pod="",slurm_job="",user=""'
#: An idle allocation: a minute a step.
IDLING = {BUSY: "0x75", OBSERVED: "0+60x75", ALLOCATED: "0+60x75", IDLE: "0+60x75"}
HOLDING = {
    **TOTAL,
    BUSY: "0x75",
    OBSERVED: "0+60x75",
    PROCESS_MEMORY: "40x75",
    PROCESS_RAN: "0x75",
}
UID_ONLY = MEMORY.replace(JOB, 'owner_kind="pod",owner="3f0a1f6e",k8s_namespace="",k8s_pod=""')
POD_HELD = f'gpu_allocation_info{{{POD},gpu_instance="",resource="nvidia.com/gpu",shared=""}}'
LEFT = {**TOTAL, MEMORY: "40x75", ALLOCATED: "900x75"}
BESIDE = {**TOTAL, BOBS: "1x75", OF_BOB: "20x75", f'{SOURCE}{{source="kubelet"}}': "1x75"}


@pytest.fixture
def evaluated(tool: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """What promtool says of series of one GPU: "" where all is as expected."""

    def run(
        series: Mapping[str, str], at: str, checks: Mapping[str, Any], limits: Limits = DEFAULTS
    ) -> str:
        write(limits, tmp_path)
        # The others cost time only.
        names = ("gpu", "owners", "thresholds", "availability", "hardware", "work")
        found = (tmp_path / f / f"{n}.yml" for f in ("rules", "alerts") for n in names)
        files = [str(path) for path in found if path.exists()]
        test = {
            "interval": "1m",
            "input_series": [
                {"series": _on_gpu(name), "values": values} for name, values in series.items()
            ],
            **{key: [{"eval_time": at, **c} for c in found] for key, found in checks.items()},
        }
        path = tmp_path / "test.yml"
        path.write_text(
            json.dumps({"rule_files": files, "evaluation_interval": "1m", "tests": [test]})
        )
        command = [tool("promtool"), "test", "rules", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    return run


def _on_gpu(name: str) -> str:
    base, _, own = name.partition("{")
    return f"{base}{{{','.join(filter(None, (GPU, own.removesuffix('}'))))}}}"


def firing(alert: str, count: int) -> dict[str, Any]:
    expr = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    sample = {"labels": "{}", "value": count}
    return {"promql_expr_test": [{"expr": expr, "exp_samples": [sample]}]}


#: Alert -> series, and what is different where it is not told.
KNOWN: Sequence[tuple[str, str, Mapping[str, str], Mapping[str, str], str]] = (
    ("the GPU works, and nobody says for whom", "GpuAllocationIdle", IDLING, {BUSY: "0+36x75"}, ""),
    (
        "somebody works who may be the holder",
        "GpuAllocationIdle",
        IDLING,
        {f"gpu_owner_busy_seconds_total{{{STRANGER}}}": "0+36x75", BUSY: "0+36x75"},
        "",
    ),
    (
        "the holder works",
        "GpuAllocationIdle",
        IDLING,
        {RAN: "0+36x75", BUSY: "0+36x75", IDLE: "0+24x75"},
        "",
    ),
    (
        "the GPU works, and nobody says for whom",
        "GpuMemoryHeldIdle",
        HOLDING,
        {BUSY: "0+36x75"},
        "",
    ),
    (
        "who holds all of it is told already",
        "GpuMemoryHeldIdle",
        HOLDING,
        {
            f"gpu_owner_allocated_seconds_total{{{POD}}}": "0+60x75",
            f"gpu_owner_idle_allocated_seconds_total{{{POD}}}": "0+60x75",
        },
        "",
    ),
    ("it holds it still", "GpuMemoryLeftBehind", LEFT, {HELD: "1x75"}, ""),
    (
        "Slurm cannot be asked",
        "GpuMemoryLeftBehind",
        LEFT,
        {f'{SOURCE}{{source="slurm"}}': "0x75"},
        "",
    ),
    ("it never held it", "GpuMemoryLeftBehind", LEFT, {}, ALLOCATED),
    (
        "only the uid of the pod is known",
        "GpuMemoryLeftBehind",
        {
            **TOTAL,
            MEMORY.replace(JOB, POD.replace("notebook-9", "old")): "40x75",
            POD_HELD: "1x75",
        },
        {UID_ONLY: "40x75"},
        MEMORY.replace(JOB, POD.replace("notebook-9", "old")),
    ),
    (
        "nobody gives GPUs away there",
        "GpuUsedWithoutAllocation",
        BESIDE,
        {},
        f'{SOURCE}{{source="kubelet"}}',
    ),
    (
        "the pids of the host are not seen",
        "GpuUsedWithoutAllocation",
        BESIDE,
        {f'{SOURCE}{{source="proc"}}': "0x75"},
        "",
    ),
    (
        "he holds it himself",
        "GpuUsedWithoutAllocation",
        BESIDE,
        {HELD.replace("alice", "bob"): "1x75"},
        "",
    ),
    (
        "jobs are known by a file",
        "GpuUsedWithoutAllocation",
        BESIDE,
        {'gpu_allocation_info{owner_kind="slurm_job",owner="1",source="mapping"}': "1x75"},
        "",
    ),
)


@pytest.mark.parametrize(
    ("alert", "series", "other", "gone"),
    [case[1:] for case in KNOWN],
    ids=[f"{alert}: {why}" for why, alert, *_ in KNOWN],
)
def test_in_doubt_nothing_is_said(evaluated, alert: str, series, other, gone: str):
    assert evaluated(series, HOURS, firing(alert, 1)) == ""
    left = {name: values for name, values in {**series, **other}.items() if name != gone}
    assert evaluated(left, HOURS, firing(alert, 0)) == ""


def test_owners_are_told_where_processes_are_not(evaluated):
    series = {**TOTAL, BUSY: "0x75", OBSERVED: "0+60x75", MEMORY: "40x75", RAN: "0x75"}
    assert evaluated(series, HOURS, firing("GpuMemoryHeldIdle", 1)) == ""
    assert evaluated(series, HOURS, firing("GpuIdleWithMemory", 0)) == ""


def test_a_process_that_idles_beside_one_that_works_is_told(evaluated):
    series = {**HOLDING, BUSY: "0+36x75"}
    series[PROCESS_RAN.replace("4711", "4712")] = "0+36x75"
    series[PROCESS_MEMORY.replace("4711", "4712")] = "20x75"
    series[f"gpu_owner_busy_seconds_total{{{POD}}}"] = "0+36x75"
    assert evaluated(series, HOURS, firing("GpuMemoryHeldIdle", 1)) == ""


@pytest.mark.parametrize(
    ("prices", "overrides", "costs"),
    [
        ({}, (), ""),
        ({"price_per_gpu_hour": 2.0}, (), " They cost 2.50."),
        ({"price_per_gpu_hour": 2.0}, ({"price_per_gpu_hour": 4.0},), " They cost 5.00."),
        (
            {"price_per_gpu_hour": 2.0, "price_per_kwh": 0.4},
            (),
            " They cost 2.50. What the GPU drew at rest meanwhile cost 0.04.",
        ),
    ],
)
def test_what_it_costs(evaluated, prices, overrides, costs: str):
    limits = replace(
        DEFAULTS,
        values={**DEFAULTS.values, **prices},
        overrides=tuple(Override(values, host="node-7") for values in overrides),
    )
    energy = f'gpu_owner_energy_joules_total{{{JOB},part="idle"}}'
    series = {**IDLING, energy: "0+4800x75", HELD: "1x75", 'gpu_info{name="H100"}': "1x75"}
    said = evaluated(
        series, HOURS, {"alert_rule_test": [{"alertname": "GpuAllocationIdle"}]}, limits
    )
    told = f'of the last five minutes. So far: 1.2 GPU-hours.{costs}"'
    assert told in said, said
    assert 'owners="slurm job 4712"' in said


def test_a_job_that_has_just_ended_is_named(evaluated):
    """An XID kills the job: when the mail is read, nobody holds the GPU."""
    ended = "1x5 stale"
    series = {
        "gpu_lost": "0x5 1x10",
        HELD: ended,
        f"gpu_owner_processes{{{JOB}}}": ended,
        BOBS: "0x75",
        f"gpu_owner_processes{{{STRANGER}}}": "1x75",
    }
    said = evaluated(series, "7m", {"alert_rule_test": [{"alertname": "GpuLost"}]})
    assert 'owners="slurm job 4712"' in said, said
    said = evaluated(series, "12m", {"alert_rule_test": [{"alertname": "GpuLost"}]})
    assert 'owners=""' in said, said


def test_the_owner_whom_an_xid_names_is_told(evaluated):
    """Beside who holds the GPU: another owner may be on it."""
    last = "gpu_owner_xid_last_timestamp_seconds"
    series = {
        'gpu_xid_last_timestamp_seconds{xid="48"}': "0x10",
        f'{last}{{{JOB},xid="48",gpu_instance=""}}': "0x10",
        f'{last}{{{STRANGER},xid="48",gpu_instance=""}}': "30x10",
        f'{last}{{{POD},xid="31",gpu_instance=""}}': "60x10",
        BOBS: "1x10",
    }
    said = evaluated(series, "2m", {"alert_rule_test": [{"alertname": "GpuXidReset"}]})
    assert 'owners="user bob (the XID names slurm job 4712)"' in said, said


def test_labels_of_pods_are_joined(evaluated, repository: Path):
    """The query of the page; of a pod that was given another label, one of the two counts."""
    page = (repository / "docs" / "owners.md").read_text()
    (query,) = re.findall(r"```promql\n(.+?)```", page, re.DOTALL)
    energy, labels = "gpu_owner_energy_joules_total", "kube_pod_labels"
    other = POD.replace("notebook-9", "notebook-8")
    pod = 'namespace="lab",pod="notebook-9"'
    series = {
        f'{energy}{{{POD},part="idle"}}': "0+36000x60",
        f'{energy}{{{POD},part="active"}}': "0+24000x60",
        f'{energy}{{{other},part="idle"}}': "0+36000x60",
        f'{labels}{{{pod},label_team="vision",node="a"}}': "1x30 stale",
        f'{labels}{{{pod},label_team="vision",node="b"}}': "1x30 stale",
        f'{labels}{{namespace="b",pod="notebook-9",label_team="wrong"}}': "1x60",
    }
    value = {"labels": '{label_team="vision"}', "value": 1.0}
    checks = {"promql_expr_test": [{"expr": query, "exp_samples": [value]}]}
    assert evaluated(series, "1h", checks) == ""


def test_owners_of_a_host_are_kept(evaluated):
    series = {
        **IDLING,
        MEMORY: "40x75",
        f'gpu_owner_energy_joules_total{{{JOB},part="idle"}}': "0+6000x75",
        f'gpu_owner_energy_joules_total{{{JOB},part="active"}}': "0+18000x75",
    }
    labels = (
        'host="node-7",owner="4712",owner_kind="slurm_job",slurm_account="physics",user="alice"'
    )
    expected = {
        "gpu_power_watts:mean5m": 400,
        "gpu_allocated_seconds:rate5m": 1,
        "gpu_idle_allocated_seconds:rate5m": 1,
        "gpu_memory_used_bytes:sum": 40,
    }
    checks = [
        {
            "expr": f"host_owner:{name}",
            "exp_samples": [{"labels": f"host_owner:{name}{{{labels}}}", "value": value}],
        }
        for name, value in expected.items()
    ]
    assert evaluated(series, "30m", {"promql_expr_test": checks}) == ""
    # Where nobody says who works, nobody is said to be idle.
    unknown = {**series, BUSY: "0+36x75"}
    none = [{"expr": "host_owner:gpu_idle_allocated_seconds:rate5m", "exp_samples": []}]
    assert evaluated(unknown, "30m", {"promql_expr_test": none}) == ""
