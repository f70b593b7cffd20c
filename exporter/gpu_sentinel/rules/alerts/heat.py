"""Heat and power."""

from __future__ import annotations

from gpu_sentinel.rules.declare import GPU, JOIN, PERCENT, SHORT, WHO, Alert, Group
from gpu_sentinel.rules.limits import Limits

ABOUT = (
    "Heat and power. The limits are the GPU's own: the margin counts the degrees that are left until it "
    "slows itself down, whatever the model."
)
_AIR = "Look at the inlet temperature and the fans of {{ $labels.host }}"


def groups(limits: Limits) -> tuple[Group, ...]:
    """What is urgent at Prometheus' own interval, trends every 30 s."""
    return (
        Group(
            name="gpu-thermal",
            rules=_margin(limits),
        ),
        Group(
            name="gpu-throttling",
            interval="15s",
            rules=_throttling(limits),
        ),
        Group(
            name="gpu-thermal-trends",
            interval="30s",
            rules=(_memory(limits), *_trends(limits)),
        ),
        Group(name="gpu-power", interval="30s", rules=_power(limits)),
    )


def _margin(limits: Limits) -> tuple[Alert, ...]:
    near, over = "near_slowdown_margin_celsius", "overheating_margin_celsius"
    margin = "gpu_temperature_margin_celsius"
    return (
        Alert(
            name="GpuNearSlowdown",
            severity="warning",
            subject="temperature",
            expr=limits.beyond(margin, "<", near),
            wait="30s",
            keep="1m",
            summary=f"{SHORT} is near its slowdown",
            description=f"{WHO} gets hot: {{{{ $value }}}} degrees are left until it slows itself down.",
            value="{{ $value }} °C left",
            threshold=f"less than {limits.text(near)} °C left for 30 s",
            first_step=f"{_AIR}, and at its neighbours in the rack.",
        ),
        Alert(
            name="GpuOverheating",
            severity="critical",
            subject="temperature",
            expr=limits.beyond(margin, "<=", over),
            keep="1m",
            summary=f"{SHORT} overheats",
            description=f"{{{{ $value }}}} degrees are left until {WHO} slows itself down; a few degrees "
            "above that it switches itself off.",
            value="{{ $value }} °C left",
            threshold=f"{limits.text(over)} °C left",
            first_step="Take work off GPU {{ $labels.gpu }} of {{ $labels.host }}, then look at fans and "
            "air flow.",
        ),
    )


def _throttling(limits: Limits) -> tuple[Alert, ...]:
    key = "thermal_throttling_ratio"
    events = 'rate(gpu_clock_event_seconds_total{reason=~"(hw|sw)_thermal_slowdown"}[1m])'
    return (
        Alert(
            name="GpuThermalThrottling",
            severity="warning",
            subject="temperature",
            expr=limits.beyond(f"max by ({GPU}) ({events})", ">", key),
            wait="30s",
            keep="1m",
            summary=f"Heat slows {SHORT} down",
            description=f"In {PERCENT} of the last minute heat held the clocks of {WHO} down. Work on "
            "it is slow.",
            value=f"{PERCENT} of the time",
            threshold=f"more than {limits.text(key, 'humanizePercentage')} of a minute for 30 s",
            first_step=f"{_AIR}.",
        ),
    )


def _memory(limits: Limits) -> Alert:
    margin, most = "memory_margin_celsius", "memory_temperature_celsius"
    limit = 'gpu_temperature_threshold_celsius{threshold="memory_max"}'
    told = limits.beyond(
        f"{limit} - on ({JOIN}) group_right () gpu_memory_temperature_celsius", "<", margin
    )
    plain = limits.beyond("gpu_memory_temperature_celsius", ">", most)
    return Alert(
        name="GpuMemoryHot",
        severity="warning",
        subject="temperature",
        why="By the GPU's own limit where it tells one.",
        expr=f"""
gpu_memory_temperature_celsius and on ({JOIN}) ({told})
or
({plain}) unless on ({JOIN}) {limit}""",
        wait="1m",
        keep="1m",
        summary=f"The memory of {SHORT} is hot",
        description=f"The memory of {WHO} is at {{{{ $value }}}} °C, close to what it stands. The GPU "
        "slows down, and memory errors become more frequent.",
        value="{{ $value }} °C",
        threshold=f"{limits.text(margin)} °C below the GPU's own limit, else more than "
        f"{limits.text(most)} °C, for 1 min",
        first_step=f"{_AIR}; memory gets hot before the core where pads or fans fail.",
    )


def _trends(limits: Limits) -> tuple[Alert, ...]:
    fast, near = "heating_celsius_per_minute", "heating_margin_celsius"
    margin = "gpu_temperature_margin_celsius"
    close = f"and on ({JOIN}) {limits.beyond(margin, '<', near)}"
    return (
        Alert(
            name="GpuTemperatureRisingFast",
            severity="warning",
            subject="temperature",
            why="Far from the slowdown every GPU that gets to work heats up fast.",
            expr=limits.beyond("60 * deriv(gpu_temperature_celsius[1m])", ">", fast) + f"\n{close}",
            wait="30s",
            keep="1m",
            summary=f"{SHORT} heats up fast",
            description=f"The temperature of {WHO} rises by {{{{ $value | humanize }}}} degrees a "
            "minute, and it is close to its slowdown: cooling may have failed.",
            value="{{ $value | humanize }} °C a minute",
            threshold=f"more than {limits.text(fast)} °C a minute with less than {limits.text(near)} °C "
            "left",
            first_step=f"{_AIR} now; be ready to take work off the GPU.",
        ),
        Alert(
            name="GpuSlowdownPredicted",
            severity="warning",
            subject="temperature",
            expr=f"predict_linear({margin}[5m], 600) < 0\n{close}\n"
            f"and on ({JOIN}) deriv({margin}[2m]) < 0",
            wait="1m",
            keep="1m",
            summary=f"{SHORT} will slow itself down within ten minutes",
            description=f"As its temperature rises, {WHO} reaches its slowdown within ten minutes.",
            value="{{ $value | humanize }} °C left in ten minutes",
            threshold=f"less than 0 °C left in ten minutes, with less than {limits.text(near)} °C left "
            "now, for 1 min",
            first_step=f"{_AIR}; does the whole rack get warmer?",
        ),
    )


def _power(limits: Limits) -> tuple[Alert, ...]:
    brake, limit = "power_brake_ratio", "power_limit_ratio"
    events = 'rate(gpu_clock_event_seconds_total{reason="hw_power_brake_slowdown"}[5m])'
    return (
        Alert(
            name="GpuPowerBrake",
            severity="warning",
            subject="power",
            expr=limits.beyond(f"max by ({GPU}) ({events})", ">", brake),
            wait="1m",
            keep="5m",
            summary=f"The power supply slows {SHORT} down",
            description=f"In {PERCENT} of the last five minutes the power brake held the clocks of {WHO} "
            "down: the host's supply asked for it.",
            value=f"{PERCENT} of the time",
            threshold=f"more than {limits.text(brake, 'humanizePercentage')} of 5 min, for 1 min",
            first_step="Look at the power supplies of {{ $labels.host }} in its BMC: has one failed, or "
            "is a limit of the rack reached?",
        ),
        Alert(
            name="GpuPowerLimitLowered",
            severity="info",
            subject="power",
            expr=limits.beyond(
                "gpu_power_limit_watts / (gpu_power_default_limit_watts > 0)", "<", limit
            ),
            wait="10m",
            summary=f"The power limit of {SHORT} is below its default",
            description=f"The power limit of {WHO} is at {PERCENT} of the board's default. If nobody "
            "meant it, work is slower than it could be.",
            value=f"{PERCENT} of the default",
            threshold=f"less than {limits.text(limit, 'humanizePercentage')} for 10 min",
            first_step="If it was not meant: `nvidia-smi -q -d POWER -i {{ $labels.gpu }}` on "
            "{{ $labels.host }}, then `nvidia-smi -pl`.",
        ),
    )
