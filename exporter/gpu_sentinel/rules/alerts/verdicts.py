"""What the driver itself thinks of a GPU."""

from __future__ import annotations

from gpu_sentinel.rules.declare import RESET, SHORT, WHO, Alert

#: These checks have alerts that say more.
_TOLD = "lost|recovery_action|row_remap_failure|row_remap_pending|page_retirement_pending"


def alerts() -> tuple[Alert, ...]:
    """Without thresholds: the driver has its own."""
    return (
        Alert(
            name="GpuRecoveryActionRequested",
            severity="critical",
            subject="health",
            expr="gpu_recovery_action > 0",
            wait="30s",
            summary=f"The driver asks for something to be done about {SHORT}",
            description=f"The driver asks for an action to make {WHO} usable again, number "
            "{{ $value }}: 1 reset the GPU, 2 reboot the node, 3 drain peer-to-peer traffic, 4 drain it "
            "and reset the GPU, 5 recover the IMEX domain, 6 reset the PCIe bus, 7 reboot the system.",
            value="action {{ $value }}",
            threshold="any but 0, for 30 s",
            first_step="Drain {{ $labels.host }}, then do what is asked for.",
        ),
        Alert(
            name="GpuHealthFailed",
            severity="critical",
            subject="health",
            expr=f'gpu_health_status{{check!~"{_TOLD}"}} == 2',
            wait="30s",
            summary=f"{SHORT} has failed the check {{{{ $labels.check }}}}",
            description=f"The driver's verdict on {WHO}: {{{{ $labels.check }}}} has failed. The board "
            "cannot be relied on.",
            value="{{ $labels.check }}: failed",
            threshold="failed for 30 s",
            first_step="Drain {{ $labels.host }} and run NVIDIA's field diagnostics on the GPU.",
        ),
        Alert(
            name="GpuHealthDegraded",
            severity="warning",
            subject="health",
            expr=f'gpu_health_status{{check!~"{_TOLD}"}} == 1',
            wait="5m",
            summary=f"{SHORT} waits for a reset: {{{{ $labels.check }}}}",
            description=f"The driver's verdict on {WHO}: {{{{ $labels.check }}}}. Something is repaired "
            "at the next reset of the GPU.",
            value="{{ $labels.check }}: degraded",
            threshold="degraded for 5 min",
            first_step=f"Drain {{{{ $labels.host }}}} when it suits, then {RESET}.",
        ),
    )
