"""The comparison with nvidia-smi, on a kept output for a simulated GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

XML = """<nvidia_smi_log><gpu id="00000000:08:00.0">
<product_name>NVIDIA H100 80GB HBM3</product_name><uuid>{uuid}</uuid>
<fb_memory_usage><total>{total} MiB</total><reserved>479 MiB</reserved></fb_memory_usage>
<utilization><gpu_util>93 %</gpu_util></utilization>
<gpu_power_readings><current_power_limit>700.00 W</current_power_limit></gpu_power_readings>
<pci><replay_counter>9</replay_counter></pci></gpu></nvidia_smi_log>"""


def compare(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = repository / "scripts" / "compare-with-nvidia-smi.py"
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False
    )


def lines(result: subprocess.CompletedProcess[str], metric: str) -> list[str]:
    return [line.split()[0] for line in result.stdout.splitlines() if f" {metric} " in line]


def test_agreement_and_difference(serve, eventually, repository: Path, tmp_path: Path):
    exporter = serve("steady")
    busy = "gpu_utilization_ratio"
    eventually(lambda: (exporter.page().value(busy, gpu="0") or 0) > 0.8, 3, "it works")
    uuid = exporter.page()["gpu_info"][0][0]["uuid"]
    kept = tmp_path / "smi.xml"
    kept.write_text(XML.format(uuid=uuid, total=80000))
    result = compare(repository, "--url", exporter.url + "/metrics", "--xml", str(kept))
    assert result.returncode == 1
    assert lines(result, "gpu_memory_total_bytes") == ["DIFF"]
    assert lines(result, "gpu_memory_reserved_bytes") == ["ok"]
    assert lines(result, "gpu_utilization_ratio") == ["ok"]
    assert lines(result, "gpu_power_limit_watts") == ["ok"]
    assert lines(result, "gpu_temperature_celsius") == ["DIFF"], "nvidia-smi has none"


def test_without_an_exporter(repository: Path, free_port, tmp_path: Path):
    kept = tmp_path / "smi.xml"
    kept.write_text(XML)
    result = compare(repository, "--url", f"http://127.0.0.1:{free_port()}/", "--xml", str(kept))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
