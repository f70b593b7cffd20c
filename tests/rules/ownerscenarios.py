"""As scenarios.py, of those who use and hold GPUs."""

from __future__ import annotations

from timelines import Move, Scenario, absent, counter, gauge

GIB = 2.0**30
OBSERVED = 'gpu_observed_seconds_total{signal="utilization"}'
BUSY = "gpu_busy_seconds_total"
TOTAL = {"gpu_memory_total_bytes": gauge(80 * GIB)}
JOB = (
    'owner_kind="slurm_job",owner="4712",k8s_namespace="",k8s_pod="",slurm_job="4712",'
    'slurm_account="physics",user="alice"'
)
POD = (
    'owner_kind="pod",owner="lab/notebook-9",k8s_namespace="lab",k8s_pod="notebook-9",'
    'slurm_job="",slurm_account="",user=""'
)
BOB = (
    'owner_kind="user",owner="bob",k8s_namespace="",k8s_pod="",slurm_job="",'
    'slurm_account="",user="bob"'
)
ALLOCATED = f"gpu_owner_allocated_seconds_total{{{JOB}}}"
IDLE = f"gpu_owner_idle_allocated_seconds_total{{{JOB}}}"
RAN = f"gpu_owner_busy_seconds_total{{{JOB}}}"
MEMORY = f"gpu_owner_memory_used_bytes{{{JOB}}}"
HELD = f'gpu_allocation_info{{{JOB},gpu_instance="",resource="slurm",source="slurm",shared=""}}'
PROCESS = f'{POD},pid="4711",process="jupyter-lab"'
PROCESS_MEMORY = f"gpu_process_memory_used_bytes{{{PROCESS}}}"
PROCESS_RAN = f"gpu_process_busy_seconds_total{{{PROCESS}}}"
OF_BOB, BOBS = f"gpu_owner_memory_used_bytes{{{BOB}}}", f"gpu_owner_processes{{{BOB}}}"


def _busy(share: float) -> dict[str, Move]:
    return {BUSY: counter(share), OBSERVED: counter(1.0)}


def _pod(name: str, shared: str = "") -> str:
    owner = f'owner_kind="pod",owner="lab/{name}",k8s_namespace="lab",k8s_pod="{name}"'
    rest = f'gpu_instance="",resource="nvidia.com/gpu",source="kubelet",shared="{shared}"'
    return f"gpu_allocation_info{{{owner},{rest}}}"


OWNERS = {
    "GpuAllocationIdle": Scenario(
        {**_busy(0.9), ALLOCATED: counter(1), IDLE: counter(0.1), RAN: counter(0.9)},
        {BUSY: counter(0), IDLE: counter(1), RAN: counter(0)},
        {BUSY: counter(0.04), IDLE: counter(0.94), RAN: counter(0.04)},
        fires=4000,
        quiet=3600,
        clears=400,
        step=15,
    ),
    "GpuMemoryHeldIdle": Scenario(
        {**_busy(0.9), **TOTAL, PROCESS_MEMORY: gauge(40 * GIB), PROCESS_RAN: counter(0.9)},
        {BUSY: counter(0), PROCESS_RAN: counter(0)},
        {BUSY: counter(0), PROCESS_RAN: counter(0), PROCESS_MEMORY: gauge(3.9 * GIB)},
        fires=4000,
        quiet=3600,
        clears=400,
        step=15,
    ),
    # What is not there any more is found for five minutes.
    "GpuMemoryLeftBehind": Scenario(
        {**TOTAL, MEMORY: gauge(40 * GIB), ALLOCATED: counter(1), HELD: gauge(1)},
        {ALLOCATED: counter(0), HELD: absent()},
        {ALLOCATED: counter(0), HELD: absent(), MEMORY: gauge(3.9 * GIB)},
        fires=385,
        quiet=345,
    ),
    "GpuUsedWithoutAllocation": Scenario(
        {
            **TOTAL,
            BOBS: gauge(2),
            OF_BOB: gauge(1 * GIB),
            'gpu_sentinel_owner_source_up{source="kubelet"}': gauge(1),
            'gpu_sentinel_owner_source_up{source="proc"}': gauge(1),
        },
        {OF_BOB: gauge(20 * GIB)},
        {OF_BOB: gauge(3.9 * GIB)},
        fires=630,
        quiet=590,
    ),
    "GpuHeldTwice": Scenario(
        {_pod("a"): gauge(1), _pod("b"): absent(), _pod("b", "yes"): absent()},
        {_pod("b"): gauge(1)},
        {_pod("b", "yes"): gauge(1)},
        fires=320,
        quiet=290,
        clears=330,
    ),
}
