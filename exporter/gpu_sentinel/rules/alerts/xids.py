"""XIDs, by what they ask for. Those of applications never page."""

from __future__ import annotations

from gpu_sentinel.catalogue.xids import XIDS, Severity
from gpu_sentinel.catalogue.xids.links import NVLINK5
from gpu_sentinel.rules.declare import JOIN, RESET, SHORT, WHO, Alert
from gpu_sentinel.rules.latch import latched
from gpu_sentinel.rules.limits import Limits

_LAST = "gpu_xid_last_timestamp_seconds"
_SAID = (
    f"max by ({JOIN}, xid) (label_replace(gpu_kernel_event_last_timestamp_seconds"
    '{event=~"nvlink_.+"}, "xid", "$1", "code", "([0-9]+) .*"))'
)
#: What the line of an XID says besides is read together with its number.
_TOGETHER_SECONDS = 60
_LOOK = "`gpu-sentinel xids {{ $labels.xid }}`"


def numbers(*severities: Severity) -> str:
    """The XIDs of these severities, as a regular expression."""
    return "|".join(str(n) for n, xid in XIDS.items() if xid.severity in severities)


def alerts(limits: Limits) -> tuple[Alert, ...]:
    """Those that page last until the GPU was reset."""
    quiet = numbers(*(s for s in Severity if s is not Severity.WARNING))
    links = "|".join(map(str, NVLINK5))
    return (
        Alert(
            name="GpuXidFatal",
            severity="critical",
            subject="xid",
            keep="2m",
            why="By the time of the last report, because increase() misses a counter that is born at 1.",
            expr=_latched(numbers(Severity.FATAL), limits),
            summary=f"{SHORT} reports XID {{{{ $labels.xid }}}}",
            description=f"{WHO} reported XID {{{{ $labels.xid }}}} {{{{ $value | humanizeDuration }}}} "
            "ago: the host is of no use until it was restarted.",
            value="XID {{ $labels.xid }}",
            threshold="a fatal XID, until the driver was loaded anew",
            first_step=f"Drain {{{{ $labels.host }}}}; do what {_LOOK} says; `dmesg | grep Xid` has the "
            "details.",
        ),
        Alert(
            name="GpuXidReset",
            severity="critical",
            subject="xid",
            keep="2m",
            expr=_latched(numbers(Severity.RESET), limits),
            summary=f"{SHORT} has to be reset: XID {{{{ $labels.xid }}}}",
            description=f"{WHO} reported XID {{{{ $labels.xid }}}} {{{{ $value | humanizeDuration }}}} "
            "ago: the GPU cannot be used, or not be trusted, until it is reset.",
            value="XID {{ $labels.xid }}",
            threshold="an XID that asks for a reset, until there was one",
            first_step=f"Take the work off the GPU; do what {_LOOK} says; then {RESET} on "
            "{{ $labels.host }}.",
        ),
        Alert(
            name="GpuXidWarning",
            severity="warning",
            subject="xid",
            why="All that are not known to ask for more, or for nothing. What the kernel log says of errors "
            "of NVLink tells fatal ones from others: GpuKernelFault.",
            expr=f'time() - {_LAST}{{xid!~"{quiet}|{links}"}} < 3600\n'
            "or\n"
            f'time() - {_LAST}{{xid=~"{links}"}} < 3600\n'
            f"  unless on ({JOIN}, xid) (\n"
            f'  {_LAST}{{xid=~"{links}"}} - {_TOGETHER_SECONDS}\n'
            f"    <= on ({JOIN}, xid) group_left () {_SAID}\n"
            ")",
            summary=f"{SHORT} reports XID {{{{ $labels.xid }}}}",
            description=f"{WHO} reported XID {{{{ $labels.xid }}}} {{{{ $value | humanizeDuration }}}} "
            "ago. Work may have failed; most of these need no reset.",
            value="XID {{ $labels.xid }}",
            threshold="in the last hour",
            first_step=f"Do what {_LOOK} says, when it suits.",
        ),
    )


def _latched(xids: str, limits: Limits) -> str:
    return latched(f'{_LAST}{{xid=~"{xids}"}}', f"{JOIN}, xid", limits)
