"""What the GPUs are used for: memory, idleness, and those that are unlike their peers."""

from __future__ import annotations

from gpu_sentinel.rules.declare import JOIN, PERCENT, SHORT, WHO, Alert, Group
from gpu_sentinel.rules.limits import Limits

ABOUT = (
    "What the GPUs are used for. A full or an idle GPU is no fault: such alerts are for information. "
    "Peers are GPUs of one model on one host that are at work."
)


def groups(limits: Limits) -> tuple[Group, ...]:
    """None of it is urgent."""
    slow = "1m"
    return (
        Group(name="gpu-memory", interval=slow, rules=_memory(limits)),
        Group(name="gpu-workload", interval=slow, rules=_workload(limits)),
        Group(name="gpu-anomaly", interval=slow, rules=_anomaly(limits)),
    )


def _memory(limits: Limits) -> tuple[Alert, ...]:
    full, growth = "memory_full_ratio", "memory_growth_ratio_per_minute"
    used, total = "gpu_memory_used_bytes", "(gpu_memory_total_bytes > 0)"
    thirds = (
        f"({used} - {used} offset 5m) / 5 / {total}",
        f"({used} offset 5m - {used} offset 10m) / 5 / {total}",
        f"({used} offset 10m - {used} offset 15m) / 5 / {total}",
    )
    steadily = "\n".join(f"and {limits.beyond(third, '>', growth)}" for third in thirds)
    return (
        Alert(
            name="GpuMemoryExhaustionPredicted",
            severity="warning",
            subject="memory",
            why="Steady growth only, in each of three times five minutes, and fast enough to the last: "
            "a job that takes its memory at once, or fills its caches for ten minutes, is none.",
            expr=f"(predict_linear({used}[15m], 3600) / {total}) > 1\n"
            f"and ({used} + 12 * ({used} - {used} offset 5m)) / {total} > 1\n"
            f"{steadily}",
            wait="5m",
            summary=f"The memory of {SHORT} will be full within an hour",
            description=f"If its use grows as in the last 15 minutes, the memory of {WHO} is at "
            f"{PERCENT} in an hour: the work on it will run out of memory.",
            value=f"{PERCENT} in an hour",
            threshold="more than 100% in an hour, growing steadily, for 5 min",
            first_step="Whose is it (`nvidia-smi` on {{ $labels.host }})? Tell the owner before the work "
            "fails.",
        ),
        Alert(
            name="GpuMemoryFull",
            severity="info",
            subject="memory",
            expr=limits.beyond("gpu:memory_used:ratio", ">", full),
            wait="5m",
            summary=f"The memory of {SHORT} is full",
            description=f"{PERCENT} of the memory of {WHO} is in use. Many frameworks take all of it on "
            "purpose.",
            value=f"{PERCENT}",
            threshold=f"more than {limits.text(full, 'humanizePercentage')} for 5 min",
            first_step="Nothing, unless work on {{ $labels.host }} runs out of memory.",
        ),
    )


def _workload(limits: Limits) -> tuple[Alert, ...]:
    held, idle, clock = "idle_memory_ratio", "idle_utilization_ratio", "peer_clock_ratio"
    return (
        Alert(
            name="GpuIdleWithMemory",
            severity="info",
            subject="idle",
            expr=f"{limits.beyond('gpu:memory_used:ratio', '>', held)}\n"
            f"and on ({JOIN}) {limits.beyond('gpu:utilization_ratio:mean5m', '<', idle)}\n"
            f"unless on ({JOIN}) gpu_owner_memory_used_bytes",
            wait="1h",
            why="Where it is known whose the memory is, GpuAllocationIdle and GpuMemoryHeldIdle tell.",
            summary=f"{SHORT} is held and does nothing",
            description=f"{PERCENT} of the memory of {WHO} has been held for an hour, and nothing was "
            "computed on it.",
            value=f"{PERCENT} held",
            threshold=f"more than {limits.text(held, 'humanizePercentage')} held, less than "
            f"{limits.text(idle, 'humanizePercentage')} busy, for 1 h",
            first_step="Ask the owner of the process (`nvidia-smi` on {{ $labels.host }}) whether it can "
            "end.",
        ),
        Alert(
            name="GpuClocksBelowPeers",
            severity="warning",
            subject="clocks",
            expr=limits.beyond("gpu:sm_clock_to_peers:ratio", "<", clock),
            wait="10m",
            summary=f"{SHORT} is slower than its peers",
            description=f"At equal load the SM clock of {WHO} is at {PERCENT} of the median of the host's "
            "other {{ $labels.name }}. A job over all of them waits for this one.",
            value=f"{PERCENT} of the median",
            threshold=f"less than {limits.text(clock, 'humanizePercentage')} for 10 min",
            first_step="What holds its clocks down? `gpu_clock_event_active` of this GPU, or "
            "`nvidia-smi -q -d PERFORMANCE -i {{ $labels.gpu }}` on {{ $labels.host }}.",
        ),
    )


def _anomaly(limits: Limits) -> tuple[Alert, ...]:
    power, heat = "peer_power_ratio", "peer_temperature_celsius"
    return (
        Alert(
            name="GpuPowerUnlikePeers",
            severity="info",
            subject="power",
            expr=limits.beyond("abs(gpu:power_to_peers:ratio - 1)", ">", power),
            wait="10m",
            summary=f"{SHORT} draws another power than its peers",
            description=f"At equal load the power of {WHO} is {PERCENT} away from the median of the "
            "host's other {{ $labels.name }}.",
            value=f"{PERCENT} away",
            threshold=f"more than {limits.text(power, 'humanizePercentage')} for 10 min",
            first_step="Does it do other work, or has it another power limit? Else compare clocks and "
            "temperatures of {{ $labels.host }}.",
        ),
        Alert(
            name="GpuTemperatureUnlikePeers",
            severity="info",
            subject="temperature",
            expr=limits.beyond("gpu:temperature_to_peers:celsius", ">", heat),
            wait="10m",
            summary=f"{SHORT} is hotter than its peers",
            description=f"At equal load {WHO} is {{{{ $value | humanize }}}} degrees above the median of "
            "the host's other {{ $labels.name }}.",
            value="{{ $value | humanize }} °C above",
            threshold=f"more than {limits.text(heat)} °C for 10 min",
            first_step="Look at its heat sink, paste and fan at the next maintenance of "
            "{{ $labels.host }}.",
        ),
    )
