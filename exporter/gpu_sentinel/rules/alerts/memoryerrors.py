"""Memory that fails, and what is left to replace it."""

from __future__ import annotations

from gpu_sentinel.rules.declare import COUNT, GPU, RESET, SHORT, WHO, Alert
from gpu_sentinel.rules.limits import Limits

_SUBJECT = "memory-errors"


def alerts() -> tuple[Alert, ...]:
    """What the driver reports."""
    return (
        Alert(
            name="GpuEccUncorrected",
            severity="critical",
            subject=_SUBJECT,
            expr='increase(gpu_ecc_volatile_errors_total{type="uncorrected"}[10m]) > 0',
            summary="Uncorrectable memory errors on GPU {{ $labels.gpu }} of {{ $labels.host }}",
            description=f"{WHO} had uncorrectable memory errors in the last ten minutes. Results that "
            "were computed on it may be wrong.",
            value=f"{COUNT} errors in 10 min",
            threshold="more than 0",
            first_step=f"End the work on it and reset it, so that bad memory is replaced: {RESET} on "
            "{{ $labels.host }}.",
        ),
        Alert(
            name="GpuRowRemapPending",
            severity="warning",
            subject=_SUBJECT,
            expr="gpu_row_remap_pending == 1",
            wait="1m",
            summary=f"{SHORT} waits for a reset",
            description=f"A bad memory row of {WHO} is replaced at the next reset of the GPU; until "
            "then it is in use.",
            value="pending",
            threshold="pending for 1 min",
            first_step=f"Drain {{{{ $labels.host }}}} when it suits, then {RESET}.",
        ),
        Alert(
            name="GpuRowRemapFailed",
            severity="critical",
            subject=_SUBJECT,
            expr="gpu_row_remap_failure == 1",
            summary=f"{SHORT} should be replaced",
            description=f"A bad memory row of {WHO} could not be replaced: there are no spare rows "
            "left.",
            value="failed",
            threshold="failed",
            first_step="Drain {{ $labels.host }}, run NVIDIA's field diagnostics, and ask for a "
            "replacement.",
        ),
        Alert(
            name="GpuRetiredPagesPending",
            severity="warning",
            subject=_SUBJECT,
            expr="gpu_retired_pages_pending == 1",
            wait="1m",
            summary=f"{SHORT} waits for a reset to retire a page",
            description=f"A bad memory page of {WHO} is taken out of use at the next reset; until then "
            "it is in use.",
            value="pending",
            threshold="pending for 1 min",
            first_step=f"Drain {{{{ $labels.host }}}} when it suits, then {RESET}.",
        ),
    )


def trends(limits: Limits) -> tuple[Alert, ...]:
    """What gets worse."""
    corrected, pages, banks = (
        "ecc_corrected_per_hour",
        "retired_pages",
        "banks_without_spare_rows",
    )
    return (
        Alert(
            name="GpuEccCorrectedRising",
            severity="warning",
            subject=_SUBJECT,
            expr=limits.beyond(
                'increase(gpu_ecc_volatile_errors_total{type="corrected"}[1h])', ">", corrected
            ),
            wait="5m",
            summary=f"Many corrected memory errors on {SHORT}",
            description=f"ECC corrected {COUNT} memory errors of {WHO} in an hour. "
            "Results are right; such memory often fails for good later.",
            value=f"{COUNT} errors in an hour",
            threshold=f"more than {limits.text(corrected)} in an hour",
            first_step="Look at `nvidia-smi -q -d ECC,ROW_REMAPPER` on {{ $labels.host }}; plan a "
            "diagnosis of the board.",
        ),
        Alert(
            name="GpuSpareRowsLow",
            severity="warning",
            subject=_SUBJECT,
            expr=limits.beyond(
                f'max by ({GPU}) (gpu_row_remapper_banks{{availability="none"}})', ">", banks
            ),
            wait="5m",
            summary=f"Spare memory rows of {SHORT} run out",
            description=f"{{{{ $value }}}} memory banks of {WHO} have no spare row left: the next bad row "
            "in one of them cannot be replaced.",
            value="{{ $value }} banks",
            threshold=f"more than {limits.text(banks)} banks",
            first_step="Ask for a replacement of the board before it fails "
            "(`nvidia-smi -q -d ROW_REMAPPER` on {{ $labels.host }}).",
        ),
        Alert(
            name="GpuRetiredPagesNearLimit",
            severity="warning",
            subject=_SUBJECT,
            expr=limits.beyond(f"sum by ({GPU}) (gpu_retired_pages)", ">=", pages),
            wait="5m",
            summary=f"{SHORT} has retired most of the pages that it may",
            description=f"{WHO} has taken {{{{ $value }}}} memory pages out of use; there is room for "
            "64.",
            value="{{ $value }} pages",
            threshold=f"{limits.text(pages)} pages",
            first_step="Ask for a replacement of the board (`nvidia-smi -q -d PAGE_RETIREMENT` on "
            "{{ $labels.host }}).",
        ),
    )
