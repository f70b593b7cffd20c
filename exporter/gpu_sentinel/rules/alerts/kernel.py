"""Events in the kernel log that are no XIDs."""

from __future__ import annotations

from gpu_sentinel.catalogue.kernel import names
from gpu_sentinel.catalogue.xids import Severity
from gpu_sentinel.rules.declare import JOIN, Alert
from gpu_sentinel.rules.latch import latched
from gpu_sentinel.rules.limits import Limits

_LAST = "gpu_kernel_event_last_timestamp_seconds"
_KEY = f"{JOIN}, pci_bus_id, event, code"
_FATAL = names(Severity.FATAL, Severity.RESET)
#: One failed connector is many links, and one message.
_LINKS = "nvlink_fatal"
#: XID and line of one event are read together.
_TOGETHER_SECONDS = 60
#: A GPU, a switch, or the host.
_ABOUT = (
    "{{ if $labels.gpu }}GPU {{ $labels.gpu }} ({{ $labels.uuid }}) on "
    "{{ else if $labels.pci_bus_id }}the NVSwitch at {{ $labels.pci_bus_id }} of {{ end }}"
    "{{ $labels.host }}"
)
_WHAT = "{{ $labels.event }}{{ if $labels.code }} {{ $labels.code }}{{ end }}"
_READ = "`dmesg` on {{ $labels.host }} has the lines; docs/xids.md says what to do about each event"


def alerts(limits: Limits) -> tuple[Alert, ...]:
    """What takes a GPU or a switch away, and what is to be looked into."""
    lost = (
        f'({_LAST}{{event=~"{_FATAL}",event!="{_LINKS}"}}\n'
        f'    or max without (code) ({_LAST}{{event="{_LINKS}"}}))'
    )
    of_switch = f'{_LAST}{{event=~"{_FATAL}",uuid=""}}'
    return (
        Alert(
            name="GpuKernelFault",
            severity="critical",
            subject="kernel",
            keep="2m",
            why="What XID 79 says already is not said again.",
            expr=f"(\n{latched(lost, _KEY, limits, of_host=of_switch)}\n)\n"
            f"unless on ({JOIN}, event) (\n"
            f'  max by ({JOIN}, event) ({_LAST}{{event="off_bus"}}) - {_TOGETHER_SECONDS}\n'
            f"    <= on ({JOIN}) group_left ()\n"
            f'  max by ({JOIN}) (gpu_xid_last_timestamp_seconds{{xid="79"}})\n'
            ")",
            summary=f"The kernel reports {_WHAT}: {_ABOUT}",
            description=f"The kernel log told {_WHAT} of {_ABOUT} "
            "{{ $value | humanizeDuration }} ago: work that needs it fails until it was reset or "
            "mended.",
            value=_WHAT,
            threshold="an event that takes a GPU or a switch away, until there was a reset",
            first_step=f"Take the work off; {_READ}.",
        ),
        Alert(
            name="GpuKernelWarning",
            severity="warning",
            subject="kernel",
            expr=f'time() - {_LAST}{{event=~"{names(Severity.WARNING)}"}} < 3600',
            summary=f"The kernel reports {_WHAT}: {_ABOUT}",
            description=f"The kernel log told {_WHAT} of {_ABOUT} "
            "{{ $value | humanizeDuration }} ago. Work may have failed or may wait.",
            value=_WHAT,
            threshold="in the last hour",
            first_step=f"{_READ}.",
        ),
    )
