"""Events of the kernel log of a running exporter: on the page of metrics, and in its own log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCENARIO = "description: Two GPUs.\ngpus: [{model: h100-sxm, count: 2}]\n"
COUNTED, LAST = "gpu_kernel_events_total", "gpu_kernel_event_last_timestamp_seconds"
OFF_BUS = (
    r"NVRM: The NVIDIA GPU 0000:b3:00.0\x0aNVRM: (PCI ID: 10de:26b5) installed in this system has"
    r"\x0aNVRM: fallen off the bus and is not responding to commands."
)
SWITCH = "nvidia-nvswitch3: SXid (PCI:0000:84:00.0): 20034, Fatal, Link 30 LTSSM Fault Up"


def status(exporter, *more: str) -> subprocess.CompletedProcess[str]:
    url = f"{exporter.url}/metrics"
    command = [sys.executable, "-m", "gpu_sentinel", "status", "--url", url, *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def record(text: str, sequence: int, seconds: float = 1.0) -> str:
    return f"3,{sequence},{int(seconds * 1e6)},-;{text}\n"


@pytest.mark.parametrize("fifo", [False, True])
def test_events(serve, eventually, tmp_path: Path, fifo: bool):
    path, begun = tmp_path / "kmsg", time.time()
    if fifo:
        os.mkfifo(path)
    else:
        path.write_text(record(OFF_BUS, 1, time.monotonic() - 300))
    exporter = serve(SCENARIO, "--xid.kernel-log", str(path))
    eventually(lambda: len(exporter.page().gpus("gpu_info")) == 2, 5, "all are there")
    bus = next(x["pci_bus_id"] for x, _ in exporter.page()["gpu_info"] if x["gpu"] == "1")
    address = bus.lower()[4:]
    lines = [
        f"NVRM: GPU {address}: RmInitAdapter failed! (0x22:0x56:894)",
        SWITCH,
        SWITCH.replace("20034, Fatal", "20034, Data {0x1}"),
        "systemd[1]: " + SWITCH,
        "rubbish\xff",
    ]
    with path.open("a") as file:
        file.write("".join(record(line, number) for number, line in enumerate(lines, 2)))
        file.flush()
        failed = {"gpu": "1", "event": "init_failed", "pci_bus_id": address}
        eventually(lambda: exporter.page().value(COUNTED, **failed) == 1, 5, "it is counted")
    page = exporter.page()
    switch = {"gpu": "", "uuid": "", "pci_bus_id": "0000:84:00.0", "code": "20034"}
    assert page.value(COUNTED, event="sxid_fatal", **switch) == 1
    assert begun <= page.value(LAST, **failed) <= time.time()
    shown = exporter.get("/").text
    assert "the kernel has reported init_failed of GPU 1: Reset the GPU" in shown
    assert "the kernel has reported sxid_fatal 20034 of the NVSwitch at 0000:84:00.0" in shown
    told = status(exporter)
    assert told.returncode == 1
    assert "! the kernel has reported init_failed of GPU 1: Reset the GPU" in told.stdout
    assert len(json.loads(status(exporter, "--json").stdout)["kernel_events"]) >= 2
    if not fifo:
        lost = {"gpu": "0000:b3:00.0", "uuid": "pci-0000:b3:00.0", "event": "off_bus"}
        eventually(lambda: exporter.page().value(LAST, **lost), 60, "the driver never listed it")
        assert exporter.page().value(COUNTED, **lost) == 0
        assert exporter.page().value(LAST, **lost) == pytest.approx(begun - 300, abs=5)
    code, log = exporter.stop()
    assert code == 0
    assert log.count("the kernel reports an event") == 2
