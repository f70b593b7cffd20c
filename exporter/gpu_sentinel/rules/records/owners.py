"""Records of who uses and who holds the GPUs."""

from __future__ import annotations

from gpu_sentinel.rules.declare import GPU, JOIN, OWNER, OWNER_JOIN, Group, Record
from gpu_sentinel.rules.limits import Limits

ABOUT = (
    "What owners of GPUs (pods, jobs, containers, units, users) have of a host together, kept by "
    "host and owner, so that a month of a fleet can be drawn. `host_owner` means by (cluster, host, "
    "owner_kind, owner, k8s_namespace, slurm_account, user). An owner comes and goes: its total over "
    "a range is the sum of a record's samples over the number of samples of fleet:hosts:count in it, "
    "times the length of the range, because avg_over_time() would not count its absence."
)
#: Set where it is known for how long the kernels of each owner ran.
KNOWN = "gpu:owner_busy:known"
#: Set where it is also known of those who hold the GPU.
HOLDER_KNOWN = "gpu:holder_busy:known"
_BY = f"sum by (cluster, host, {OWNER})"


def groups(limits: Limits) -> tuple[Group, ...]:
    """Every minute, as what is recorded of the fleet."""
    known = Record(
        name=KNOWN,
        expr=f"""
        max by ({GPU}) (
          (gpu:utilization_ratio:mean5m < {limits.number("idle_utilization_ratio")})
          or
          (sum by ({GPU}) (rate(gpu_owner_busy_seconds_total[5m])) > 0)
          or
          max by ({GPU}) (gpu_mig_instance_sm_active_seconds_total)
        ) * 0 + 1""",
        why="Some drivers do not tell which process runs kernels: then everybody seems to be idle. "
        "That nobody works is certain where the GPU does not, where somebody is seen to work, and "
        "where MIG instances tell how busy they are.",
    )
    holders = Record(
        name=HOLDER_KNOWN,
        expr=f"""
        {KNOWN}
        unless on ({JOIN}) (
          (
            sum by ({OWNER_JOIN}) (
              rate(gpu_owner_busy_seconds_total{{k8s_pod="",slurm_job=""}}[5m])
            ) > {limits.number("idle_utilization_ratio")}
          )
          unless on ({OWNER_JOIN}) gpu_allocation_info
        )""",
        why="What runs there and cannot be traced to a pod or a job may be its holder's.",
    )
    rates = (
        ("gpu_power_watts:mean5m", "energy_joules", "Exact: from the energy."),
        ("gpu_busy_seconds:rate5m", "busy_seconds", "As GPUs that are busy all the time."),
        ("gpu_allocated_seconds:rate5m", "allocated_seconds", "As GPUs."),
    )
    return (
        Group(
            name="gpu-owners",
            interval="1m",
            rules=(
                known,
                holders,
                *(
                    Record(
                        name=f"host_owner:{name}",
                        expr=f"{_BY} (rate(gpu_owner_{counter}_total[5m]))",
                        why=why,
                    )
                    for name, counter, why in rates
                ),
                Record(
                    name="host_owner:gpu_idle_allocated_seconds:rate5m",
                    expr=f"{_BY} (\n"
                    "  rate(gpu_owner_idle_allocated_seconds_total[5m])\n"
                    f"    * on (job, instance, uuid) group_left () {HOLDER_KNOWN}\n)",
                    why="As GPUs that are held and idle.",
                ),
                Record(
                    name="host_owner:gpu_memory_used_bytes:sum",
                    expr=f"{_BY} (gpu_owner_memory_used_bytes)",
                ),
            ),
        ),
    )
