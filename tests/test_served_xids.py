"""XIDs of a running exporter: on the page of metrics, in `status`, on the landing page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu_sentinel.diagnosis import Finding, diagnose
from gpu_sentinel.machine import Machine
from gpu_sentinel.settings import Settings

SCENARIO = "description: Two GPUs.\ngpus: [{model: h100-sxm, count: 2}]\n"


def status(exporter, *more: str) -> subprocess.CompletedProcess[str]:
    url = f"{exporter.url}/metrics"
    return subprocess.run(
        [sys.executable, "-m", "gpu_sentinel", "status", "--url", url, *more],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def record(bus: str, xid: int, sequence: int, seconds: float = 1.0) -> str:
    text = f"NVRM: Xid (PCI:{bus}): {xid}, pid=1, name=python, something"
    return f"3,{sequence},{int(seconds * 1e6)},-;{text}\n SUBSYSTEM=pci\n DEVICE=+pci:{bus}.0\n"


@pytest.fixture
def buses(serve, eventually) -> list[str]:
    """The addresses of the simulated GPUs, as the driver writes them into the log."""
    exporter = serve(SCENARIO)
    eventually(lambda: len(exporter.page().gpus("gpu_info")) == 2, 5, "all are there")
    found = {x["gpu"]: x["pci_bus_id"] for x, _ in exporter.page()["gpu_info"]}
    exporter.stop()
    return [found[gpu].lower()[4:].partition(".")[0] for gpu in ("0", "1")]


@pytest.mark.parametrize("fifo", [False, True])
def test_kernel_log(serve, eventually, tmp_path: Path, buses: list[str], fifo: bool):
    path, begun = tmp_path / "kmsg", time.time()
    if fifo:
        os.mkfifo(path)
    else:
        path.write_text(record(buses[0], 63, 1, time.monotonic() - 30))
    exporter = serve(SCENARIO, "--xid.kernel-log", str(path))
    eventually(lambda: len(exporter.page().gpus("gpu_info")) == 2, 5, "all are there")
    last = "gpu_xid_last_timestamp_seconds"
    if not fifo:
        eventually(lambda: last in exporter.page(), 3, "what was there is known")
        page = exporter.page()
        assert page.value("gpu_xid_errors_total", gpu="0", xid="63") == 0
        assert page.value(last, gpu="0", xid="63") == pytest.approx(begun - 30, abs=5)
    with path.open("a") as file:
        file.write(record(buses[1], 31, 2) * 3 + "rubbish\n")
        file.flush()
        eventually(
            lambda: exporter.page().value("gpu_xid_errors_total", gpu="1", xid="31") == 3,
            3,
            "what is new is counted",
        )
    page = exporter.page()
    assert begun <= page.value(last, gpu="1", xid="31") <= time.time()
    # Until the FIFO brought its first line, NVML was asked as well.
    eventually(
        lambda: exporter.page().value("gpu_sentinel_xid_source_info", source="kernel_log"),
        3,
        "the kernel log is the source",
    )
    assert page.value("gpu_sentinel_kernel_log_records_total", result="malformed") == 1
    code, log = exporter.stop()
    assert code == 0
    assert log.count("GPU reports an XID") == 1


@pytest.mark.parametrize("setting", ["off", "/dev/kmsg", "/nowhere/kmsg", "/tmp"])
def test_events_where_there_is_no_kernel_log(serve, eventually, setting: str):
    events = "events:\n  - {at: 2s, gpu: 1, do: xid, xid: 94}\n"
    exporter = serve(SCENARIO + events, "--xid.kernel-log", setting)
    eventually(
        lambda: exporter.page().value("gpu_xid_errors_total", gpu="1", xid="94") == 1,
        6,
        "it is counted",
    )
    assert exporter.page().value("gpu_sentinel_xid_source_info", source="nvml") == 1
    code, log = exporter.stop()
    assert code == 0
    assert ("kernel log cannot be read" in log) == (setting in ("/nowhere/kmsg", "/tmp"))


def test_status_and_landing_page(serve, eventually, tmp_path: Path, buses: list[str]):
    path = tmp_path / "kmsg"
    path.write_text(record(buses[0], 998, 1))
    exporter = serve(SCENARIO, "--xid.kernel-log", str(path))
    eventually(lambda: len(exporter.page().gpus("gpu_power_watts")) == 2, 5, "all are there")
    with path.open("a") as file:
        file.write(record(buses[1], 31, 3))
    counted = "gpu_xid_errors_total"
    eventually(lambda: exporter.page().value(counted, xid="31") == 1, 3, "it is counted")
    calm = status(exporter)
    assert calm.returncode == 0, calm.stdout
    assert "XIDs of the last 24 hours" in calm.stdout
    assert "memory page fault" in calm.stdout

    with path.open("a") as file:
        file.write(record(buses[1], 79, 4))
    eventually(lambda: exporter.page().value(counted, xid="79") == 1, 3, "it is counted")
    urgent = status(exporter)
    assert urgent.returncode == 1
    assert "! GPU 1 has reported XID 79 (GPU has fallen off the bus): Drain" in urgent.stdout
    found = json.loads(status(exporter, "--json").stdout)
    assert {x["xid"]: x["severity"] for x in found["xids"]}[79] == "fatal"
    assert len(found["problems"]) == 1
    page = exporter.get("/").text
    assert "XIDs of the last 24 hours" in page
    assert "GPU has fallen off the bus" in page
    assert "GPU 1 has reported XID 79" in page


def test_a_gpu_that_the_driver_never_listed(serve, eventually, tmp_path: Path):
    """It fell off the bus before the exporter started: its only sign is a line of the log."""
    path = tmp_path / "kmsg"
    path.write_text(record("0000:99:00", 79, 1, time.monotonic() - 300))
    exporter = serve(SCENARIO, "--xid.kernel-log", str(path))
    eventually(lambda: len(exporter.page().gpus("gpu_info")) == 2, 5, "the others are there")
    stranger = {"gpu": "0000:99:00.0", "uuid": "pci-0000:99:00.0", "xid": "79"}
    last = "gpu_xid_last_timestamp_seconds"
    eventually(lambda: exporter.page().value(last, **stranger), 60, "it is told")
    assert exporter.page().value("gpu_xid_errors_total", **stranger) == 0
    assert len(exporter.page().gpus("gpu_info")) == 2
    shown = status(exporter)
    assert shown.returncode == 1
    assert "! GPU 0000:99:00.0 has reported XID 79 (GPU has fallen off the bus)" in shown.stdout
    assert "GPU 0000:99:00.0 has reported XID 79" in exporter.get("/").text


def test_an_xid_is_its_owners(serve, eventually, tmp_path: Path):
    """From the line of the kernel log to the page, `status` and the landing page."""
    path = tmp_path / "kmsg"
    path.touch()
    exporter = serve("job-ends", "--xid.kernel-log", str(path))
    processes = "gpu_owner_processes"
    eventually(
        lambda: exporter.page().value(processes, owner="4712", gpu="0"), 10, "the job is known"
    )
    (info, _) = next(s for s in exporter.page()["gpu_info"] if s[0]["gpu"] == "0")
    bus = info["pci_bus_id"].lower()[4:].partition(".")[0]
    text = f"NVRM: Xid (PCI:{bus}): 31, pid=31001, name=python3, Ch 00000008"
    path.write_text(f"3,1,1000000,-;{text}\n" * 2)
    name = "gpu_owner_xid_errors_total"
    eventually(lambda: exporter.page().value(name, xid="31") == 2, 5, "both are the owner's")
    ((labels, _),) = exporter.page()[name]
    assert (labels["owner_kind"], labels["owner"], labels["slurm_job"], labels["gpu_instance"]) == (
        "slurm_job",
        "4712",
        "4712",
        "",
    )
    row = next(line for line in status(exporter).stdout.splitlines() if " 31 " in line)
    assert " 4712 " in row
    (found,) = json.loads(status(exporter, "--json").stdout)["xids"]
    assert found["owner"] == "4712"
    assert '<td class="text">4712</td>' in exporter.get("/").text


def test_scenario_of_xids(serve, eventually):
    """All that the scenario reports within its first half minute."""
    exporter = serve("xid")
    page = "gpu_xid_errors_total"
    eventually(lambda: exporter.page().value(page, gpu="2", xid="94"), 30, "all are there")
    shown = {(x["gpu"], x["xid"]) for x, _ in exporter.page()[page]}
    assert shown == {("3", "31"), ("2", "48"), ("2", "63"), ("2", "94")}


def test_check_says_where_xids_come_from(tmp_path: Path):
    command = [sys.executable, "-m", "gpu_sentinel", "check", "--simulate"]
    command += ["--web.listen-address", "127.0.0.1:0", "--xid.kernel-log"]
    missing = tmp_path / "kmsg"
    for text in (f"from NVML, not all of them ({missing}: No such file", f"from {missing}"):
        result = subprocess.run(
            [*command, str(missing)], capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 0, result.stdout
        assert text in result.stdout
        missing.touch()


KERNEL_LINE = "Jan  2 10:00:00 node-7 kernel: [    5.1][    T1] usb 1-1: a mouse\n"
OTHER_LINE = "Jan  2 10:00:00 node-7 python[7]: x\n"


def checked(path: Path) -> Finding:
    """What `check` says of a kernel log; the driver comes after that, and is not opened."""
    machine = Machine(None, lambda: None, lambda: None, kernel_log=path)
    found = diagnose(Settings(web_listen_address=()), machine)
    return next(finding for finding in found if finding.subject == "XIDs")


@pytest.mark.parametrize(
    ("content", "source", "lines", "right"),
    [
        (
            KERNEL_LINE * 2 + OTHER_LINE,
            "from {}",
            "(of 3 lines, 2 of the kernel, 0 malformed)",
            True,
        ),
        (
            OTHER_LINE + "rubbish\n",
            "from {}, and from NVML: no line of the kernel in it yet",
            "(of 2 lines, 0 of the kernel, 1 malformed)",
            True,
        ),
        (
            "rubbish\n",
            "from {}, and from NVML: no line of the kernel in it yet",
            "(of 1 lines, 0 of the kernel, 1 malformed)",
            False,
        ),
        (
            KERNEL_LINE + "rubbish\n" * 20,
            "from {}, and from NVML: its last lines make no sense",
            "(of 21 lines, 1 of the kernel, 20 malformed)",
            False,
        ),
        (
            "3,1,1,-;NVRM: Xid in a new spelling\n",
            "from {}, and from NVML: its last report of an XID could not be read",
            "(of 1 lines, 1 of the kernel, 1 malformed)",
            False,
        ),
    ],
)
def test_check_says_how_the_kernel_log_is(
    tmp_path: Path, content: str, source: str, lines: str, right: bool
):
    path = tmp_path / "messages"
    path.write_text(content)
    finding = checked(path)
    assert finding.detail == f"{source.format(path)} {lines}"
    assert finding.ok == right


def test_check_takes_nothing_out_of_a_fifo(tmp_path: Path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with path.open("w") as file:
        file.write(KERNEL_LINE)
        file.flush()
        finding = checked(path)
        assert os.read(reader, 1000) == KERNEL_LINE.encode()
    os.close(reader)
    assert finding.detail == f"from {path}, a FIFO"
