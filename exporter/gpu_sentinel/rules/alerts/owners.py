"""Who holds GPUs without using them, and who uses them without holding them."""

from __future__ import annotations

from gpu_sentinel.rules.declare import (
    GPU,
    JOIN,
    OWNER,
    OWNER_JOIN,
    OWNER_PAGE,
    PERCENT,
    SHORT,
    WHO,
    Alert,
    Group,
)
from gpu_sentinel.rules.limits import OVERRIDE, Limits
from gpu_sentinel.rules.records.owners import HOLDER_KNOWN, KNOWN

ABOUT = (
    "Who holds GPUs without using them, and who uses them without holding them. An owner is a pod, a "
    "job, a container, a unit or a user; what it holds is told by the kubelet, Slurm and others."
)
#: An owner in the text of an alert.
_OWNER = '{{ reReplaceAll "_" " " $labels.owner_kind }} {{ $labels.owner }}'
_TOTAL = f"on ({JOIN}) group_left () (max by ({JOIN}) (gpu_memory_total_bytes) > 0)"
#: Whom no scheduler of GPUs has started.
_STRANGERS = 'owner_kind=~"none|user"'


def groups(limits: Limits) -> tuple[Group, ...]:
    """None of it is urgent, but what a job leaves behind disturbs the next one soon."""
    return (
        Group(
            name="gpu-owners-idle",
            page=OWNER_PAGE,
            interval="1m",
            rules=(_allocation(limits), _process(limits)),
        ),
        Group(
            name="gpu-owners-astray",
            page=OWNER_PAGE,
            interval="15s",
            rules=(_left_behind(limits), _stranger(limits)),
        ),
        Group(name="gpu-holders", interval="1m", rules=(_held_twice(limits),)),
    )


def _idle_allocation(limits: Limits) -> str:
    """The share of the time, of owners that hold a GPU and do nothing with it."""
    idle, held = (
        f"sum by ({GPU}, {OWNER}) (rate(gpu_owner_{name}_seconds_total[5m]))"
        for name in ("idle_allocated", "allocated")
    )
    beyond = limits.beyond(f"{idle} / ({held} > 0)", ">", "idle_allocation_ratio")
    return f"{beyond}\nand on ({JOIN}) {HOLDER_KNOWN}"


def _so_far(limits: Limits) -> str:
    """How much it is by now, and what that has cost where a price is set."""
    mine = "instance=%[1]q,uuid=%[2]q,owner_kind=%[3]q,owner=%[4]q"
    hours = f"sum(gpu_owner_idle_allocated_seconds_total{{{mine}}}) / 3600"
    drawn = f"sum(gpu_owner_energy_joules_total{{{mine},part='idle'}}) / 3.6e6"
    hour, kwh = limits.number("price_per_gpu_hour"), limits.number("price_per_kwh")
    if limits.overridden("price_per_gpu_hour"):
        other = f"{OVERRIDE}{{threshold='price_per_gpu_hour',instance=%[1]q,uuid=%[2]q}}"
        hour = f"(sum({other}) or vector({hour}))"
    told = _number("So far: {} GPU-hours.", hours, 1)
    if hour != "0":
        told += _number("They cost {}.", f"{hours} * {hour}", 2)
    if kwh != "0":
        told += _number("What the GPU drew at rest meanwhile cost {}.", f"{drawn} * {kwh}", 2)
    return told


def _number(sentence: str, query: str, digits: int) -> str:
    """A sentence with the answer to a query about the owner of an alert, where there is one."""
    arguments = "$labels.instance $labels.uuid $labels.owner_kind $labels.owner"
    number = f'{{{{ . | first | value | printf "%.{digits}f" }}}}'
    ask = f'{{{{ with printf "{query}" {arguments} | query }}}}'
    return f"{ask} {sentence.format(number)}{{{{ end }}}}"


def _allocation(limits: Limits) -> Alert:
    key = "idle_allocation_ratio"
    return Alert(
        name="GpuAllocationIdle",
        severity="warning",
        subject="idle",
        expr=_idle_allocation(limits),
        wait="1h",
        why="Whether it has processes there or not: a holder without any is the one that is "
        "forgotten most often.",
        summary=f"{_OWNER} holds {SHORT} and does nothing",
        description=f"{_OWNER} has had {WHO} for an hour, and nothing of it ran there for {PERCENT} "
        f"of the last five minutes.{_so_far(limits)}",
        value=f"{PERCENT} of the time idle",
        threshold=f"more than {limits.text(key, 'humanizePercentage')} for 1 h",
        first_step="Ask {{ with $labels.user }}{{ . }}{{ else }}the owner{{ end }} whether "
        f"{_OWNER} still needs it. The dashboard shows since when it has been idle.",
    )


def _process(limits: Limits) -> Alert:
    held, idle = "idle_memory_ratio", "idle_utilization_ratio"
    labels = f"{GPU}, {OWNER}, pid, process"
    process = _nothing_done(limits, labels, "gpu_process_{}", 'pid!=""', "pid")
    owner = _nothing_done(limits, f"{GPU}, {OWNER}", "gpu_owner_{}", "", "owner_kind, owner")
    return Alert(
        name="GpuMemoryHeldIdle",
        severity="info",
        subject="idle",
        expr=f"""
(
  (
{process}
  )
or
  (
{owner}
    unless on ({JOIN}) gpu_process_memory_used_bytes
  )
)
and on ({JOIN}) {KNOWN}
unless on ({OWNER_JOIN}) (
{_idle_allocation(limits)}
)""",
        wait="1h",
        why="Each process by itself where they are shown, else each owner. Who holds the whole GPU "
        "and does nothing at all has another alert.",
        summary=f"{_OWNER} keeps memory of {SHORT} and does nothing",
        description="{{ with $labels.pid }}Process {{ . }} ({{ $labels.process }}) of {{ end }}"
        f"{_OWNER} has had {PERCENT} of the memory of {WHO} for an hour, and computed nothing.",
        value=f"{PERCENT} held",
        threshold=f"more than {limits.text(held, 'humanizePercentage')} held, less than "
        f"{limits.text(idle, 'humanizePercentage')} busy, for 1 h",
        first_step="Ask {{ with $labels.user }}{{ . }}{{ else }}the owner{{ end }} whether it can "
        "end. On {{ $labels.host }}: `gpu-sentinel top`.",
    )


def _nothing_done(limits: Limits, labels: str, metric: str, matcher: str, each: str) -> str:
    """The share of the memory that somebody has of whom nothing runs."""
    memory, busy = (
        metric.format(name) + (f"{{{matcher}}}" if matcher else "")
        for name in ("memory_used_bytes", "busy_seconds_total")
    )
    share = f"sum by ({labels}) ({memory}) / {_TOTAL}"
    used = f"sum by ({labels}) (rate({busy}[5m]))"
    return (
        f"{limits.beyond(share, '>', 'idle_memory_ratio')}\n"
        f"and on ({JOIN}, {each}) {limits.beyond(used, '<', 'idle_utilization_ratio')}"
    )


def _left_behind(limits: Limits) -> Alert:
    memory = f"""sum by ({GPU}, {OWNER}) (
  gpu_owner_memory_used_bytes{{owner_kind=~"pod|slurm_job"}}
    unless gpu_owner_memory_used_bytes{{owner_kind="pod",k8s_pod=""}}
)"""
    share = limits.beyond(f"{memory} / {_TOTAL}", ">", "idle_memory_ratio")
    return Alert(
        name="GpuMemoryLeftBehind",
        severity="warning",
        subject="astray",
        expr=f"""
{share}
and on ({OWNER_JOIN}) (
  gpu_owner_allocated_seconds_total
or
  gpu_owner_memory_used_bytes
    and on ({JOIN}, owner_kind) gpu_allocation_info
)
unless on ({OWNER_JOIN}) gpu_allocation_info
unless on (job, instance) gpu_sentinel_owner_source_up{{source=~"kubelet|slurm|mapping"}} == 0""",
        wait="1m",
        why="It held the GPU and does not any more, or another one of its kind holds it. Where those "
        "who know it cannot be asked, nobody is blamed, nor a pod of which only its uid is known.",
        summary=f"{_OWNER} has left memory behind on {SHORT}",
        description=f"{_OWNER} does not hold {WHO} (any more), and {PERCENT} of its memory is still "
        "in use by it: whoever gets the GPU next has less.",
        value=f"{PERCENT} of the memory",
        threshold=f"more than {limits.text('idle_memory_ratio', 'humanizePercentage')} for 1 min "
        "after its end",
        first_step="On {{ $labels.host }}: `gpu-sentinel top --once` for the processes of "
        "{{ $labels.owner }}; end them. A zombie goes when its parent does.",
    )


def _stranger(limits: Limits) -> Alert:
    each = f"sum by ({GPU}, {OWNER})"
    memory = f"{each} (gpu_owner_memory_used_bytes{{{_STRANGERS}}}) / {_TOTAL}"
    busy = f"{each} (rate(gpu_owner_busy_seconds_total{{{_STRANGERS}}}[5m]))"
    return Alert(
        name="GpuUsedWithoutAllocation",
        severity="warning",
        subject="astray",
        expr=f"""
{each} (gpu_owner_processes{{{_STRANGERS}}}) > 0
and on ({OWNER_JOIN}) (
{limits.beyond(memory, ">", "idle_memory_ratio")}
or
{limits.beyond(busy, ">", "idle_utilization_ratio")}
)
and on (job, instance) (
  gpu_sentinel_owner_source_up{{source="kubelet"}} == 1
or
  gpu_owner_allocated_seconds_total{{owner_kind="slurm_job"}}
)
unless on (job, instance) gpu_sentinel_owner_source_up{{source="proc"}} == 0
unless on ({JOIN}) gpu_allocation_info{{source="mapping"}}
unless on ({JOIN}, user) gpu_allocation_info{{user!=""}}""",
        wait="10m",
        why="On nodes of Kubernetes, and where a job of Slurm has had a GPU within an hour. Not where "
        "processes cannot be told apart: an exporter that does not see the host's processes; a file "
        "that names jobs and not their processes; a user who holds this GPU.",
        summary='{{ if eq $labels.owner_kind "none" }}Nobody knows who{{ else }}'
        f"{_OWNER}, who has no GPU,{{{{ end }}}} uses {SHORT}",
        description="{{ $value }} processes that belong to no pod and to no job use "
        f"{WHO}: the scheduler does not know of them, and gives the GPU to others.",
        value="{{ $value }} processes",
        threshold="0 for 10 min",
        first_step="On {{ $labels.host }}: `gpu-sentinel top --once` shows the processes. Can they run "
        "as a pod or a job?",
    )


def _held_twice(limits: Limits) -> Alert:
    key = "owners_per_gpu"
    holders = (
        "gpu_allocation_info{"
        'owner_kind=~"pod|slurm_job",gpu_instance="",shared="",resource!~".*[.]shared|dra:.*"}'
    )
    count = f"count by ({GPU}, owner_kind) (max by ({GPU}, owner_kind, owner) ({holders}))"
    return Alert(
        name="GpuHeldTwice",
        severity="warning",
        subject="astray",
        expr=limits.beyond(count, ">", key),
        wait="5m",
        why="Of one kind: a job of Slurm may run inside of a pod. A claim of DRA may be several pods'.",
        summary=f"{SHORT} is held {{{{ $value }}}} times",
        description="{{ $value }} owners of the kind {{ $labels.owner_kind }} hold "
        f"{WHO}, of which nothing says that it is shared. Each takes all of it for its own.",
        value="{{ $value }} holders",
        threshold=f"more than {limits.text(key)} for 5 min",
        first_step="Which of them should have it? On {{ $labels.host }}: `gpu-sentinel top --once`. If "
        "GPUs are shared there on purpose, set owners_per_gpu in thresholds.yml.",
    )
