"""The alerts about the kernel's events: of a switch, and of what an XID says already."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROMETHEUS = Path(__file__).parents[2] / "prometheus"
TARGET = 'job="gpu-sentinel",instance="a:9836",host="node-7"'
GPU = f'{TARGET},gpu="0",uuid="GPU-0"'
LAST = "gpu_kernel_event_last_timestamp_seconds"
SWITCH = (
    f'{LAST}{{{TARGET},gpu="",uuid="",pci_bus_id="0000:84:00.0",event="sxid_fatal",code="20034"}}'
)
OFF_BUS = f'{LAST}{{{GPU},pci_bus_id="0000:3b:00.0",event="off_bus",code=""}}'
XID = f'gpu_xid_last_timestamp_seconds{{{GPU},xid="79"}}'


@pytest.fixture
def firing(tool: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """What promtool says of series, a minute a step, if alerts of this name have these labels."""

    def run(
        series: dict[str, str],
        at: str,
        *labels: dict[str, str],
        by: str = "event, code, gpu",
        alert: str = "GpuKernelFault",
    ) -> str:
        test = {
            "interval": "1m",
            "input_series": [{"series": k, "values": v} for k, v in series.items()],
            "promql_expr_test": [
                {
                    "expr": f'count by ({by}) (ALERTS{{alertname="{alert}"}})',
                    "eval_time": at,
                    "exp_samples": [{"labels": _braces(one), "value": 1} for one in labels],
                }
            ],
        }
        files = [str(PROMETHEUS / name) for name in ("rules/gpu.yml", "alerts/hardware.yml")]
        path = tmp_path / "test.yml"
        path.write_text(
            json.dumps({"rule_files": files, "evaluation_interval": "1m", "tests": [test]})
        )
        command = [tool("promtool"), "test", "rules", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    return run


def _braces(labels: dict[str, str]) -> str:
    return "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items()) + "}"


def test_a_switch_until_a_gpu_of_its_host_was_reset(firing):
    energy = f"gpu_energy_joules_total{{{GPU}}}"
    hardware = f'gpu_energy_source_info{{{GPU},source="hardware"}}'
    series = {
        SWITCH: "_x9 600x110",
        energy: "0+400x60 0+400x59",
        hardware: "1x120",
    }
    told = {"event": "sxid_fatal", "code": "20034"}
    assert not firing(series, "8m")
    assert not firing(series, "11m", told)
    assert not firing(series, "58m", told)
    assert not firing(series, "70m")


@pytest.mark.parametrize(
    ("event", "alert"),
    [("nvlink_fatal", "GpuKernelFault"), ("nvlink_nonfatal", None), (None, "GpuXidWarning")],
)
def test_errors_of_nvlink(firing, event: str | None, alert: str | None):
    """Where the kernel log tells fatal ones apart, so do the alerts; else all are warnings."""
    series = {XID.replace("79", "145"): "600x30"}
    if event is not None:
        code = 'code="145 RLW_REMAP link 2"'
        series[f'{LAST}{{{GPU},pci_bus_id="0000:3b:00.0",event="{event}",{code}}}'] = "600x30"
    for name in ("GpuKernelFault", "GpuXidWarning"):
        labels = [{"gpu": "0"}] if name == alert else []
        assert not firing(series, "12m", *labels, by="gpu", alert=name)


def test_what_the_log_told_before_does_not_speak_for_an_error_of_now(firing):
    """The log could be read an hour ago; or what it told was of another XID."""
    xid = XID.replace("79", "145")
    said = f'{LAST}{{{GPU},pci_bus_id="0000:3b:00.0",event="nvlink_nonfatal",code="%s X link 2"}}'
    warned = {"gpu": "0"}, "GpuXidWarning"
    for code, seconds in (("145", 60), ("149", 4200)):
        series = {xid: "4200x90", said % code: f"{seconds}x90"}
        assert not firing(series, "75m", warned[0], by="gpu", alert=warned[1])


def test_what_an_xid_says_already_is_not_said_again(firing):
    told = {"event": "off_bus", "gpu": "0"}
    assert not firing({OFF_BUS: "600x30"}, "12m", told)
    assert not firing({OFF_BUS: "600x30", XID: "600x30"}, "12m")
    other = XID.replace("GPU-0", "GPU-1")
    assert not firing({OFF_BUS: "600x30", other: "600x30"}, "12m", told)
    # An hour later the driver is loaded again, and finds the GPU off the bus anew.
    assert not firing({OFF_BUS: "4200x90", XID: "600x90"}, "75m", told)
    # Whatever else the GPU has is said.
    down = {OFF_BUS.replace("off_bus", "link_down"): "620x30"}
    both = {OFF_BUS: "600x30", XID: "600x30", **down}
    assert not firing(both, "12m", {"event": "link_down", "gpu": "0"})


def test_many_links_of_one_gpu_are_one_alert(firing):
    line = f'{LAST}{{{GPU},pci_bus_id="0000:3b:00.0",event="nvlink_fatal",code="145 X link %d"}}'
    series = {line % number: f"{600 + number}x30" for number in range(18)}
    assert not firing(series, "12m", {"gpu": "0", "event": "nvlink_fatal"}, by="gpu, event, code")


@pytest.mark.parametrize(
    ("state", "status", "fires"),
    [(1, None, True), (3, 999, True), (3, 0, False), (None, 999, False)],
)
def test_a_fabric(firing, state: int | None, status: int | None, fires: bool):
    """A registration that ended with an error is none; a GPU without a fabric has no state."""
    series = {}
    if state is not None:
        series[f"gpu_fabric_state{{{GPU}}}"] = f"{state}x30"
    if status is not None:
        series[f"gpu_fabric_status{{{GPU}}}"] = f"{status}x30"
    labels = [{"gpu": "0"}] if fires else []
    shown = 'alertstate="firing"'
    assert not firing(series, "12m", *labels, by="gpu", alert=f'GpuFabricNotReady",{shown},x="')
