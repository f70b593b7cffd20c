"""Whether Prometheus stores what it scrapes; on a full disk no series tells."""

from __future__ import annotations

from gpu_sentinel.rules.declare import TARGET, Alert

_FRESH_SECONDS = 60
#: All that is stored for the day after the next minute: a sample is never newer than the clock.
_FUTURE = "[1d] offset -1441m"
_P = "Prometheus on {{ $labels.host }} ({{ $labels.instance }})"


def watchdog() -> Alert:
    """What a service outside waits for."""
    return Alert(
        name="Watchdog",
        severity="none",
        expr=f"vector(1) and on () max(timestamp(up)) > time() - {_FRESH_SECONDS}\n"
        f"unless on () count_over_time(up{_FUTURE})",
        why="Fires as long as fresh samples are stored. Where it stops to arrive, something between "
        "here and you is broken. With samples of the future, what seems fresh is of the past.",
        summary="Alerting works",
        description="This alert fires as long as all is well with Prometheus; a service outside should "
        "ring when it stops.",
        value="samples are stored",
        threshold="always",
        first_step="Nothing to do.",
    )


def alerts() -> tuple[Alert, ...]:
    """Of an empty store, and of one from the future."""
    return (
        Alert(
            name="PrometheusStoresNothing",
            severity="critical",
            why="Needs no stored series: on a full disk there are none.",
            expr=f"absent(timestamp(up) > time() - {_FRESH_SECONDS})",
            wait="1m",
            summary="Prometheus stores nothing: no alert about GPUs can fire",
            description=f"Prometheus has stored no sample for {_FRESH_SECONDS} s: its disk is full or cannot "
            "be written to, or it scrapes nothing. What is measured now is lost.",
            value="nothing",
            threshold=f"nothing for {_FRESH_SECONDS} s, for 1 min",
            first_step="On the machine that sent this: `df`, `df -i`, and what does Prometheus' log say? "
            "Then look at its page of targets.",
        ),
        Alert(
            name="PrometheusClockWentBack",
            severity="critical",
            why="Prometheus refuses samples that are older than what it has, and rules see the past.",
            expr=f'max by ({TARGET}) (count_over_time(up{{job="prometheus"}}{_FUTURE})) > 0',
            summary=f"{_P} has samples of the future",
            description=f"{_P} has stored samples with a time that is still to come: its clock is wrong, "
            "or was. New ones are refused, and alerts are about the past.",
            value="{{ $value }} scrapes of the future",
            threshold="more than 0",
            first_step="`timedatectl` on {{ $labels.host }}: is the clock right, and kept by NTP?",
        ),
    )
