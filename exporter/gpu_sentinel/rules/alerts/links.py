"""NVLink, PCIe and fans."""

from __future__ import annotations

from gpu_sentinel.rules.declare import COUNT, GPU, JOIN, SHORT, WHO, Alert
from gpu_sentinel.rules.limits import Limits

_ON = "On {{ $labels.host }}: "
_BUSY = f"and on ({JOIN}) gpu:utilization_ratio:mean5m > 0.5"


def alerts(limits: Limits) -> tuple[Alert, ...]:
    """Those about each GPU."""
    return (*_nvlink(limits), *_pcie(limits), _fan(limits))


def _nvlink(limits: Limits) -> tuple[Alert, ...]:
    down, errors = "nvlink_links_down", "nvlink_errors_per_quarter_hour"
    return (
        Alert(
            name="GpuFabricNotReady",
            severity="critical",
            subject="nvlink",
            why="Not of GPUs without a fabric, which tell no state. Only a registration that is done (3) has a "
            "status, with the group `topology` on.",
            expr="gpu_fabric_state < 3\n"
            "or\n"
            f"gpu_fabric_state == 3 and on ({JOIN}) gpu_fabric_status != 0",
            wait="5m",
            summary=f"{SHORT} is not registered with the NVLink fabric",
            description=f"{WHO} has not been registered with the NVLink fabric for 5 minutes, or the "
            "registration failed (state {{ $value }}: 1 not begun, 2 going on, 3 ended): CUDA does not start on "
            "it, though the GPU itself is well.",
            value="state {{ $value }}",
            threshold="registered within 5 min",
            first_step=_ON
            + "`systemctl status nvidia-fabricmanager`, `nvidia-smi -q | grep -A4 Fabric`.",
        ),
        Alert(
            name="GpuNvlinkDown",
            severity="warning",
            subject="nvlink",
            why="Boards without bridges have links that are never up: only hosts on which some are.",
            expr=limits.beyond("gpu_nvlink_links - gpu_nvlink_links_active", ">", down)
            + "\nand on (job, instance) max by (job, instance) (gpu_nvlink_links_active) > 0",
            wait="1m",
            summary=f"{{{{ $value }}}} NVLinks of {SHORT} are down",
            description=f"{{{{ $value }}}} NVLinks of {WHO} are down while others of the host are up. "
            "Work over several GPUs is slow, or cannot start.",
            value="{{ $value }} down",
            threshold=f"more than {limits.text(down)} for 1 min",
            first_step=_ON + "`nvidia-smi nvlink -s -i {{ $labels.gpu }}`; is the fabric manager "
            "running? `dmesg` for XID 74.",
        ),
        Alert(
            name="GpuNvlinkErrors",
            severity="warning",
            subject="nvlink",
            expr=limits.beyond(
                f"sum by ({GPU}) (increase(gpu_nvlink_errors_total[15m]))", ">", errors
            ),
            wait="5m",
            summary=f"The NVLinks of {SHORT} make errors",
            description=f"{COUNT} errors on the NVLinks of {WHO} in 15 minutes: "
            "data have to be sent again, and the link may fail.",
            value=f"{COUNT} errors in 15 min",
            threshold=f"more than {limits.text(errors)} in 15 min",
            first_step=_ON + "`nvidia-smi nvlink -e -i {{ $labels.gpu }}` shows which link; reseat "
            "bridge or board at the next occasion.",
        ),
    )


def _pcie(limits: Limits) -> tuple[Alert, ...]:
    replays = "pcie_replays_per_quarter_hour"
    return (
        Alert(
            name="GpuPcieWidthReduced",
            severity="warning",
            subject="pcie",
            expr=f"gpu_pcie_link_width < gpu_pcie_link_width_max\n{_BUSY}",
            wait="5m",
            summary=f"{SHORT} uses {{{{ $value }}}} PCIe lanes only",
            description=f"{WHO} is at work and uses {{{{ $value }}}} PCIe lanes, fewer than GPU and "
            "slot can. Copies to and from it are slow.",
            value="{{ $value }} lanes",
            threshold="fewer than GPU and slot can, at work, for 5 min",
            first_step=_ON + "`nvidia-smi -q -i {{ $labels.gpu }}`, GPU Link Info; reseat board or "
            "riser.",
        ),
        Alert(
            name="GpuPcieGenerationReduced",
            severity="warning",
            subject="pcie",
            why="It falls by itself while a GPU is idle.",
            expr=f"gpu_pcie_link_generation < gpu_pcie_link_generation_max\n{_BUSY}",
            wait="5m",
            summary=f"{SHORT} runs at PCIe generation {{{{ $value }}}} only",
            description=f"{WHO} is at work at PCIe generation {{{{ $value }}}}, below what GPU and "
            "slot can. Copies to and from it are slow.",
            value="generation {{ $value }}",
            threshold="below what GPU and slot can, at work, for 5 min",
            first_step=_ON
            + "the slot's settings in the firmware, `dmesg` for AER errors; reseat board "
            "or riser.",
        ),
        Alert(
            name="GpuPcieReplays",
            severity="warning",
            subject="pcie",
            expr=limits.beyond("increase(gpu_pcie_replays_total[15m])", ">", replays),
            wait="5m",
            summary=f"The PCIe link of {SHORT} makes errors",
            description=f"{COUNT} PCIe packets of {WHO} had to be sent again in 15 "
            "minutes: the link is marginal, and the GPU may fall off the bus.",
            value=f"{COUNT} in 15 min",
            threshold=f"more than {limits.text(replays)} in 15 min",
            first_step=_ON + "`dmesg` for AER errors; reseat board, riser or cable at the next "
            "occasion.",
        ),
    )


def _fan(limits: Limits) -> Alert:
    told = limits.beyond("gpu_fan_speed_ratio", ">", "fan_told_ratio")
    return Alert(
        name="GpuFanFailed",
        severity="warning",
        subject="fan",
        expr=f"gpu_fan_speed_rpm == 0\nand on ({JOIN}, fan) {told}",
        wait="1m",
        summary=f"Fan {{{{ $labels.fan }}}} of {SHORT} stands still",
        description=f"Fan {{{{ $labels.fan }}}} of {WHO} is told to turn and does not. The GPU will get "
        "hot under load.",
        value="0 rpm",
        threshold=f"0 rpm while told to run at more than "
        f"{limits.text('fan_told_ratio', 'humanizePercentage')}, for 1 min",
        first_step=_ON
        + "is the fan blocked, or its cable loose? Keep load off the GPU until then.",
    )
